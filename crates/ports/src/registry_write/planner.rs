//! How a plan is made: each write on what the writes before it leave.

use std::collections::{BTreeMap, HashSet};

use downlink_domain::Timestamp;
use downlink_domain::device::{
    Authentication, Device, DeviceSpec, DeviceStatus, EDGE_MODULES, EDGE_OWNER, IfMatch,
    SymmetricKeys, edge_scope,
};
use downlink_domain::id::{DeviceId, DeviceKey, HubName, IdentityName, ModuleId};
use downlink_domain::twin::Twin;

use super::{
    RegistryChange, RegistryPlan, RegistryRules, RegistryWrite, RegistryWritten, RotatedKeys,
};
use crate::device_registry::{RegistryError, registered};

/// A plan in the making.
pub(super) struct Planner<'a, K> {
    pub(super) hub: &'a HubName,
    /// The identities as the writes so far leave them.
    pub(super) known: BTreeMap<IdentityName, Device>,
    pub(super) named: HashSet<IdentityName>,
    pub(super) count: u64,
    pub(super) rules: RegistryRules,
    pub(super) keys: K,
    pub(super) now: Timestamp,
    pub(super) plan: RegistryPlan,
}

impl<K: Iterator<Item = DeviceKey>> Planner<'_, K> {
    pub(super) fn write(&mut self, write: RegistryWrite) -> Result<RegistryWritten, RegistryError> {
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
    let module = name.module.as_ref().map(ModuleId::as_str);
    name.device == *device && module.is_some_and(|module| EDGE_MODULES.contains(&module))
}
