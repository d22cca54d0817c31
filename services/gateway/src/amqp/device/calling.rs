//! Method calls on their way to a device, and its answers (amqp.md §6).

use std::collections::VecDeque;

use bytes::Bytes;
use downlink_amqp::engine::{
    DeliveryId, IncomingMessage, LinkId, SendError, SendSettled, UnsettledDelivery,
};
use downlink_amqp::performative::DeliveryState;
use downlink_domain::ErrorCode;
use downlink_domain::method::{MethodError, MethodName};

use super::kind::LinkKind;
use super::methods::{self, Answer, BadAnswer};
use super::unit::{Open, UnitId};
use crate::amqp::condition::error_of;
use crate::amqp::conversation::Conversation;
use crate::device::DeviceSession;

/// Calls that may wait for credit of the device; above it a call is refused.
const MAX_WAITING: usize = 100;
/// Bytes of payload that may wait for credit; one call may go over it.
const MAX_WAITING_BYTES: usize = 512 * 1024;

/// The method calls of a unit.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Calls that the device has given no credit for yet, oldest first.
    waiting: VecDeque<Call>,
    waiting_bytes: usize,
    /// Calls on their way that the device has not settled, oldest first. The device session bounds
    /// those that somebody waits for, and others are forgotten with the next call.
    sent: VecDeque<(u64, DeliveryId)>,
}

#[derive(Debug)]
struct Call {
    rid: u64,
    name: MethodName,
    payload: Bytes,
}

impl Calls {
    /// Enters a call and returns whether there was room.
    fn push(&mut self, call: Call) -> bool {
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes >= MAX_WAITING_BYTES {
            return false;
        }
        self.waiting_bytes += call.payload.len();
        self.waiting.push_back(call);
        true
    }

    /// Takes the next call to make.
    fn pop(&mut self) -> Option<Call> {
        let call = self.waiting.pop_front()?;
        self.waiting_bytes -= call.payload.len();
        Some(call)
    }

    /// Drops calls whose callers have given up: a device that gives credit late is not asked what
    /// nobody wants to know any more.
    fn drop_abandoned<T: Send + 'static>(&mut self, session: &DeviceSession<T>) {
        let waiting_bytes = &mut self.waiting_bytes;
        self.waiting.retain(|call| {
            let is_awaited = session.is_awaited(call.rid);
            if !is_awaited {
                *waiting_bytes -= call.payload.len();
            }
            is_awaited
        });
    }

    fn take_sent(&mut self, rid: u64) -> Option<DeliveryId> {
        let index = self.sent.iter().position(|(sent, _)| *sent == rid)?;
        self.sent.remove(index).map(|(_, delivery)| delivery)
    }
}

impl Conversation {
    /// Calls a method, as soon as the device gives credit for it.
    pub(super) fn on_invoke(&mut self, unit: UnitId, rid: u64, name: MethodName, payload: Bytes) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        if !open.takes_calls() {
            open.session.fail_call(rid, MethodError::NotOnline);
            return;
        }
        open.calls.drop_abandoned(&open.session);
        let call = Call { rid, name, payload };
        if open.calls.push(call) {
            self.send_calls(unit);
        } else {
            open.session.fail_call(rid, MethodError::TooManyInFlight);
        }
    }

    /// Makes the calls that wait, as far as the peer has room.
    pub(super) fn send_calls(&mut self, unit: UnitId) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let Some(link) = open.links.get(LinkKind::MethodCalls) else {
            return;
        };
        open.calls.drop_abandoned(&open.session);
        while !open.calls.waiting.is_empty() {
            if let Err(error) = self.engine.check_room(link) {
                return self.note_unsent(link, error);
            }
            let Some(call) = open.calls.pop() else {
                return;
            };
            let message = methods::encode_call(call.rid, &call.name, call.payload);
            let tag = methods::tag_of(call.rid);
            match self.engine.send(link, tag, message, SendSettled::No) {
                Ok(delivery) => open.calls.sent.push_back((call.rid, delivery)),
                // There was room a moment ago, so there is none for good.
                Err(
                    SendError::Detached
                    | SendError::NoCredit
                    | SendError::WindowClosed
                    | SendError::UnsettledFull
                    | SendError::OutputFull,
                ) => open.session.fail_call(call.rid, MethodError::NotOnline),
            }
        }
        // A device that settles nothing must not stop its session.
        let session = &open.session;
        let sent = &mut open.calls.sent;
        sent.retain(|(rid, delivery)| {
            let is_awaited = session.is_awaited(*rid);
            if !is_awaited {
                self.engine.lapse(link, *delivery);
            }
            is_awaited
        });
    }

    /// Takes the device's answer to a call. One that comes too late is an answer like any other;
    /// nobody hears it.
    pub(super) fn on_answer(&mut self, unit: UnitId, message: &IncomingMessage) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let (rid, state) = match methods::read_answer(&message.payload) {
            Ok(Answer { rid, answer }) => {
                let state = if open.session.answer(rid, answer) {
                    DeliveryState::Accepted
                } else {
                    let most = self.shared.options.max_method_bytes;
                    let text = format!("a method answer must be JSON of {most} bytes at most");
                    DeliveryState::rejected(error_of(ErrorCode::ArgumentInvalid, text))
                };
                (Some(rid), state)
            }
            Err(BadAnswer { rid, refused }) => {
                if let Some(rid) = rid {
                    open.session.fail_call(rid, MethodError::BadAnswer);
                }
                let error = error_of(refused.code, refused.text);
                (rid, DeliveryState::rejected(error))
            }
        };
        let link = open.links.get(LinkKind::MethodCalls);
        let answered = rid.and_then(|rid| open.calls.take_sent(rid));
        if let (Some(link), Some(delivery)) = (link, answered) {
            self.engine.lapse(link, delivery);
        }
        self.engine.settle(message.link, message.delivery, state);
    }

    /// Takes the device's word on calls that reached it. One that it does not take, as C does at
    /// a fault of its own, has no answer to come.
    pub(super) fn on_calls_disposition(
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
        let is_taken = match state {
            Some(
                DeliveryState::Accepted | DeliveryState::Received { .. } | DeliveryState::Other(_),
            )
            | None => true,
            Some(
                DeliveryState::Rejected(_)
                | DeliveryState::Released
                | DeliveryState::Modified { .. },
            ) => false,
        };
        for UnsettledDelivery { delivery, tag } in deliveries {
            let Some(rid) = methods::rid_of(tag) else {
                continue;
            };
            open.calls.take_sent(rid);
            if !is_taken {
                open.session.fail_call(rid, MethodError::BadAnswer);
            }
            if !is_settled {
                let state = DeliveryState::Accepted;
                self.engine.settle_outgoing(link, *delivery, state);
            }
        }
    }

    /// Ends the calls of a unit that has lost one of the links for them: no answer can come.
    pub(super) fn end_calls(&mut self, unit: UnitId) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let calls = std::mem::take(&mut open.calls);
        for call in calls.waiting {
            open.session.fail_call(call.rid, MethodError::NotOnline);
        }
        open.session.fail_calls(MethodError::ConnectionLost);
        // On a link that stays nothing is awaited of the device any more.
        if let Some(link) = open.links.get(LinkKind::MethodCalls) {
            for (_, delivery) in calls.sent {
                self.engine.lapse(link, delivery);
            }
        }
    }
}

impl Open {
    /// Whether the device can be called: it has a link for calls and one for answers.
    fn takes_calls(&self) -> bool {
        self.links.get(LinkKind::MethodCalls).is_some()
            && self.links.get(LinkKind::MethodAnswers).is_some()
    }
}
