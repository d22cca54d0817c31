//! Feedback receivers (amqp.md §8.4): one call waits at the queue while there is credit for a
//! batch; while batches come, several are on their way at a time.

use std::sync::Arc;
use std::time::Duration;

use downlink_amqp::engine::{DeliveryId, LinkId, SendSettled, UnsettledDelivery};
use downlink_amqp::performative::{DeliveryState, DeliveryTag};
use downlink_domain::id::LockToken;
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_ports::{PeerError, SettleError};
use tracing::{debug, warn};

use super::{feedback, work};
use crate::amqp::condition::{error_of, error_of_peer};
use crate::amqp::conversation::Conversation;
use crate::amqp::links::Node;

/// How long one call for feedback waits at the queue. It is not broken off, since a batch may be locked already and
/// on its way back; the end of a connection, and so the gateway's drain, may have to wait as long as this.
const FEEDBACK_WAIT: Duration = Duration::from_secs(1);
/// Pause after a call for feedback has failed.
const FEEDBACK_REST: Duration = Duration::from_secs(1);
/// Most calls of one receiver at a time. The queue has places for a bounded number of calls that
/// wait, so only a receiver to which batches come makes more than one.
const MAX_CALLS: u32 = 8;

/// A feedback receiver.
pub(in crate::amqp) struct FeedbackNode {
    /// Calls that wait for a batch, and failures that are slept over.
    calls: u32,
    /// How many there may be: more while batches come, one when none does.
    width: u32,
}

impl Default for FeedbackNode {
    fn default() -> Self {
        Self { calls: 0, width: 1 }
    }
}

impl FeedbackNode {
    /// Calls worth making now, given how many batches could be sent.
    fn missing(&self, room: u32) -> u32 {
        self.width.min(room).saturating_sub(self.calls)
    }

    fn on_ended(&mut self, is_fruitful: bool) {
        self.calls = self.calls.saturating_sub(1);
        self.width = if is_fruitful {
            self.width.saturating_mul(2).min(MAX_CALLS)
        } else {
            1
        };
    }
}

impl Conversation {
    pub(in crate::amqp) fn on_feedback_disposition(
        &mut self,
        link: LinkId,
        deliveries: &[UnsettledDelivery],
        state: Option<&DeliveryState>,
        is_settled: bool,
    ) {
        let Some(verdict) = feedback::verdict_of(state, is_settled) else {
            return;
        };
        for delivery in deliveries {
            let answer_to = (!is_settled).then_some((link, delivery.delivery));
            self.settle_feedback(delivery.tag, verdict, answer_to);
        }
    }

    pub(in crate::amqp) fn settle_feedback(
        &mut self,
        tag: DeliveryTag,
        verdict: Verdict,
        answer_to: Option<(LinkId, DeliveryId)>,
    ) {
        // Tags of feedback are the tokens this door made them of.
        let Ok(token) = <[u8; 16]>::try_from(tag.as_slice()) else {
            return;
        };
        self.start_settling(LockToken(token), verdict, answer_to);
    }

    fn start_settling(
        &mut self,
        token: LockToken,
        verdict: Verdict,
        answer_to: Option<(LinkId, DeliveryId)>,
    ) {
        let queue = Arc::clone(&self.shared.peers.queue);
        let hub = self.shared.options.hub.clone();
        self.start(work::settle(queue, hub, token, verdict, answer_to));
    }

    pub(super) fn on_feedback(
        &mut self,
        link: LinkId,
        outcome: Result<Option<FeedbackBatch>, PeerError>,
    ) {
        match outcome {
            Ok(batch) => {
                self.on_receive_ended(link, batch.is_some());
                if let Some(batch) = batch {
                    self.deliver_feedback(link, &batch);
                }
            }
            Err(error) => {
                debug!(%error, "feedback cannot be received now");
                if self.links.get(link).is_some() {
                    self.start(work::rest(link, FEEDBACK_REST));
                }
            }
        }
    }

    /// Sends a batch, or gives it back untouched when its receiver has gone or wants no more.
    fn deliver_feedback(&mut self, link: LinkId, batch: &FeedbackBatch) {
        let LockToken(token) = batch.token;
        let tag = DeliveryTag::new(&token).expect("a token has 16 bytes, a tag holds 32");
        let peers = &self.shared.peers;
        let message_id = peers.ids.record_id(peers.clock.now());
        let message = feedback::encode(batch, &self.shared.options.hub, message_id);
        if self
            .engine
            .send(link, tag, message, SendSettled::No)
            .is_err()
        {
            self.start_settling(batch.token, Verdict::ReleaseUndelivered, None);
        }
    }

    /// Answers a receiver that settles in two steps (C#): whatever its word was, the answer is
    /// accepted, unless the hold was lost (amqp.md §5.4).
    pub(super) fn on_settled(
        &mut self,
        answer_to: Option<(LinkId, DeliveryId)>,
        outcome: Result<Result<(), SettleError>, PeerError>,
    ) {
        let state = match outcome {
            Ok(Ok(())) => DeliveryState::Accepted,
            Ok(Err(error)) => {
                DeliveryState::rejected(error_of(error.code(), "the lock on the batch was lost"))
            }
            Err(error) => {
                warn!(%error, "a feedback batch could not be settled; its lock will lapse");
                DeliveryState::rejected(error_of_peer(&error))
            }
        };
        if let Some((link, delivery)) = answer_to {
            self.engine.settle_outgoing(link, delivery, state);
        }
    }

    /// Waits for feedback on a link, as far as its credit goes.
    pub(in crate::amqp) fn start_receiving(&mut self, link: LinkId) {
        if self.gone.is_cancelled() || !matches!(self.links.get(link), Some(Node::Feedback(_))) {
            return;
        }
        let room = self.room_on(link);
        let Some(Node::Feedback(receiver)) = self.links.get_mut(link) else {
            return;
        };
        let missing = receiver.missing(room);
        receiver.calls += missing;
        for _ in 0..missing {
            let queue = Arc::clone(&self.shared.peers.queue);
            let hub = self.shared.options.hub.clone();
            self.start(work::receive(queue, hub, link, FEEDBACK_WAIT));
        }
    }

    /// Notes that a call, or the pause after a failed one, is over; others may be worth it.
    pub(super) fn on_receive_ended(&mut self, link: LinkId, is_fruitful: bool) {
        if let Some(Node::Feedback(receiver)) = self.links.get_mut(link) {
            receiver.on_ended(is_fruitful);
            self.links.mark(link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_calls_once_while_nothing_comes_and_more_often_while_batches_do() {
        let mut receiver = FeedbackNode::default();
        assert_eq!(receiver.missing(0), 0);
        assert_eq!(receiver.missing(1000), 1);
        receiver.calls = 1;
        for (missing, calls) in [(2, 2), (3, 4), (5, 8), (1, 8)] {
            receiver.on_ended(true);
            assert_eq!(receiver.missing(1000), missing);
            receiver.calls = calls;
        }
        assert_eq!(receiver.missing(1000), 0);
        receiver.on_ended(false);
        assert_eq!((receiver.calls, receiver.missing(1000)), (7, 0));
        receiver.calls = 0;
        assert_eq!(receiver.missing(1000), 1);
    }

    #[test]
    fn a_receiver_calls_for_no_more_than_it_has_credit_for() {
        let receiver = FeedbackNode { calls: 1, width: 8 };
        assert_eq!(receiver.missing(3), 2);
        assert_eq!(receiver.missing(1), 0);
    }
}
