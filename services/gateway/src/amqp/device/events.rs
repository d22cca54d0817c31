//! What reaches a unit: from its links, from the hub, from calls that have ended.

use std::task::{Context, Poll};

use downlink_amqp::engine::{IncomingMessage, LinkId, UnsettledDelivery};
use downlink_amqp::performative::DeliveryState;
use downlink_domain::presence::ConnectionEnd;
use tracing::warn;

use super::ending::TOKEN_EXPIRED;
use super::kind::{DeviceLink, LinkKind};
use super::unit::{Tag, UnitId};
use super::work::DeviceDone;
use crate::amqp::condition::error_of_peer;
use crate::amqp::conversation::Conversation;
use crate::device::{Operation, OperationOutcome, SessionEvent, StoredSession};

/// Units that have their turn in one poll of the connection.
const UNITS_PER_POLL: usize = 64;
/// Events of one unit until others have their turn.
const EVENTS_PER_TURN: usize = 32;

impl Conversation {
    /// Lets units that are ready do what they can.
    ///
    /// Ready when any did something.
    pub(in crate::amqp) fn poll_units(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.units.ready.register(cx);
        let mut is_moved = false;
        for _ in 0..UNITS_PER_POLL {
            let Some(ready) = self.units.ready.take() else {
                break;
            };
            is_moved = true;
            self.poll_unit(ready.unit);
        }
        if is_moved {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn poll_unit(&mut self, id: UnitId) {
        let Some(open) = self.units.open_mut(id) else {
            return;
        };
        let waker = open.waker.waker();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..EVENTS_PER_TURN {
            let Some(open) = self.units.open_mut(id) else {
                return;
            };
            match open.session.poll_event(&mut cx) {
                Poll::Ready(event) => self.on_unit_event(id, event),
                Poll::Pending => {
                    self.lapse_messages(id);
                    return self.drain_messages(id);
                }
            }
        }
        waker.wake();
    }

    /// Has the session of a unit polled: it was given something to do.
    pub(super) fn wake_unit(&mut self, id: UnitId) {
        if let Some(open) = self.units.open_mut(id) {
            open.waker.waker().wake();
        }
    }

    fn on_unit_event(&mut self, id: UnitId, event: SessionEvent<Tag>) {
        match event {
            SessionEvent::Messages(messages) => self.on_messages(id, messages),
            SessionEvent::Settled(outcomes) => self.on_settled_messages(id, &outcomes),
            SessionEvent::Stored(tags) => self.on_stored(id, tags),
            SessionEvent::NotStored(tags, error) => self.on_not_stored(id, tags, &error),
            SessionEvent::Ended(tag, outcome) => self.on_operation_ended(id, &tag, outcome),
            SessionEvent::Invoke { rid, name, payload } => self.on_invoke(id, rid, name, payload),
            SessionEvent::Desired(change) => self.on_desired(id, change),
            SessionEvent::Close(reason) => self.on_close_order(id, reason),
        }
    }

    fn on_operation_ended(&mut self, id: UnitId, tag: &Tag, outcome: OperationOutcome) {
        match tag {
            Tag::Twin => self.on_twin_ended(id, outcome),
            Tag::Subscriptions => {
                if let Some(open) = self.units.open_mut(id) {
                    open.is_subscribing = false;
                    self.units.touch(id);
                }
                if let OperationOutcome::Subscribed(Err(error)) = outcome {
                    // Nobody would wake the device: better it comes again.
                    warn!(%error, "subscriptions of a device could not be made known");
                    let error = error_of_peer(&error);
                    self.end_unit(id, &error, ("not subscribed", ConnectionEnd::Refused));
                }
            }
            Tag::Part { .. } | Tag::Telemetry { .. } => {}
        }
    }

    /// Looks at units whose links came or went, and opens those that wait for it.
    pub(in crate::amqp) fn look_at_units(&mut self) {
        while let Some(id) = self.units.take_touched() {
            if self.units.has_links(id) {
                self.subscribe(id);
            } else {
                self.drop_unit(id);
            }
        }
        self.open_units();
    }

    /// Makes known what the links of a unit call for, if that is news.
    pub(super) fn subscribe(&mut self, id: UnitId) {
        let Some(open) = self.units.open_mut(id) else {
            return;
        };
        let subscriptions = open.wanted();
        // One at a time: a client may attach and detach faster than presence can be told.
        if open.is_subscribing || subscriptions == open.asked {
            return;
        }
        open.is_subscribing = true;
        open.asked = subscriptions;
        let operation = Operation::Subscribe {
            subscriptions,
            session: StoredSession::Kept,
        };
        open.session.operate(Tag::Subscriptions, operation);
        self.wake_unit(id);
    }

    /// Takes a message that came on a link of a unit.
    pub(in crate::amqp) fn on_device_message(&mut self, of: DeviceLink, message: &IncomingMessage) {
        match of.kind {
            LinkKind::Telemetry => self.on_telemetry(of.unit, message),
            LinkKind::MethodAnswers => self.on_answer(of.unit, message),
            LinkKind::TwinRequests => self.on_twin_request(of.unit, message),
            LinkKind::Messages
            | LinkKind::MethodCalls
            | LinkKind::TwinReplies
            | LinkKind::ModuleInputs => {}
        }
    }

    /// Takes the credit of a link that the hub sends on.
    pub(in crate::amqp) fn on_device_credit(
        &mut self,
        link: LinkId,
        of: DeviceLink,
        credit: u32,
        is_drain: bool,
    ) {
        match of.kind {
            LinkKind::Messages => self.on_message_credit(of.unit, credit, is_drain),
            LinkKind::MethodCalls | LinkKind::TwinReplies => {
                self.go_on_unit(of);
                if is_drain {
                    self.engine.drained(link);
                }
            }
            LinkKind::ModuleInputs => {
                if is_drain {
                    self.engine.drained(link);
                }
            }
            LinkKind::Telemetry | LinkKind::MethodAnswers | LinkKind::TwinRequests => {}
        }
    }

    /// Sends what waits on a link, now that it may go on.
    pub(in crate::amqp) fn go_on_unit(&mut self, of: DeviceLink) {
        match of.kind {
            LinkKind::Messages => self.send_messages(of.unit),
            LinkKind::MethodCalls => self.send_calls(of.unit),
            LinkKind::TwinReplies => self.go_on_twin(of.unit),
            LinkKind::Telemetry
            | LinkKind::MethodAnswers
            | LinkKind::TwinRequests
            | LinkKind::ModuleInputs => {}
        }
    }

    /// Takes the device's word on what was sent to it.
    pub(in crate::amqp) fn on_device_disposition(
        &mut self,
        of: DeviceLink,
        link: LinkId,
        deliveries: &[UnsettledDelivery],
        state: Option<&DeliveryState>,
        is_settled: bool,
    ) {
        match of.kind {
            LinkKind::Messages => {
                self.on_messages_disposition(of.unit, link, deliveries, state, is_settled);
            }
            LinkKind::MethodCalls => {
                self.on_calls_disposition(of.unit, link, deliveries, state, is_settled);
            }
            // What goes out there is settled when it goes.
            LinkKind::TwinReplies
            | LinkKind::Telemetry
            | LinkKind::MethodAnswers
            | LinkKind::TwinRequests
            | LinkKind::ModuleInputs => {}
        }
    }

    /// Acts on a finished call.
    pub(in crate::amqp) fn on_device_done(&mut self, done: DeviceDone) {
        match done {
            DeviceDone::Opened(unit, outcome) => self.on_opened(unit, outcome),
            DeviceDone::Closed(ended, departing) => self.on_closed(ended, departing),
        }
    }

    /// Ends units that no token speaks for any more.
    pub(in crate::amqp) fn expire_units(&mut self) {
        let names = self.units.names();
        let ended: Vec<UnitId> = names
            .filter(|(_, name)| !self.grants.cover(name))
            .map(|(id, _)| id)
            .collect();
        for id in ended {
            self.end_unit(id, &super::token_invalid(), TOKEN_EXPIRED);
        }
    }
}
