//! Messages of back-ends on their way to a device, and its word on them (amqp.md §5).

use std::collections::{HashMap, VecDeque};

use downlink_amqp::engine::{DeliveryId, LinkId, SendError, SendSettled, UnsettledDelivery};
use downlink_amqp::performative::DeliveryState;
use downlink_domain::Timestamp;
use downlink_domain::id::LockToken;
use downlink_domain::message::Verdict;
use downlink_ports::{LockedMessage, SettleError};
use tracing::debug;

use super::c2d;
use super::kind::{DeviceLink, LinkKind};
use super::unit::{Open, UnitId};
use crate::amqp::condition::error_of;
use crate::amqp::conversation::Conversation;
use crate::amqp::links::Node;

/// The messages of a unit between the hub and the device. All of it is bounded by the window of
/// the device session, but for deliveries whose locks have lapsed: the engine bounds those.
#[derive(Default)]
pub(super) struct Messages {
    /// Received for the device and not yet sent, since the peer has to make room.
    outbox: VecDeque<LockedMessage>,
    /// Sent and not settled, in order, with the end of their locks.
    sent: VecDeque<Sent>,
    /// Deliveries whose receiver waits to hear what became of its word (C#).
    answers: HashMap<LockToken, (LinkId, DeliveryId)>,
    /// Whether the peer waits for the rest of its credit to be used up.
    is_draining: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    delivery: DeliveryId,
    link: LinkId,
    until: Timestamp,
}

impl Conversation {
    /// Takes the credit of a message link: the session asks for that many and not one more.
    pub(super) fn on_message_credit(&mut self, unit: UnitId, credit: u32, is_drain: bool) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let waiting = u32::try_from(open.messages.outbox.len()).unwrap_or(u32::MAX);
        // The session takes the highest number for no bound at all.
        let credit = credit.saturating_sub(waiting).min(u32::MAX - 1);
        open.session.set_credit(credit);
        open.messages.is_draining = is_drain;
        self.wake_unit(unit);
    }

    /// Sends messages that the session has received for the device.
    pub(super) fn on_messages(&mut self, unit: UnitId, messages: Vec<LockedMessage>) {
        self.lapse_messages(unit);
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        open.messages.outbox.extend(messages);
        self.send_messages(unit);
    }

    /// Waits no more for the device's word on messages whose locks have lapsed: they come again as
    /// new deliveries, and meanwhile must not take up the room of others on the session.
    pub(super) fn lapse_messages(&mut self, unit: UnitId) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        if open.messages.sent.is_empty() {
            return;
        }
        let now = self.shared.peers.clock.now();
        while let Some(lapsed) = open.messages.sent.pop_front_if(|sent| sent.until <= now) {
            self.engine.lapse(lapsed.link, lapsed.delivery);
        }
    }

    /// Sends what waits for the device, as far as the peer has room.
    pub(super) fn send_messages(&mut self, unit: UnitId) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        if open.messages.outbox.is_empty() {
            return;
        }
        let Some(link) = open.links.get(LinkKind::Messages) else {
            open.release_outbox();
            return self.wake_unit(unit);
        };
        let is_presettled = match self.links.get(link) {
            Some(Node::Device(DeviceLink { is_presettled, .. })) => *is_presettled,
            _ => false,
        };
        let now = self.shared.peers.clock.now();
        while let Some(locked) = open.messages.outbox.pop_front() {
            let (token, until) = (locked.lock.token, locked.lock.until);
            if until <= now {
                // It waited too long; the queue offers it again.
                open.session.return_undelivered(token);
                continue;
            }
            let sent = self.engine.check_room(link).and_then(|_| {
                let message = c2d::encode(&locked);
                self.engine
                    .send(link, c2d::tag_of(token), message, SendSettled::No)
            });
            match sent {
                Ok(_) if is_presettled => {
                    self.shared.metrics.messages_delivered.increment();
                    open.session.settle(token, Verdict::Complete);
                }
                Ok(delivery) => {
                    self.shared.metrics.messages_delivered.increment();
                    open.messages.sent.push_back(Sent {
                        delivery,
                        link,
                        until,
                    });
                }
                Err(SendError::NoCredit | SendError::Detached) => {
                    // The credit was taken back while the message was on its way.
                    open.messages.outbox.push_front(locked);
                    open.release_outbox();
                    break;
                }
                Err(
                    error @ (SendError::WindowClosed
                    | SendError::UnsettledFull
                    | SendError::OutputFull),
                ) => {
                    open.messages.outbox.push_front(locked);
                    return self.note_unsent(link, error);
                }
            }
        }
        self.wake_unit(unit);
    }

    /// Takes the device's word on messages.
    pub(super) fn on_messages_disposition(
        &mut self,
        unit: UnitId,
        link: LinkId,
        deliveries: &[UnsettledDelivery],
        state: Option<&DeliveryState>,
        is_settled: bool,
    ) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let Some(verdict) = c2d::verdict_of(state, is_settled) else {
            return;
        };
        for UnsettledDelivery { delivery, tag } in deliveries {
            let Some(token) = c2d::token_of(tag) else {
                continue;
            };
            open.messages.sent.retain(|sent| sent.delivery != *delivery);
            let is_held = open.session.settle(token, verdict);
            if is_settled {
                continue;
            }
            if is_held {
                open.messages.answers.insert(token, (link, *delivery));
            } else {
                self.engine.settle_outgoing(link, *delivery, lock_lost());
            }
        }
        self.wake_unit(unit);
    }

    /// Answers receivers that settle in two steps: whatever their word was, the answer is
    /// accepted, unless the lock was lost (amqp.md §5.4).
    pub(super) fn on_settled_messages(
        &mut self,
        unit: UnitId,
        outcomes: &[(LockToken, Result<(), SettleError>)],
    ) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let mut lost: usize = 0;
        for (token, outcome) in outcomes {
            lost += usize::from(outcome.is_err());
            let Some((link, delivery)) = open.messages.answers.remove(token) else {
                continue;
            };
            let state = match outcome {
                Ok(()) => DeliveryState::Accepted,
                Err(SettleError::LockLost) => lock_lost(),
            };
            self.engine.settle_outgoing(link, delivery, state);
        }
        if open.messages.answers.is_empty() {
            open.messages.answers = HashMap::new();
        }
        if lost > 0 {
            debug!(lost, "messages were settled after their locks had ended");
        }
    }

    /// Gives back what a message link left unsettled, as at a lost connection.
    pub(super) fn give_back(&mut self, unit: UnitId, unsettled: &[UnsettledDelivery]) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        for delivery in unsettled {
            if let Some(token) = c2d::token_of(&delivery.tag) {
                open.session.settle(token, Verdict::ReleaseDelivered);
            }
        }
        self.wake_unit(unit);
    }

    /// Stops asking for messages: their link has gone.
    pub(super) fn stop_messages(&mut self, unit: UnitId, link: LinkId) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        open.session.set_credit(0);
        open.release_outbox();
        let messages = &mut open.messages;
        messages.is_draining = false;
        messages.sent.retain(|sent| sent.link != link);
        messages.answers.retain(|_, (of, _)| *of != link);
        self.wake_unit(unit);
    }

    /// Uses up the rest of the credit of a peer that drains, once nothing more can come for it.
    pub(super) fn drain_messages(&mut self, unit: UnitId) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let is_over = open.messages.is_draining
            && open.messages.outbox.is_empty()
            && !open.session.may_bring_messages();
        if !is_over {
            return;
        }
        open.messages.is_draining = false;
        open.session.set_credit(0);
        if let Some(link) = open.links.get(LinkKind::Messages) {
            self.engine.drained(link);
        }
    }
}

impl Open {
    /// Gives back messages that did not go out.
    fn release_outbox(&mut self) {
        for locked in std::mem::take(&mut self.messages.outbox) {
            self.session
                .settle(locked.lock.token, Verdict::ReleaseUndelivered);
        }
    }
}

fn lock_lost() -> DeliveryState {
    let error = SettleError::LockLost;
    DeliveryState::rejected(error_of(error.code(), error.to_string()))
}
