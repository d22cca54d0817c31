//! A reference model of the queue: the rules of c2d.md §4 told a second time, as plainly as they
//! can be, for property tests of the transitions and of message stores.
//!
//! It shares no code with [`crate::message::transition`]. Messages are named by their *ticket*
//! (the how-manieth accepted message), locks by their *hold* (the how-manieth lock handed out);
//! whoever drives a real queue beside the model keeps the mapping.

use std::time::Duration;

use proptest::prelude::*;

use crate::message::feedback::FeedbackStatus;
use crate::message::{AckMode, DeliveryCounting, QueueRules, Verdict};
use crate::time::Timestamp;

/// Number of devices that [`commands`] speaks of.
pub const DEVICES: usize = 3;

/// One thing done to the queues.
#[derive(Clone, Debug)]
pub enum Command {
    /// A sender's message.
    Enqueue {
        /// For whom, below [`DEVICES`].
        device: usize,
        /// Outcomes wanted.
        ack: AckMode,
        /// Its life.
        ttl: Duration,
    },
    /// A receive of several messages.
    Receive {
        /// Whose.
        device: usize,
        /// Most messages wanted.
        limit: usize,
        /// How long to hold them.
        lock: Duration,
    },
    /// A settlement, also by a lock that is long over.
    Settle {
        /// The hold, modulo the number of holds handed out.
        hold: usize,
        /// What becomes of the message.
        verdict: Verdict,
    },
    /// Time passes.
    Advance {
        /// How much.
        by: Duration,
    },
    /// A purge.
    Purge {
        /// Whose queue.
        device: usize,
    },
    /// A sweep of everything due.
    Sweep,
    /// A count of what waits.
    Count {
        /// Whose queue.
        device: usize,
    },
}

/// One message handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed {
    /// Which message.
    pub ticket: usize,
    /// Under which lock.
    pub hold: usize,
    /// The delivery count that the device is shown.
    pub seen_delivery_count: u32,
}

/// What a command answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to say.
    Done,
    /// Accepted under this ticket.
    Accepted(usize),
    /// Refused, the queue is full.
    QueueFull,
    /// Handed out, in order.
    Received(Vec<Handed>),
    /// Settled.
    Settled,
    /// Not settled: the lock was lost.
    LockLost,
    /// So many removed.
    Purged(u64),
    /// What a sweep made visible.
    Swept {
        /// Messages that expired.
        expired: u64,
        /// Messages whose deliveries were used up.
        exhausted: u64,
        /// Devices with messages that a lapsed lock gave back, rising.
        lapsed: Vec<usize>,
    },
    /// So many wait.
    Counted(u64),
}

#[derive(Clone, Debug)]
struct ModelMessage {
    device: usize,
    ack: AckMode,
    expiry: Timestamp,
    deliveries: u32,
    abandons: u32,
    hold: Option<(usize, Timestamp)>,
    has_ended: bool,
}

/// The queues of [`DEVICES`] devices.
#[derive(Clone, Debug)]
pub struct QueueModel {
    rules: QueueRules,
    max_depth: u64,
    now: Timestamp,
    messages: Vec<ModelMessage>,
    /// The message of every lock ever handed out.
    holds: Vec<usize>,
    reports: Vec<(usize, FeedbackStatus)>,
}

impl QueueModel {
    /// Makes empty queues.
    pub fn new(rules: QueueRules, max_depth: u64, now: Timestamp) -> Self {
        Self {
            rules,
            max_depth,
            now,
            messages: Vec::new(),
            holds: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// The present instant of the model.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Number of locks handed out so far.
    pub fn hold_count(&self) -> usize {
        self.holds.len()
    }

    /// Takes the reports to senders made since the last call, as ticket and status, sorted.
    pub fn take_reports(&mut self) -> Vec<(usize, FeedbackStatus)> {
        let mut reports = std::mem::take(&mut self.reports);
        reports.sort_by_key(|(ticket, _)| *ticket);
        reports
    }

    /// Carries a command out.
    pub fn run(&mut self, command: &Command) -> Answer {
        match *command {
            Command::Enqueue { device, ack, ttl } => self.enqueue(device, ack, ttl),
            Command::Receive {
                device,
                limit,
                lock,
            } => self.receive(device, limit, lock),
            Command::Settle { hold, verdict } => self.settle(hold, verdict),
            Command::Advance { by } => {
                self.now = self.now + by;
                Answer::Done
            }
            Command::Purge { device } => self.purge(device),
            Command::Sweep => self.sweep(),
            Command::Count { device } => Answer::Counted(self.count(device)),
        }
    }

    fn enqueue(&mut self, device: usize, ack: AckMode, ttl: Duration) -> Answer {
        if self.count(device) >= self.max_depth {
            return Answer::QueueFull;
        }
        self.messages.push(ModelMessage {
            device,
            ack,
            expiry: self.now + ttl,
            deliveries: 0,
            abandons: 0,
            hold: None,
            has_ended: false,
        });
        Answer::Accepted(self.messages.len() - 1)
    }

    fn receive(&mut self, device: usize, limit: usize, lock: Duration) -> Answer {
        let mut handed = Vec::new();
        for ticket in 0..self.messages.len() {
            if handed.len() == limit {
                break;
            }
            if self.messages[ticket].device != device || !self.is_receivable(ticket) {
                continue;
            }
            let seen_delivery_count = self.counted(ticket);
            let hold = self.holds.len();
            self.holds.push(ticket);
            let message = &mut self.messages[ticket];
            message.deliveries += 1;
            message.hold = Some((hold, self.now + lock));
            handed.push(Handed {
                ticket,
                hold,
                seen_delivery_count,
            });
        }
        Answer::Received(handed)
    }

    fn settle(&mut self, hold: usize, verdict: Verdict) -> Answer {
        if self.holds.is_empty() {
            return Answer::LockLost;
        }
        let hold = hold % self.holds.len();
        let ticket = self.holds[hold];
        let is_held = self.messages[ticket]
            .hold
            .is_some_and(|(current, until)| current == hold && self.now < until);
        if !is_held || !self.is_waiting(ticket) {
            return Answer::LockLost;
        }
        match verdict {
            Verdict::Complete => self.end(ticket, FeedbackStatus::Success),
            Verdict::Reject => self.end(ticket, FeedbackStatus::Rejected),
            Verdict::Abandon => {
                self.messages[ticket].abandons += 1;
                self.give_back(ticket);
            }
            Verdict::ReleaseDelivered => self.give_back(ticket),
            Verdict::ReleaseUndelivered => {
                let message = &mut self.messages[ticket];
                message.deliveries -= 1;
                message.hold = None;
            }
        }
        Answer::Settled
    }

    fn purge(&mut self, device: usize) -> Answer {
        let mut removed = 0;
        for ticket in 0..self.messages.len() {
            if self.messages[ticket].device == device && self.is_waiting(ticket) {
                self.end(ticket, FeedbackStatus::Purged);
                removed += 1;
            }
        }
        Answer::Purged(removed)
    }

    fn sweep(&mut self) -> Answer {
        let (mut expired, mut exhausted, mut lapsed) = (0, 0, Vec::new());
        for ticket in 0..self.messages.len() {
            let message = &self.messages[ticket];
            if message.has_ended {
                continue;
            }
            if !self.is_waiting(ticket) {
                self.end(ticket, FeedbackStatus::Expired);
                expired += 1;
            } else if message.hold.is_some_and(|(_, until)| until <= self.now) {
                let device = message.device;
                self.give_back(ticket);
                if self.messages[ticket].has_ended {
                    exhausted += 1;
                } else {
                    lapsed.push(device);
                }
            }
        }
        lapsed.sort_unstable();
        lapsed.dedup();
        Answer::Swept {
            expired,
            exhausted,
            lapsed,
        }
    }

    fn count(&self, device: usize) -> u64 {
        let tickets = 0..self.messages.len();
        let waiting = tickets
            .filter(|ticket| self.messages[*ticket].device == device && self.is_waiting(*ticket));
        waiting.count() as u64
    }

    fn is_waiting(&self, ticket: usize) -> bool {
        let message = &self.messages[ticket];
        !message.has_ended && self.now < message.expiry
    }

    fn is_receivable(&self, ticket: usize) -> bool {
        let is_free = match self.messages[ticket].hold {
            None => true,
            Some((_, until)) => until <= self.now && !self.is_used_up(ticket),
        };
        is_free && self.is_waiting(ticket)
    }

    fn counted(&self, ticket: usize) -> u32 {
        match self.rules.counting {
            DeliveryCounting::Deliveries => self.messages[ticket].deliveries,
            DeliveryCounting::Abandons => self.messages[ticket].abandons,
        }
    }

    /// Tells whether a message whose lock ends now may not be delivered again.
    fn is_used_up(&self, ticket: usize) -> bool {
        let max = self.rules.max_delivery_count;
        match self.rules.counting {
            DeliveryCounting::Deliveries => self.counted(ticket) >= max,
            DeliveryCounting::Abandons => self.counted(ticket) > max,
        }
    }

    fn give_back(&mut self, ticket: usize) {
        if self.is_used_up(ticket) {
            self.end(ticket, FeedbackStatus::DeliveryCountExceeded);
        } else {
            self.messages[ticket].hold = None;
        }
    }

    fn end(&mut self, ticket: usize, status: FeedbackStatus) {
        let message = &mut self.messages[ticket];
        message.has_ended = true;
        message.hold = None;
        let is_success = status == FeedbackStatus::Success;
        let is_wanted = match message.ack {
            AckMode::None => false,
            AckMode::Positive => is_success,
            AckMode::Negative => !is_success,
            AckMode::Full => true,
        };
        if is_wanted {
            self.reports.push((ticket, status));
        }
    }
}

/// Random commands on few devices, with spans of time that meet each other's borders.
pub fn commands(count: usize) -> impl Strategy<Value = Vec<Command>> {
    proptest::collection::vec(command(), 1..=count)
}

fn command() -> impl Strategy<Value = Command> {
    let device = 0..DEVICES;
    let span = || (1_u64..=6).prop_map(|steps| Duration::from_secs(steps * 10));
    let ack = prop_oneof![
        Just(AckMode::None),
        Just(AckMode::Positive),
        Just(AckMode::Negative),
        Just(AckMode::Full),
    ];
    let verdict = prop_oneof![
        Just(Verdict::Complete),
        Just(Verdict::Abandon),
        Just(Verdict::Reject),
        Just(Verdict::ReleaseDelivered),
        Just(Verdict::ReleaseUndelivered),
    ];
    let ttl = (1_u64..=20).prop_map(|steps| Duration::from_secs(steps * 10));
    prop_oneof![
        6 => (device.clone(), ack, ttl)
            .prop_map(|(device, ack, ttl)| Command::Enqueue { device, ack, ttl }),
        6 => (device.clone(), 1_usize..=4, span())
            .prop_map(|(device, limit, lock)| Command::Receive { device, limit, lock }),
        6 => (any::<usize>(), verdict)
            .prop_map(|(hold, verdict)| Command::Settle { hold, verdict }),
        4 => span().prop_map(|by| Command::Advance { by }),
        1 => device.clone().prop_map(|device| Command::Purge { device }),
        2 => Just(Command::Sweep),
        2 => device.prop_map(|device| Command::Count { device }),
    ]
}
