//! Changes of desired properties that a device was not there for.

use bytes::Bytes;
use downlink_domain::twin::Section;
use serde_json::Value;

/// From where on a device wants to know the changes of its desired properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// From the version that it has.
    Version(u64),
    /// From the version it was told last, as its MQTT session remembers; from now on where it
    /// remembers none.
    LastTold,
    /// From now on.
    Now,
}

/// What is kept of the changes after a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredChanges {
    /// Version of desired now.
    pub version: u64,
    /// The version that was asked for, or that [`Since`] stands for.
    pub since: u64,
    /// Versions above `since` with the text that the device was to be told, in order; those that
    /// were not kept are missing.
    pub kept: Vec<(u64, Bytes)>,
}

impl DesiredChanges {
    /// Whether what is kept leads from `since` to `version` without a gap.
    pub fn is_whole(&self) -> bool {
        let follows = |(at, (version, _)): (usize, &(u64, Bytes))| {
            *version == self.since.saturating_add(at as u64 + 1)
        };
        self.since.saturating_add(self.kept.len() as u64) == self.version
            && self.kept.iter().enumerate().all(follows)
    }
}

/// What a device that was away is to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissedChanges {
    /// Version of desired after all of them; everything up to it is told then.
    pub version: u64,
    /// Versions and texts of JSON objects with `$version`, in order: every change, or where too
    /// few were kept the whole section as one.
    pub changes: Vec<(u64, Bytes)>,
}

impl MissedChanges {
    /// All changes of `found`, if none is missing.
    pub fn every(found: DesiredChanges) -> Option<Self> {
        found.is_whole().then_some(Self {
            version: found.version,
            changes: found.kept,
        })
    }

    /// The whole section as one change for a device that has `since`; nothing where that is its
    /// version.
    pub fn whole(desired: &Section, since: u64) -> Self {
        let text = || Value::Object(desired.device_view()).to_string();
        let is_missed = since != desired.version;
        let change = is_missed.then(|| (desired.version, text().into()));
        Self {
            version: desired.version,
            changes: change.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(since: u64, version: u64, kept: &[u64]) -> DesiredChanges {
        DesiredChanges {
            version,
            since,
            kept: kept.iter().map(|at| (*at, Bytes::new())).collect(),
        }
    }

    #[test]
    fn changes_are_whole_when_each_version_is_there() {
        for (since, version, kept) in [(1, 1, &[][..]), (1, 2, &[2]), (3, 6, &[4, 5, 6])] {
            assert!(
                changes(since, version, kept).is_whole(),
                "{since} {version}"
            );
        }
        for (since, version, kept) in [
            (1, 2, &[][..]),
            (1, 3, &[3]),
            (1, 4, &[2, 4, 5]),
            (7, 3, &[]),
            (u64::MAX, 3, &[]),
            (0, 3, &[3, 1, 2]),
        ] {
            assert!(
                !changes(since, version, kept).is_whole(),
                "{since} {version}"
            );
        }
    }
}
