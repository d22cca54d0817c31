//! The window of cloud-to-device messages that one connection holds.

use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, LockToken, SequenceNumber};
use downlink_domain::message::{Settlement, Verdict};
use downlink_ports::LockedMessage;

/// One message that the connection holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    sequence: SequenceNumber,
    token: LockToken,
    until: Timestamp,
}

/// Which messages the connection holds and whether more may wait in the queue.
#[derive(Debug)]
pub(super) struct Window {
    device: DeviceKey,
    size: u16,
    held: Vec<Held>,
    /// Something says that a receive may find messages.
    is_worth_asking: bool,
    is_asking: bool,
    /// Deliveries the protocol can take now, its link credit; MQTT has no such bound.
    credit: u32,
}

impl Window {
    pub(super) fn new(device: DeviceKey, size: u16) -> Self {
        Self {
            device,
            size,
            held: Vec::new(),
            is_worth_asking: false,
            is_asking: false,
            credit: u32::MAX,
        }
    }

    /// Notes that a receive may find messages.
    pub(super) fn hint(&mut self) {
        self.is_worth_asking = true;
    }

    pub(super) fn set_credit(&mut self, credit: u32) {
        self.credit = credit;
        self.is_worth_asking = true;
    }

    /// How many messages to ask for now, `None` when not to ask. At most one request runs at a
    /// time, which keeps the order.
    pub(super) fn begin_receive(&mut self) -> Option<u16> {
        let held = u16::try_from(self.held.len()).unwrap_or(u16::MAX);
        let room = self.size.saturating_sub(held);
        let room = room.min(u16::try_from(self.credit).unwrap_or(u16::MAX));
        if self.is_asking || !self.is_worth_asking || room == 0 {
            return None;
        }
        self.is_asking = true;
        self.is_worth_asking = false;
        Some(room)
    }

    /// Enters what a receive for `asked` messages brought.
    pub(super) fn received(&mut self, messages: &[LockedMessage], asked: u16) {
        self.is_asking = false;
        self.is_worth_asking |= messages.len() >= usize::from(asked);
        self.held.extend(messages.iter().map(|locked| Held {
            sequence: locked.message.sequence,
            token: locked.lock.token,
            until: locked.lock.until,
        }));
        let taken = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        if self.credit != u32::MAX {
            self.credit = self.credit.saturating_sub(taken);
        }
    }

    /// Tells whether a receive is on its way.
    pub(super) fn is_asking(&self) -> bool {
        self.is_asking
    }

    /// Ends a receive that brought nothing.
    pub(super) fn receive_failed(&mut self) {
        self.is_asking = false;
    }

    /// Takes a held message out to settle it; `None` when it is not held (any more).
    ///
    /// The free place alone is no reason to ask again: the last receive told whether more wait,
    /// and what came since was announced.
    pub(super) fn settle(&mut self, token: LockToken, verdict: Verdict) -> Option<Settlement> {
        let index = self.held.iter().position(|held| held.token == token)?;
        let held = self.held.remove(index);
        Some(self.settlement(held, verdict))
    }

    /// Forgets messages whose lock has ended; the queue offers them again.
    pub(super) fn drop_lapsed(&mut self, now: Timestamp) {
        let before = self.held.len();
        self.held.retain(|held| held.until > now);
        self.is_worth_asking |= self.held.len() < before;
    }

    /// The first end of a lock.
    pub(super) fn next_lapse(&self) -> Option<Timestamp> {
        self.held.iter().map(|held| held.until).min()
    }

    /// Gives back everything that went out to the device.
    pub(super) fn release_all(&mut self) -> Vec<Settlement> {
        let held = std::mem::take(&mut self.held);
        held.into_iter()
            .map(|held| self.settlement(held, Verdict::ReleaseDelivered))
            .collect()
    }

    fn settlement(&self, held: Held, verdict: Verdict) -> Settlement {
        Settlement {
            device: self.device,
            sequence: held.sequence,
            token: held.token,
            verdict,
        }
    }
}
