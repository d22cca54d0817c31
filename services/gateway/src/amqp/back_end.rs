//! Back-ends: messages they send, and feedback they take (amqp.md §8).

mod command;
mod commands;
mod feedback;
mod receivers;
mod sends;
mod work;

pub(super) use commands::Commands;
pub(super) use receivers::FeedbackNode;
pub(super) use work::BackEndDone;

use super::conversation::Conversation;

impl Conversation {
    /// Acts on a finished call.
    pub(super) fn on_back_end_done(&mut self, done: BackEndDone) {
        match done {
            BackEndDone::Enqueued(batch) => self.on_enqueued(batch),
            BackEndDone::Received { link, outcome } => self.on_feedback(link, outcome),
            BackEndDone::Settled { answer_to, outcome } => self.on_settled(answer_to, outcome),
            BackEndDone::Rested { link } => self.on_receive_ended(link, false),
        }
    }
}
