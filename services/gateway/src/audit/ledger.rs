//! Refusals that have not been told yet, counted by who, where and why.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use downlink_domain::access::Action;
use downlink_domain::{ErrorCode, Timestamp};
use tokio::time::Instant;

use crate::authenticate::Cause;

/// Most kinds of refusals that are told apart; what goes beyond is counted together.
pub const MAX_KEYS: usize = 4096;
/// Most lines that are taken at a time.
pub const MAX_LINES: usize = 200;
/// How long after a line the next one of the same kind comes.
pub const REPEAT: Duration = Duration::from_mins(1);

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A credential.
    Credential(Cause),
    /// A right, to whose credential held.
    Right(Action),
    /// Kinds of refusals beyond the bound.
    Many,
}

/// What refusals that are counted together have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// What was refused.
    pub what: What,
    /// At which door.
    pub door: &'static str,
    /// To whom, as far as that was said.
    pub who: Box<str>,
    /// From where.
    pub address: Option<IpAddr>,
}

/// Some refusals of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Of what kind.
    pub key: Key,
    /// What the last one was aimed at.
    pub target: Box<str>,
    /// With what code it was answered.
    pub code: ErrorCode,
    /// How many they are.
    pub count: u32,
    /// When the last one was.
    pub at: Timestamp,
}

#[derive(Debug)]
struct Entry {
    target: Box<str>,
    code: ErrorCode,
    count: u32,
    at: Timestamp,
    /// When it may be told next, or forgotten.
    due: Instant,
}

/// Refusals that have not been told yet: at most [`MAX_KEYS`] kinds, and one for all others.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: HashMap<Key, Entry>,
    others: Option<Entry>,
}

impl Ledger {
    /// Notes one; tells whether the kind is a new one, of which nothing was told lately.
    pub fn note(
        &mut self,
        key: Key,
        target: &str,
        code: ErrorCode,
        at: Timestamp,
        now: Instant,
    ) -> bool {
        let first = || Entry {
            target: target.into(),
            code,
            count: 0,
            at,
            due: now,
        };
        let is_full = self.entries.len() >= MAX_KEYS;
        let (entry, is_new) = if let Some(entry) = self.entries.get_mut(&key) {
            (entry, false)
        } else if is_full {
            let is_new = self.others.is_none();
            (self.others.get_or_insert_with(first), is_new)
        } else {
            (self.entries.entry(key).or_insert_with(first), true)
        };
        if &*entry.target != target {
            entry.target = target.into();
        }
        entry.count = entry.count.saturating_add(1);
        (entry.code, entry.at) = (code, at);
        is_new
    }

    /// Takes what is due, what has waited longest first, at most [`MAX_LINES`]; forgets what has not happened again.
    pub fn take(&mut self, now: Instant) -> Vec<Line> {
        let is_over = |entry: &Entry| entry.count == 0 && entry.due <= now;
        self.entries.retain(|_, entry| !is_over(entry));
        self.others.take_if(|entry| is_over(entry));
        let is_due = |entry: &Entry| entry.count > 0 && entry.due <= now;
        let mut due: Vec<(Instant, Key)> = self
            .entries
            .iter()
            .filter(|(_, entry)| is_due(entry))
            .map(|(key, entry)| (entry.due, key.clone()))
            .collect();
        due.sort_unstable_by_key(|(due, _)| *due);
        let mut lines = Vec::with_capacity(MAX_LINES.min(due.len() + 1));
        if let Some(entry) = self.others.as_mut().filter(|entry| is_due(entry)) {
            lines.push(entry.tell(many(), now));
        }
        due.truncate(MAX_LINES - lines.len());
        for (_, key) in due {
            if let Some(entry) = self.entries.get_mut(&key) {
                lines.push(entry.tell(key, now));
            }
        }
        lines
    }

    /// Makes everything due that was counted: nobody will ask later.
    pub fn close(&mut self, now: Instant) {
        let entries = self.entries.values_mut().chain(self.others.as_mut());
        for entry in entries {
            entry.due = entry.due.min(now);
        }
    }

    /// When something is to be taken or forgotten next.
    pub fn next_due(&self) -> Option<Instant> {
        let entries = self.entries.values().chain(self.others.as_ref());
        entries.map(|entry| entry.due).min()
    }

    /// How many kinds are told apart now.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    fn tell(&mut self, key: Key, now: Instant) -> Line {
        self.due = now + REPEAT;
        Line {
            key,
            target: self.target.clone(),
            code: self.code,
            count: std::mem::take(&mut self.count),
            at: self.at,
        }
    }
}

/// Stands for all kinds beyond the bound.
fn many() -> Key {
    Key {
        what: What::Many,
        door: "",
        who: "".into(),
        address: None,
    }
}
