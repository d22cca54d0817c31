//! Writes of identities: what is asked for, and what a store makes of it.
//!
//! Every store reads the identities that a batch of writes is about, has a [`RegistryPlan`] made
//! of them, and carries the plan out; so the rules of the registry are written once.

use std::collections::{BTreeSet, HashMap, HashSet};

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec, EDGE_MODULES, IfMatch, SymmetricKeys};
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, DeviceKey, HubName, IdentityName};
use downlink_domain::twin::Twin;

use self::planner::Planner;
use crate::device_registry::RegistryError;
use crate::events::{AuditRecord, IdentityWrite, Lifecycle, audit_event, lifecycle_event};

mod planner;

/// Which of two keys are exchanged (registry.md §1, row 22).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RotatedKeys {
    /// The first.
    Primary,
    /// The second.
    Secondary,
    /// Both.
    Both,
}

/// What becomes of one identity.
#[expect(
    clippy::large_enum_variant,
    reason = "most are creations, and a batch holds its writes for a moment"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryChange {
    /// It is created (as [`crate::registered`] makes it) with its first twin; an Edge device with its
    /// system modules.
    Create {
        /// What is said of it.
        spec: DeviceSpec,
        /// Its twin.
        twin: Twin,
    },
    /// It is replaced by `Device::rewritten`; a device that becomes an Edge device gets the system
    /// modules, one that is none any more loses them.
    Replace {
        /// What is said of it.
        spec: DeviceSpec,
        /// Which etag it must have; [`IfMatch::Absent`] never holds.
        if_match: IfMatch,
    },
    /// It is deleted with all that is its own, a device with its modules.
    Delete {
        /// Which etag it must have; [`IfMatch::Absent`] never holds.
        if_match: IfMatch,
    },
    /// It gets new symmetric keys and keeps all the rest.
    RotateKeys {
        /// Which are exchanged.
        keys: RotatedKeys,
        /// Where the new ones are taken from.
        fresh: SymmetricKeys,
    },
}

/// A write of one identity.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryWrite {
    /// Which.
    pub name: IdentityName,
    /// What becomes of it.
    pub change: RegistryChange,
}

/// Limits of a hub's registry (registry.md §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryRules {
    /// Most devices and modules together; `None` when the hub is known to be far below and need
    /// not be counted.
    pub max_identities: Option<u64>,
    /// Most modules of one device; system modules are not counted.
    pub max_modules: u32,
}

impl Default for RegistryRules {
    fn default() -> Self {
        Self {
            max_identities: None,
            max_modules: 50,
        }
    }
}

/// What a write made of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryWritten {
    /// The identity before; `None` when it was created.
    pub before: Option<Device>,
    /// The identity after; `None` when it was deleted.
    pub after: Option<Device>,
    /// Modules that ended with the write.
    pub ended: Vec<Device>,
}

impl RegistryWritten {
    /// The identity after the write, or as it was before its deletion.
    pub fn into_device(self) -> Option<Device> {
        self.after.or(self.before)
    }
}

/// What a store does for a batch of writes.
#[derive(Debug, Default)]
pub struct RegistryPlan {
    /// Identities to insert with their twins, devices before modules, in order of their names.
    pub inserted: Vec<(Device, Twin)>,
    /// Identities to overwrite.
    pub updated: Vec<Device>,
    /// Identities to remove with all that is their own.
    pub ended: Vec<Device>,
    /// Answers, by position.
    pub answers: Vec<Result<RegistryWritten, RegistryError>>,
}

/// The devices that writes are about, each once, in order: a store locks them in this order.
pub fn devices_of(writes: &[RegistryWrite]) -> Vec<DeviceId> {
    let devices: BTreeSet<_> = writes.iter().map(|write| &write.name.device).collect();
    devices.into_iter().cloned().collect()
}

/// The most keys of identities that writes can take.
pub fn most_keys(writes: &[RegistryWrite]) -> usize {
    let most = |write: &RegistryWrite| match &write.change {
        RegistryChange::Create { .. } => 1 + EDGE_MODULES.len(),
        RegistryChange::Replace { .. } => EDGE_MODULES.len(),
        RegistryChange::Delete { .. } | RegistryChange::RotateKeys { .. } => 0,
    };
    writes.iter().map(most).sum()
}

/// Tells whether writes may add identities.
pub fn has_creations(writes: &[RegistryWrite]) -> bool {
    most_keys(writes) > 0
}

impl RegistryPlan {
    /// Makes the plan of `writes` in their order. `current` are all identities of the devices they
    /// are about, modules too; `count` is how many the hub has, needed where the rules have a
    /// limit; `keys` gives keys that were never used, at most [`most_keys`].
    #[expect(
        clippy::too_many_arguments,
        reason = "whose, what there is, what is asked, by which rules and when: no two of a kind"
    )]
    pub fn of(
        hub: &HubName,
        current: Vec<Device>,
        count: u64,
        writes: Vec<RegistryWrite>,
        rules: RegistryRules,
        keys: impl Iterator<Item = DeviceKey>,
        now: Timestamp,
    ) -> Self {
        let mut planner = Planner {
            hub,
            known: current
                .into_iter()
                .map(|device| (device.name.clone(), device))
                .collect(),
            named: HashSet::new(),
            count,
            rules,
            keys,
            now,
            plan: Self::default(),
        };
        for write in writes {
            let answer = planner.write(write);
            planner.plan.answers.push(answer);
        }
        let mut plan = planner.plan;
        plan.inserted.sort_by(|(a, _), (b, _)| {
            let rank = |device: &Device| device.name.module.is_some();
            (rank(a), &a.name).cmp(&(rank(b), &b.name))
        });
        plan
    }

    /// Takes out the identities that were to be inserted and turned out to be there already:
    /// those whose keys are not among `inserted`.
    pub fn keep_inserted(&mut self, inserted: &HashSet<DeviceKey>) {
        self.inserted
            .retain(|(device, _)| inserted.contains(&device.key));
        for answer in &mut self.answers {
            let lost = match answer {
                Ok(written) if written.before.is_none() => written
                    .after
                    .as_ref()
                    .filter(|created| !inserted.contains(&created.key)),
                Ok(_) | Err(_) => None,
            };
            if let Some(lost) = lost {
                *answer = Err(RegistryError::AlreadyExists(lost.name.clone()));
            }
        }
    }

    /// The events of what was done: the lives that began and ended, with the last twins of those
    /// that ended, and the audit of each write.
    pub fn events(
        &self,
        last_twins: &HashMap<DeviceKey, Twin>,
        by: &Actor,
        now: Timestamp,
    ) -> Vec<Event> {
        let begun = self
            .inserted
            .iter()
            .map(|(device, twin)| lifecycle_event(Lifecycle::Created, device, twin, now));
        let ended = self.ended.iter().filter_map(|device| {
            let twin = last_twins.get(&device.key)?;
            Some(lifecycle_event(Lifecycle::Deleted, device, twin, now))
        });
        let audited = self.answers.iter().flatten().filter_map(|written| {
            let (write, device) = match (&written.before, &written.after) {
                (None, Some(after)) => (IdentityWrite::Created, after),
                (Some(_), Some(after)) => (IdentityWrite::Replaced, after),
                (Some(before), None) => (IdentityWrite::Deleted, before),
                (None, None) => return None,
            };
            let record = AuditRecord::of_identity(write, device, by, now);
            Some(audit_event(&record))
        });
        begun.chain(ended).chain(audited).collect()
    }
}
