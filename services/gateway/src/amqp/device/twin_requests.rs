//! The twin of a unit: its requests in their order, and what goes back (amqp.md §7).
//!
//! One request is worked on at a time, and none while anything waits for the device to take it.
//! A device that gives no credit is thereby not read from: requests that wait hold their places in
//! the window of their link.

use std::collections::VecDeque;

use bytes::Bytes;
use downlink_amqp::engine::{IncomingMessage, LinkId, SendSettled};
use downlink_amqp::message::{Encoded, MessageId};
use downlink_amqp::performative::DeliveryState;
use downlink_domain::twin::TwinChange;
use downlink_ports::{Notify, PeerError};

use super::kind::LinkKind;
use super::twin::{self, TwinRequest};
use super::twin_pair::{Notifications, Outgoing, Request, Running};
use super::unit::{Open, Tag, UnitId};
use crate::amqp::condition::{error_of, error_of_peer};
use crate::amqp::conversation::Conversation;
use crate::device::{Operation, OperationOutcome, StoredSession, TwinRefusal};
use crate::shared::Shared;
use crate::tracking::Tracking;

/// What one byte of JSON text costs once it is parsed, at worst some numbers in an array.
const JSON_COST_FACTOR: usize = 32;

impl Conversation {
    /// Takes a twin request; its turn comes when those before it are answered.
    pub(super) fn on_twin_request(&mut self, unit: UnitId, message: &IncomingMessage) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        open.twin.requests.push_back(Request {
            link: message.link,
            delivery: message.delivery,
            payload: message.payload.clone(),
        });
        self.go_on_twin(unit);
    }

    /// Tells the device of changed desired properties, if it wants to know.
    pub(super) fn on_desired(&mut self, unit: UnitId, change: Notify) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        if open.twin.on_change(change) {
            open.session.hold_desired(open.twin.is_full());
            self.go_on_twin(unit);
        }
    }

    /// Sends what waits for the device as far as it has room, and works on its next requests.
    pub(super) fn go_on_twin(&mut self, unit: UnitId) {
        while self.send_twin(unit) && self.start_twin(unit) {}
    }

    /// Sends what waits for the device; returns whether nothing is left.
    fn send_twin(&mut self, unit: UnitId) -> bool {
        let Some(open) = self.units.open_mut(unit) else {
            return false;
        };
        let Some(link) = open.links.get(LinkKind::TwinReplies) else {
            return false;
        };
        while let Some(Outgoing::Reply(message) | Outgoing::Change(message)) =
            open.twin.outgoing.front()
        {
            let message = message.clone();
            let tag = open.twin.next_tag();
            let sent = self
                .engine
                .check_room(link)
                .and_then(|_| self.engine.send(link, tag, message, SendSettled::Yes));
            if let Err(error) = sent {
                self.note_unsent(link, error);
                return false;
            }
            let was_full = open.twin.is_full();
            open.twin.outgoing.pop_front();
            if was_full && !open.twin.is_full() {
                open.session.hold_desired(false);
                open.waker.waker().wake();
            }
        }
        true
    }

    /// Begins to work on the next request; returns whether there was one that is done already.
    fn start_twin(&mut self, unit: UnitId) -> bool {
        let Some(open) = self.units.open_mut(unit) else {
            return false;
        };
        let Some(replies) = open.links.get(LinkKind::TwinReplies) else {
            return false;
        };
        if open.twin.running.is_some() {
            return false;
        }
        let Some(request) = open.twin.requests.pop_front() else {
            return false;
        };
        let Request {
            link,
            delivery,
            payload,
        } = request;
        match open.begin_request(&payload, &self.shared) {
            Step::Done(state) => {
                self.engine.settle(link, delivery, state);
                true
            }
            Step::Work(correlation_id, operation) => {
                let bytes = payload.len().saturating_mul(cost_factor(&operation));
                open.twin.running = Some(Running {
                    link,
                    delivery,
                    replies,
                    correlation_id,
                    bytes,
                });
                open.session.operate(Tag::Twin, operation);
                open.held.add(1, bytes);
                self.held.add(1, bytes);
                self.wake_unit(unit);
                false
            }
        }
    }

    /// Answers the request that was worked on: its disposition first, then the reply.
    pub(super) fn on_twin_ended(&mut self, unit: UnitId, outcome: OperationOutcome) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let Some(running) = open.twin.running.take() else {
            return;
        };
        open.held.remove(1, running.bytes);
        self.held.remove(1, running.bytes);
        let shared = &self.shared;
        let refuse = |id, error: PeerError| encode_refusal(id, &error.into(), shared);
        let id = running.correlation_id;
        let mut state = DeliveryState::Accepted;
        let reply = match outcome {
            OperationOutcome::Twin(outcome) => match *outcome {
                Ok(twin) => twin::encode_twin(id, &twin),
                Err(error) => refuse(id, error),
            },
            OperationOutcome::Reported(Ok(version)) => twin::encode_reported(id, version),
            OperationOutcome::Reported(Err(error)) => refuse(id, error),
            OperationOutcome::Subscribed(Ok(())) => twin::encode_done(id),
            OperationOutcome::Subscribed(Err(error)) => {
                // Java looks at the disposition alone.
                state = DeliveryState::rejected(error_of_peer(&error));
                open.forget_desired();
                refuse(id, error)
            }
        };
        self.engine.settle(running.link, running.delivery, state);
        let is_there = |kind, link| open.links.get(kind) == Some(link);
        // Once either link has gone, nobody waits for the reply.
        if is_there(LinkKind::TwinRequests, running.link)
            && is_there(LinkKind::TwinReplies, running.replies)
        {
            open.twin.reply(reply);
            open.twin.begin_notifying();
        }
        self.go_on_twin(unit);
    }

    /// Forgets what a unit has under way on a twin link that it has lost.
    pub(super) fn end_twin(&mut self, unit: UnitId, link: LinkId) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        open.twin.requests.retain(|request| request.link != link);
        open.twin.outgoing = VecDeque::new();
        open.session.hold_desired(false);
        open.twin.notifications = Notifications::Off;
        open.wants_desired = false;
    }
}

/// What comes of a request at first sight.
enum Step {
    /// It is over; its reply waits to be sent, if it has one.
    Done(DeliveryState),
    /// It is to be worked on, and answered to this id.
    Work(MessageId, Operation),
}

impl Open {
    fn begin_request(&mut self, payload: &Bytes, shared: &Shared) -> Step {
        let asked = match twin::read_request(payload) {
            Ok(asked) => asked,
            Err(refused) => {
                let error = error_of(refused.code, refused.text);
                return Step::Done(DeliveryState::rejected(error));
            }
        };
        let id = asked.correlation_id;
        match asked.request {
            Ok(TwinRequest::Get) => Step::Work(id, Operation::GetTwin),
            Ok(TwinRequest::Report(change)) => Step::Work(id, Operation::Report(change)),
            Ok(TwinRequest::Subscribe(None)) if self.twin.is_notified() => {
                self.twin.reply(twin::encode_done(id));
                Step::Done(DeliveryState::Accepted)
            }
            Ok(TwinRequest::Subscribe(version)) => {
                if let Some(version) = version {
                    self.session.name_desired(version);
                }
                self.twin.notifications = Notifications::Starting(Vec::new());
                Step::Work(id, self.subscribe_desired(true))
            }
            Ok(TwinRequest::Unsubscribe) => {
                self.twin.notifications = Notifications::Off;
                Step::Work(id, self.subscribe_desired(false))
            }
            Err(refusal) => {
                self.twin.reply(encode_refusal(id, &refusal, shared));
                Step::Done(DeliveryState::Accepted)
            }
        }
    }

    /// Returns the operation by which presence learns whether the device wants to be told.
    fn subscribe_desired(&mut self, is_wanted: bool) -> Operation {
        self.wants_desired = is_wanted;
        self.asked = self.wanted();
        Operation::Subscribe {
            subscriptions: self.asked,
            session: StoredSession::Kept,
        }
    }

    /// Takes back what presence could not learn.
    fn forget_desired(&mut self) {
        self.asked.desired = !self.asked.desired;
        self.wants_desired = false;
        self.twin.notifications = Notifications::Off;
    }
}

fn encode_refusal(id: MessageId, refusal: &TwinRefusal, shared: &Shared) -> Encoded {
    twin::encode_refusal(id, refusal, &Tracking::new(shared))
}

/// What a byte of a request costs while it is worked on.
fn cost_factor(operation: &Operation) -> usize {
    match operation {
        Operation::Report(TwinChange::Report { .. }) => JSON_COST_FACTOR,
        Operation::Report(_) | Operation::GetTwin | Operation::Subscribe { .. } => 1,
    }
}
