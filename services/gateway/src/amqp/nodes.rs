//! What the door keeps for each link.

use std::collections::VecDeque;

use bytes::Bytes;
use downlink_amqp::engine::DeliveryId;

use super::address::Address;
use super::command::Command;
use super::work::IdReading;

/// Most messages of one batch to the queue.
const MAX_BATCH_MESSAGES: usize = 512;
/// Bytes after which a batch to the queue is closed.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// What stands at the hub's end of an attached link.
pub(super) enum Node {
    /// Requests with tokens come in here; replies that wait for credit are kept with it.
    TokenRequests {
        /// Requests that are answered but not yet replied to, oldest first. Each holds a place in
        /// the link's window, which bounds them.
        replies: VecDeque<(DeliveryId, Bytes)>,
    },
    /// Replies to tokens go out here.
    TokenReplies,
    /// Messages for devices come in here.
    Commands(Commands),
    /// Feedback goes out here.
    Feedback(FeedbackNode),
    /// Notifications of uploaded files would go out here; there are none.
    FileNotifications,
}

impl Node {
    /// The address that a token must cover for the link to stay.
    pub(super) fn address(&self) -> Address {
        match self {
            Self::TokenRequests { .. } | Self::TokenReplies => Address::Cbs,
            Self::Commands(_) => Address::Commands,
            Self::Feedback(_) => Address::Feedback,
            Self::FileNotifications => Address::FileNotifications,
        }
    }
}

/// Messages of one link on their way to the queue. Their number is bounded by the link's credit,
/// their bytes by the connection, which stops reading.
pub(super) struct Commands {
    waiting: VecDeque<(DeliveryId, Command)>,
    is_in_flight: bool,
    pub(super) reading: IdReading,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            is_in_flight: false,
            reading: IdReading::Plain,
        }
    }
}

impl Commands {
    pub(super) fn push(&mut self, delivery: DeliveryId, command: Command) {
        self.waiting.push_back((delivery, command));
    }

    /// Takes the next batch, unless one is on its way already.
    pub(super) fn take_batch(&mut self) -> Option<Vec<(DeliveryId, Command)>> {
        if self.is_in_flight || self.waiting.is_empty() {
            return None;
        }
        let mut bytes: usize = 0;
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH_MESSAGES && bytes < MAX_BATCH_BYTES {
            let Some(next) = self.waiting.pop_front() else {
                break;
            };
            bytes = bytes.saturating_add(next.1.message.counted_bytes());
            batch.push(next);
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        self.is_in_flight = true;
        Some(batch)
    }

    /// Notes that the batch on its way has come back.
    pub(super) fn on_batch_done(&mut self) {
        self.is_in_flight = false;
    }

    /// Bytes of the messages that wait.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting
            .iter()
            .map(|(_, command)| command.message.counted_bytes())
            .sum()
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.is_in_flight && self.waiting.is_empty()
    }
}

/// A feedback receiver.
#[derive(Default)]
pub(super) struct FeedbackNode {
    /// Whether a batch is being waited for, or a failure slept over; at most one at a time.
    pub(super) is_receiving: bool,
}
