//! What a unit has under way about its twin (amqp.md §7).

use std::collections::VecDeque;

use bytes::Bytes;
use downlink_amqp::engine::{DeliveryId, LinkId};
use downlink_amqp::message::{Encoded, MessageId};
use downlink_amqp::performative::DeliveryTag;
use downlink_ports::Notify;

use super::twin;

/// Changes that may wait for the device; then the session is asked for no more, and reads what it
/// held back once there is room.
const MAX_CHANGES: usize = 16;

/// What a unit has under way about its twin.
#[derive(Debug, Default)]
pub(super) struct TwinPair {
    /// Requests that wait their turn, oldest first; the window of their link bounds them.
    pub(super) requests: VecDeque<Request>,
    pub(super) running: Option<Running>,
    /// Replies and notifications that wait for credit, oldest first.
    pub(super) outgoing: VecDeque<Outgoing>,
    pub(super) notifications: Notifications,
    /// Messages sent so far; their tags are made of it.
    pub(super) sent: u64,
}

/// What goes to the device.
#[derive(Debug)]
pub(super) enum Outgoing {
    Reply(Encoded),
    Change(Encoded),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) link: LinkId,
    pub(super) delivery: DeliveryId,
    pub(super) payload: Bytes,
}

/// The request that is worked on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) link: LinkId,
    pub(super) delivery: DeliveryId,
    /// Where its reply is to go.
    pub(super) replies: LinkId,
    pub(super) correlation_id: MessageId,
    /// About the memory it takes meanwhile.
    pub(super) bytes: usize,
}

/// Whether the device is told of changed desired properties.
#[derive(Debug, Default)]
pub(super) enum Notifications {
    /// It is not.
    #[default]
    Off,
    /// It has asked; changes wait for its reply to go first.
    Starting(Vec<Notify>),
    /// It is.
    On,
}

impl TwinPair {
    pub(super) fn reply(&mut self, reply: Encoded) {
        self.outgoing.push_back(Outgoing::Reply(reply));
    }

    /// Returns whether as many changes wait for the device as may.
    pub(super) fn is_full(&self) -> bool {
        let is_change = |message: &&Outgoing| matches!(message, Outgoing::Change(_));
        self.outgoing.iter().filter(is_change).count() >= MAX_CHANGES
    }

    /// Has the device told of a change.
    fn tell(&mut self, change: &Notify) {
        let change = twin::encode_desired(change);
        self.outgoing.push_back(Outgoing::Change(change));
    }

    /// Takes a change, and returns whether the device is to be told of it now.
    pub(super) fn on_change(&mut self, change: Notify) -> bool {
        match &mut self.notifications {
            Notifications::Off => false,
            Notifications::Starting(changes) => {
                if changes.len() >= MAX_CHANGES {
                    changes.remove(0);
                }
                changes.push(change);
                false
            }
            Notifications::On => {
                self.tell(&change);
                true
            }
        }
    }

    /// Returns a tag of the length that the real hub uses.
    pub(super) fn next_tag(&mut self) -> DeliveryTag {
        self.sent += 1;
        let bytes = u128::from(self.sent).to_be_bytes();
        DeliveryTag::new(&bytes).expect("16 bytes fit the 32 of a tag")
    }

    pub(super) fn is_notified(&self) -> bool {
        matches!(self.notifications, Notifications::On)
    }

    /// Lets notifications go, now that the reply to the request for them is on its way.
    pub(super) fn begin_notifying(&mut self) {
        if let Notifications::Starting(changes) = &mut self.notifications {
            let changes = std::mem::take(changes);
            self.notifications = Notifications::On;
            for change in changes {
                self.tell(&change);
            }
        }
    }
}
