//! The transitions against the reference model, with every invariant checked after every command.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::invariant::{
    has_one_holder_per_lock, is_in_order, is_step_lawful, is_within_max_deliveries,
};
use super::model::{Answer, Command, DEVICES, Handed, QueueModel, commands};
use super::transition::{self, Decision};
use super::*;
use crate::id::LockToken;
use crate::message::feedback::FeedbackStatus;

const MAX_DEPTH: usize = 6;

/// The least queue that can be made of the transitions.
struct Queue {
    rules: QueueRules,
    now: Timestamp,
    messages: Vec<Message>,
    holds: Vec<(usize, LockToken)>,
    reports: Vec<(usize, FeedbackStatus)>,
}

fn key(device: usize) -> DeviceKey {
    DeviceKey(i64::try_from(device).unwrap())
}

impl Queue {
    fn run(&mut self, command: &Command) -> Answer {
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
            Command::Count { device } => Answer::Counted(self.count(device) as u64),
        }
    }

    fn enqueue(&mut self, device: usize, ack: AckMode, ttl: Duration) -> Answer {
        if self.count(device) >= MAX_DEPTH {
            return Answer::QueueFull;
        }
        let ticket = self.messages.len();
        self.messages.push(Message {
            device: key(device),
            sequence: SequenceNumber(ticket as u64),
            enqueued_at: self.now,
            expiry: self.now + ttl,
            delivery_count: 0,
            ack,
            properties: Properties::default(),
            body: Bytes::new(),
            state: MessageState::Enqueued,
        });
        Answer::Accepted(ticket)
    }

    fn receive(&mut self, device: usize, limit: usize, lock: Duration) -> Answer {
        let mut handed = Vec::new();
        for ticket in self.tickets_of(device) {
            if handed.len() == limit {
                break;
            }
            let hold = self.holds.len();
            let mut token = [0; 16];
            token[..8].copy_from_slice(&(hold as u64).to_le_bytes());
            let lock = Lock {
                token: LockToken(token),
                until: self.now + lock,
            };
            let standing = self.messages[ticket].standing();
            if let Ok(decision) = transition::receive(standing, lock, &self.rules, self.now) {
                self.take(ticket, decision);
                self.holds.push((ticket, lock.token));
                handed.push(Handed {
                    ticket,
                    hold,
                    seen_delivery_count: decision.next.seen_delivery_count(self.rules.counting),
                });
            }
        }
        Answer::Received(handed)
    }

    fn settle(&mut self, hold: usize, verdict: Verdict) -> Answer {
        if self.holds.is_empty() {
            return Answer::LockLost;
        }
        let (ticket, token) = self.holds[hold % self.holds.len()];
        let standing = self.messages[ticket].standing();
        match transition::settle(standing, token, verdict, &self.rules, self.now) {
            Ok(decision) => {
                self.take(ticket, decision);
                Answer::Settled
            }
            Err(transition::LockLost) => Answer::LockLost,
        }
    }

    fn purge(&mut self, device: usize) -> Answer {
        let mut removed = 0;
        for ticket in self.tickets_of(device) {
            let standing = self.messages[ticket].standing();
            if let Some(decision) = transition::purge(standing, self.now) {
                self.take(ticket, decision);
                removed += 1;
            }
        }
        Answer::Purged(removed)
    }

    fn sweep(&mut self) -> Answer {
        let (mut expired, mut exhausted, mut lapsed) = (0, 0, Vec::new());
        for ticket in 0..self.messages.len() {
            let standing = self.messages[ticket].standing();
            let Some(decision) = transition::due(standing, &self.rules, self.now) else {
                continue;
            };
            match decision.next.state {
                MessageState::DeadLettered {
                    reason: DeadLetterReason::Expired,
                    ..
                } => expired += 1,
                MessageState::DeadLettered { .. } => exhausted += 1,
                MessageState::Enqueued
                | MessageState::Invisible { .. }
                | MessageState::Completed { .. } => {
                    lapsed.push(usize::try_from(self.messages[ticket].device.0).unwrap());
                }
            }
            self.take(ticket, decision);
        }
        lapsed.sort_unstable();
        lapsed.dedup();
        Answer::Swept {
            expired,
            exhausted,
            lapsed,
        }
    }

    fn count(&self, device: usize) -> usize {
        let of_device = self.messages.iter().filter(|m| m.device == key(device));
        of_device
            .filter(|m| m.standing().is_waiting(self.now))
            .count()
    }

    fn tickets_of(&self, device: usize) -> Vec<usize> {
        let tickets = 0..self.messages.len();
        tickets
            .filter(|ticket| self.messages[*ticket].device == key(device))
            .collect()
    }

    fn take(&mut self, ticket: usize, decision: Decision) {
        let before = &self.messages[ticket];
        let after = before.clone().at(decision.next);
        assert!(is_step_lawful(before, &after), "{before:?} to {after:?}");
        self.messages[ticket] = after;
        self.reports
            .extend(decision.feedback.map(|status| (ticket, status)));
    }

    fn check_invariants(&self) {
        assert!(has_one_holder_per_lock(&self.messages));
        for device in 0..DEVICES {
            let of_device = self.messages.iter().filter(|m| m.device == key(device));
            let of_device: Vec<_> = of_device.cloned().collect();
            assert!(is_in_order(&of_device));
            assert!(
                of_device
                    .iter()
                    .all(|m| is_within_max_deliveries(m, &self.rules))
            );
            assert!(self.count(device) <= MAX_DEPTH);
        }
    }
}

fn check(counting: DeliveryCounting, commands: &[Command]) -> Result<(), TestCaseError> {
    let rules = QueueRules {
        counting,
        max_delivery_count: 3,
        feedback_ttl: Duration::from_hours(1),
    };
    let now = Timestamp::from_millis(0);
    let mut model = QueueModel::new(rules, MAX_DEPTH as u64, now);
    let mut queue = Queue {
        rules,
        now,
        messages: Vec::new(),
        holds: Vec::new(),
        reports: Vec::new(),
    };
    for command in commands {
        prop_assert_eq!(queue.run(command), model.run(command), "{:?}", command);
        prop_assert_eq!(&queue.reports, &model.take_reports(), "{:?}", command);
        queue.reports.clear();
        queue.check_invariants();
    }
    Ok(())
}

proptest! {
    #[test]
    fn transitions_follow_the_model_when_deliveries_count(commands in commands(120)) {
        check(DeliveryCounting::Deliveries, &commands)?;
    }

    #[test]
    fn transitions_follow_the_model_when_abandons_count(commands in commands(120)) {
        check(DeliveryCounting::Abandons, &commands)?;
    }
}
