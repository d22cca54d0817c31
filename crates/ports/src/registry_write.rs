//! Writes of identities: what is asked for, and what a store makes of it.
//!
//! Every store reads the identities that a batch of writes is about, has a [`RegistryPlan`] made
//! of them, and carries the plan out; so the rules of the registry are written once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{
    Authentication, Device, DeviceSpec, DeviceStatus, EDGE_MODULES, EDGE_OWNER, IfMatch,
    SymmetricKeys, edge_scope,
};
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, DeviceKey, HubName, IdentityName};
use downlink_domain::twin::Twin;

use crate::device_registry::{RegistryError, registered};
use crate::events::{AuditRecord, IdentityWrite, Lifecycle, audit_event, lifecycle_event};

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
#[derive(Clone, Debug, PartialEq)]
pub enum RegistryChange {
    /// It is created (as [`registered`] makes it) with its first twin; an Edge device with its
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

/// A plan in the making.
struct Planner<'a, K> {
    hub: &'a HubName,
    /// The identities as the writes so far leave them.
    known: BTreeMap<IdentityName, Device>,
    named: HashSet<IdentityName>,
    count: u64,
    rules: RegistryRules,
    keys: K,
    now: Timestamp,
    plan: RegistryPlan,
}

impl<K: Iterator<Item = DeviceKey>> Planner<'_, K> {
    fn write(&mut self, write: RegistryWrite) -> Result<RegistryWritten, RegistryError> {
        let name = write.name;
        if name
            .module
            .as_ref()
            .is_some_and(|m| m.as_str().starts_with('$'))
        {
            return Err(RegistryError::SystemModule(name));
        }
        if !self.named.insert(name.clone()) || self.has_ended(&name) {
            return Err(RegistryError::NamedTwice(name));
        }
        match write.change {
            RegistryChange::Create { spec, twin } => self.create(name, spec, twin),
            RegistryChange::Replace { spec, if_match } => self.replace(&name, spec, &if_match),
            RegistryChange::Delete { if_match } => self.delete(&name, &if_match),
            RegistryChange::RotateKeys { keys, fresh } => self.rotate(&name, keys, fresh),
        }
    }

    /// Tells whether the identity, or the device that it is a module of, ended in this batch.
    fn has_ended(&self, name: &IdentityName) -> bool {
        let ended = |ended: &Device| {
            ended.name == *name || (ended.name.device == name.device && ended.name.module.is_none())
        };
        self.plan.ended.iter().any(ended)
    }

    fn create(
        &mut self,
        name: IdentityName,
        spec: DeviceSpec,
        twin: Twin,
    ) -> Result<RegistryWritten, RegistryError> {
        let spec = fitted(&name, spec)?;
        if self.known.contains_key(&name) {
            return Err(RegistryError::AlreadyExists(name));
        }
        if name.module.is_some() {
            let device = IdentityName::from(name.device.clone());
            if !self.known.contains_key(&device) {
                return Err(RegistryError::NotFound(device));
            }
            if self.count_modules(&name.device) >= self.rules.max_modules as usize {
                return Err(RegistryError::TooManyModules(name.device));
            }
        } else if spec.is_edge && spec.device_scope.is_some() {
            return Err(RegistryError::Scope(name));
        }
        self.check_room(1 + system_modules(&name, &spec))?;
        let is_edge = spec.is_edge && name.module.is_none();
        let created = self.insert(name, spec, twin)?;
        if is_edge {
            self.add_system_modules(&created.name.device)?;
        }
        Ok(RegistryWritten {
            before: None,
            after: Some(created),
            ended: Vec::new(),
        })
    }

    fn replace(
        &mut self,
        name: &IdentityName,
        spec: DeviceSpec,
        if_match: &IfMatch,
    ) -> Result<RegistryWritten, RegistryError> {
        let spec = fitted(name, spec)?;
        let before = self.find(name, if_match)?;
        if spec.is_edge {
            let own = edge_scope(name, before.generation);
            let is_old = |scope: &String| {
                *scope == own || (!before.is_edge && before.device_scope.as_ref() == Some(scope))
            };
            if !spec.device_scope.iter().all(is_old) || spec.parent_scopes.contains(&own) {
                return Err(RegistryError::Scope(name.clone()));
            }
        }
        let is_edge = spec.is_edge && name.module.is_none();
        if is_edge && !before.is_edge {
            self.check_room(EDGE_MODULES.len() as u64)?;
        }
        let mut ended = Vec::new();
        if is_edge {
            self.add_system_modules(&name.device)?;
        } else if before.is_edge {
            ended = self.end(|other| is_system_module_of(&other.name, &name.device));
        }
        let after = before.rewritten(spec, self.now);
        self.overwrite(after.clone());
        Ok(RegistryWritten {
            before: Some(before),
            after: Some(after),
            ended,
        })
    }

    fn delete(
        &mut self,
        name: &IdentityName,
        if_match: &IfMatch,
    ) -> Result<RegistryWritten, RegistryError> {
        let before = self.find(name, if_match)?;
        let is_device = name.module.is_none();
        if is_device
            && self
                .named
                .iter()
                .any(|n| n.device == name.device && n != name)
        {
            return Err(RegistryError::NamedTwice(name.clone()));
        }
        let mut ended = self
            .end(|other| other.name == *name || (is_device && other.name.device == name.device));
        ended.retain(|ended| ended.key != before.key);
        Ok(RegistryWritten {
            before: Some(before),
            after: None,
            ended,
        })
    }

    fn rotate(
        &mut self,
        name: &IdentityName,
        which: RotatedKeys,
        fresh: SymmetricKeys,
    ) -> Result<RegistryWritten, RegistryError> {
        let before = self.find(name, &IfMatch::Any)?;
        let Authentication::Sas(old) = before.authentication.clone() else {
            return Err(RegistryError::NoKeys(name.clone()));
        };
        let keys = match which {
            RotatedKeys::Primary => SymmetricKeys {
                primary: fresh.primary,
                ..old
            },
            RotatedKeys::Secondary => SymmetricKeys {
                secondary: fresh.secondary,
                ..old
            },
            RotatedKeys::Both => fresh,
        };
        let after = Device {
            authentication: Authentication::Sas(keys),
            etag: before.etag + 1,
            ..before.clone()
        };
        self.overwrite(after.clone());
        Ok(RegistryWritten {
            before: Some(before),
            after: Some(after),
            ended: Vec::new(),
        })
    }

    fn find(&self, name: &IdentityName, if_match: &IfMatch) -> Result<Device, RegistryError> {
        match self.known.get(name) {
            None => Err(RegistryError::NotFound(name.clone())),
            Some(found) if if_match.names(&found.etag_text()) => Ok(found.clone()),
            Some(_) => Err(RegistryError::PreconditionFailed(name.clone())),
        }
    }

    fn check_room(&self, more: u64) -> Result<(), RegistryError> {
        match self.rules.max_identities {
            Some(max) if self.count.saturating_add(more) > max => {
                Err(RegistryError::QuotaExceeded(max))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn count_modules(&self, device: &DeviceId) -> usize {
        let modules = self.known.keys().filter(|name| {
            name.device == *device && name.module.is_some() && !is_system_module_of(name, device)
        });
        modules.count()
    }

    /// Adds those of the system modules that the device has not.
    fn add_system_modules(&mut self, device: &DeviceId) -> Result<(), RegistryError> {
        for module in EDGE_MODULES {
            let name = IdentityName {
                device: device.clone(),
                module: module.parse().ok(),
            };
            if !self.known.contains_key(&name) {
                let spec = DeviceSpec {
                    managed_by: Some(EDGE_OWNER.to_owned()),
                    ..DeviceSpec::of(Authentication::None)
                };
                self.insert(name, spec, Twin::new(self.now))?;
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        name: IdentityName,
        spec: DeviceSpec,
        twin: Twin,
    ) -> Result<Device, RegistryError> {
        // There are as many keys as `most_keys` said, so one is left.
        let Some(key) = self.keys.next() else {
            return Err(RegistryError::QuotaExceeded(self.count));
        };
        let device = registered(key, self.hub.clone(), name, spec, self.now);
        self.known.insert(device.name.clone(), device.clone());
        self.plan.inserted.push((device.clone(), twin));
        self.count += 1;
        Ok(device)
    }

    fn overwrite(&mut self, after: Device) {
        self.known.insert(after.name.clone(), after.clone());
        self.plan.updated.push(after);
    }

    /// Ends the identities that `is_meant` names.
    fn end(&mut self, is_meant: impl Fn(&Device) -> bool) -> Vec<Device> {
        let ended: Vec<_> = self
            .known
            .extract_if(.., |_, device| is_meant(device))
            .map(|(_, device)| device)
            .collect();
        self.count = self.count.saturating_sub(ended.len() as u64);
        self.plan.ended.extend(ended.iter().cloned());
        ended
    }
}

/// What is said of the identity, within its rules; a module has no status of its own and no modules.
fn fitted(name: &IdentityName, spec: DeviceSpec) -> Result<DeviceSpec, RegistryError> {
    spec.check()
        .map_err(|error| RegistryError::of_spec(name, error))?;
    if name.module.is_none() {
        return Ok(spec);
    }
    Ok(DeviceSpec {
        status: DeviceStatus::Enabled,
        status_reason: None,
        is_edge: false,
        ..spec
    })
}

fn system_modules(name: &IdentityName, spec: &DeviceSpec) -> u64 {
    if spec.is_edge && name.module.is_none() {
        EDGE_MODULES.len() as u64
    } else {
        0
    }
}

fn is_system_module_of(name: &IdentityName, device: &DeviceId) -> bool {
    let module = name.module.as_ref().map(|module| module.as_str());
    name.device == *device && module.is_some_and(|module| EDGE_MODULES.contains(&module))
}
