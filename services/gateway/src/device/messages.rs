//! The window of cloud-to-device messages that one connection holds.

use std::time::Duration;

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
    /// Whether settlements on their way give messages back.
    pub(super) is_giving_back: bool,
    phase: Phase,
    /// Receives that failed in a row.
    failures: u8,
    /// Deliveries the protocol can take now, its link credit; MQTT has no such bound.
    credit: u32,
}

/// What is to be done with received messages.
#[derive(Debug)]
pub(super) enum Received {
    /// Deliver them.
    Deliver(Vec<LockedMessage>),
    /// Give them back.
    GoBack(Vec<Settlement>),
}

/// What the window does about further messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing.
    Idle,
    /// A receive is on its way, or waits its turn.
    Asking,
    /// It pauses after a receive that failed.
    Pausing,
    /// It has ended: a receive may still be on its way.
    Ended(EndedWhile),
}

/// What the window did when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndedWhile {
    Idle,
    Asking,
}

/// How far the clocks of two nodes may differ (design.md §6).
const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// Pause after the first failed receive; doubled at each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between two failed receives.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Window {
    pub(super) fn new(device: DeviceKey, size: u16) -> Self {
        Self {
            device,
            size,
            held: Vec::new(),
            is_worth_asking: false,
            is_giving_back: false,
            phase: Phase::Idle,
            failures: 0,
            credit: u32::MAX,
        }
    }

    /// Notes that a receive may find messages.
    pub(super) fn hint(&mut self) {
        self.is_worth_asking = true;
    }

    /// States how many messages the peer can take. That is no reason to ask by itself: a request
    /// that credit cut short has left word that more may wait.
    pub(super) fn set_credit(&mut self, credit: u32) {
        self.credit = credit;
    }

    /// Takes back the credit of a received message that did not go out; it waits in the queue
    /// again.
    pub(super) fn return_credit(&mut self) {
        if self.credit != u32::MAX {
            self.credit = self.credit.saturating_add(1).min(u32::MAX - 1);
        }
        self.is_worth_asking = true;
    }

    /// Places for further messages: what the window has left, within the credit.
    fn room(&self) -> u16 {
        let held = u16::try_from(self.held.len()).unwrap_or(u16::MAX);
        let room = self.size.saturating_sub(held);
        room.min(u16::try_from(self.credit).unwrap_or(u16::MAX))
    }

    /// Whether [`Self::begin_receive`] would ask.
    pub(super) fn is_about_to_ask(&self) -> bool {
        self.phase == Phase::Idle && self.is_worth_asking && self.room() > 0
    }

    /// How many messages to ask for now, `None` when not to ask. At most one request runs at a
    /// time, which keeps the order.
    pub(super) fn begin_receive(&mut self) -> Option<u16> {
        if !self.is_about_to_ask() {
            return None;
        }
        let room = self.room();
        self.phase = Phase::Asking;
        self.is_worth_asking = false;
        Some(room)
    }

    /// Enters what a receive for `asked` messages brought.
    ///
    /// Returns those to deliver; the others were so long on their way that their locks have
    /// ended, and the queue offers them again. After the end of the window none are to be
    /// delivered; they are to go back.
    pub(super) fn received(
        &mut self,
        mut messages: Vec<LockedMessage>,
        asked: u16,
        now: Timestamp,
    ) -> Received {
        self.failures = 0;
        if self.receive_ended() == Phase::Ended(EndedWhile::Idle) {
            let undelivered = messages.into_iter().map(|locked| Settlement {
                device: self.device,
                sequence: locked.message.sequence,
                token: locked.lock.token,
                verdict: Verdict::ReleaseUndelivered,
            });
            return Received::GoBack(undelivered.collect());
        }
        self.is_worth_asking |= messages.len() >= usize::from(asked);
        let before = messages.len();
        messages.retain(|locked| locked.lock.until + CLOCK_SKEW > now);
        self.is_worth_asking |= messages.len() < before;
        self.held.extend(messages.iter().map(|locked| Held {
            sequence: locked.message.sequence,
            token: locked.lock.token,
            until: locked.lock.until,
        }));
        let taken = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        if self.credit != u32::MAX {
            self.credit = self.credit.saturating_sub(taken);
        }
        Received::Deliver(messages)
    }

    /// Tells whether a receive is on its way.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking | Phase::Ended(EndedWhile::Asking))
    }

    /// Ends a receive that was not made after all; it is worth making later.
    pub(super) fn receive_withdrawn(&mut self) {
        self.receive_ended();
        self.is_worth_asking = true;
    }

    /// Ends a receive that failed. Returns how long to pause, 50–100 % of a doubling time by
    /// `jitter`, before [`Self::pause_ended`]; nothing when the window has ended.
    pub(super) fn receive_failed(&mut self, jitter: u8) -> Option<Duration> {
        if self.receive_ended() != Phase::Idle {
            return None;
        }
        self.phase = Phase::Pausing;
        let full = FIRST_PAUSE * 2_u32.saturating_pow(u32::from(self.failures));
        let full = full.min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1).min(16);
        Some(full / 2 + full * u32::from(jitter) / 512)
    }

    /// Ends the pause after a receive that failed.
    pub(super) fn pause_ended(&mut self) {
        if self.phase == Phase::Pausing {
            self.phase = Phase::Idle;
            self.is_worth_asking = true;
        }
    }

    /// Ends the window: nothing more is asked for.
    pub(super) fn end(&mut self) {
        self.phase = match self.phase {
            Phase::Asking => Phase::Ended(EndedWhile::Asking),
            Phase::Idle | Phase::Pausing => Phase::Ended(EndedWhile::Idle),
            Phase::Ended(ended) => Phase::Ended(ended),
        };
    }

    /// Stands for a wait that must be over before the window has ended.
    pub(super) fn end_after_wait(&mut self) {
        self.phase = Phase::Ended(EndedWhile::Asking);
    }

    fn receive_ended(&mut self) -> Phase {
        self.phase = match self.phase {
            Phase::Ended(_) => Phase::Ended(EndedWhile::Idle),
            Phase::Idle | Phase::Asking | Phase::Pausing => Phase::Idle,
        };
        self.phase
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
