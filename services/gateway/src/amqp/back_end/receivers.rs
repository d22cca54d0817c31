//! Feedback receivers: one call for a batch at a time, while there is credit for it (amqp.md §8.4).

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

/// A feedback receiver.
#[derive(Default)]
pub(in crate::amqp) struct FeedbackNode {
    /// Whether a batch is being waited for, or a failure slept over; at most one at a time.
    is_receiving: bool,
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
                self.set_receiving(link, false);
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

    /// Waits for feedback on a link that has credit and is not waiting already.
    pub(in crate::amqp) fn start_receiving(&mut self, link: LinkId) {
        if self.gone.is_cancelled() {
            return;
        }
        let is_receiving = match self.links.get(link) {
            Some(Node::Feedback(receiver)) => receiver.is_receiving,
            _ => return,
        };
        if is_receiving || self.room_on(link) == 0 {
            return;
        }
        self.set_receiving(link, true);
        let queue = Arc::clone(&self.shared.peers.queue);
        let hub = self.shared.options.hub.clone();
        self.start(work::receive(queue, hub, link, FEEDBACK_WAIT));
    }

    /// Notes whether a receive is on its way; when it no longer is, another may be worth it.
    pub(super) fn set_receiving(&mut self, link: LinkId, is_receiving: bool) {
        if let Some(Node::Feedback(receiver)) = self.links.get_mut(link) {
            receiver.is_receiving = is_receiving;
            if !is_receiving {
                self.links.mark(link);
            }
        }
    }
}
