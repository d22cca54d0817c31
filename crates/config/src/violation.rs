//! What is wrong with a configuration, all of it.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use crate::human::{ByteSize, HumanDuration};

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where the setting stands, such as `queue.max_depth`.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
    /// Which layer it came from, such as `environment variable DOWNLINK_QUEUE__MAX_DEPTH`.
    pub source: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (from {})", self.path, self.message, self.source)
    }
}

/// Everything that is wrong with a configuration; one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// In the order in which they were found; at most a few hundred, the settings are counted.
    pub list: Vec<Violation>,
}

impl std::error::Error for Violations {}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for violation in &self.list {
            write!(f, "{separator}{violation}")?;
            separator = "\n";
        }
        Ok(())
    }
}

/// Collects violations under the path of the section being checked.
#[derive(Debug, Default)]
pub struct Checker {
    path: String,
    found: Vec<(String, String)>,
}

impl Checker {
    /// Checks one section: what `check` finds is noted under `name`.
    pub fn section(&mut self, name: &str, check: impl FnOnce(&mut Self)) {
        let parent = self.path.len();
        if parent > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        check(self);
        self.path.truncate(parent);
    }

    /// Notes `message` about `field` unless the claim holds.
    pub fn require(&mut self, holds: bool, field: &str, message: impl fmt::Display) {
        if !holds {
            self.found
                .push((format!("{}.{field}", self.path), message.to_string()));
        }
    }

    /// Notes a duration outside its bounds.
    pub fn duration(
        &mut self,
        field: &str,
        value: HumanDuration,
        bounds: RangeInclusive<HumanDuration>,
    ) {
        self.within(field, &value, &bounds);
    }

    /// Notes a size outside its bounds.
    pub fn size(&mut self, field: &str, value: ByteSize, bounds: RangeInclusive<ByteSize>) {
        self.within(field, &value, &bounds);
    }

    /// Notes a number outside its bounds. Limits are never zero: the types see to that.
    pub fn number(
        &mut self,
        field: &str,
        value: impl Into<NonZeroU64>,
        bounds: RangeInclusive<u64>,
    ) {
        self.within(field, &value.into().get(), &bounds);
    }

    fn within<T>(&mut self, field: &str, value: &T, bounds: &RangeInclusive<T>)
    where
        T: PartialOrd + fmt::Display,
    {
        let message = format_args!(
            "{value} is not within {} to {}",
            bounds.start(),
            bounds.end()
        );
        self.require(bounds.contains(value), field, message);
    }

    /// Returns path and message of everything found.
    pub fn into_found(self) -> Vec<(String, String)> {
        self.found
    }
}
