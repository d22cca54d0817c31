//! What administrators have stated, and how they change it.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{DeviceOperation, HubOperation, Limit};
use crate::ErrorCode;
use crate::id::DeviceId;

/// Most devices of a hub that have limits of their own: every gateway holds all of them.
pub const MAX_LIMITED_DEVICES: usize = 1_000;

/// What a limit is on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKey {
    /// The hub as a whole.
    Hub(HubOperation),
    /// Every device that has none of its own.
    EachDevice(DeviceOperation),
    /// One device, and each of its modules.
    Device(DeviceId, DeviceOperation),
}

/// What administrators have stated of a hub's limits; what is not here is as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    entries: BTreeMap<LimitKey, Limit>,
}

/// What is forgotten before a change says what holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaces {
    /// Nothing.
    Nothing,
    /// Everything but what single devices have.
    General,
    /// What this device has.
    Device(DeviceId),
}

/// A change of a hub's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsChange {
    /// What goes first.
    pub replaces: Replaces,
    /// What is stated from now on; `None` goes back to what is configured. The later of two of one key counts.
    pub entries: Vec<(LimitKey, Option<Limit>)>,
}

/// Why limits were not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LimitsError {
    /// The etag is not the current one.
    #[error("etag mismatch for the limits")]
    PreconditionFailed,
    /// More devices would have limits of their own than may.
    #[error("{MAX_LIMITED_DEVICES} devices have limits of their own, which is the most")]
    TooManyDevices,
    /// There is no such hub.
    #[error("the hub does not exist")]
    NoHub,
}

impl LimitsError {
    /// The code of the catalogue.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::PreconditionFailed => ErrorCode::PreconditionFailed,
            Self::TooManyDevices => ErrorCode::IotHubQuotaExceeded,
            Self::NoHub => ErrorCode::GenericNotFound,
        }
    }
}

/// Limits as they stand in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsSnapshot {
    /// Rises with every change; 0 before the first. It is the etag too.
    pub version: u64,
    /// What was stated.
    pub overrides: LimitOverrides,
}

impl LimitOverrides {
    /// Takes entries; the later of two of one key counts.
    ///
    /// # Errors
    /// [`LimitsError::TooManyDevices`].
    pub fn of(entries: impl IntoIterator<Item = (LimitKey, Limit)>) -> Result<Self, LimitsError> {
        let entries = entries.into_iter().collect();
        let overrides = Self { entries };
        if overrides.device_count() > MAX_LIMITED_DEVICES {
            return Err(LimitsError::TooManyDevices);
        }
        Ok(overrides)
    }

    /// Everything that is stated, in order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&LimitKey, Limit)> {
        self.entries.iter().map(|(key, limit)| (key, *limit))
    }

    /// Tells whether nothing is stated.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is stated of one device.
    pub fn of_device(
        &self,
        device: &DeviceId,
    ) -> impl Iterator<Item = (DeviceOperation, Limit)> + use<'_> {
        let first = DeviceOperation::ALL[0];
        let last = DeviceOperation::ALL[DeviceOperation::COUNT - 1];
        let keys = LimitKey::Device(device.clone(), first)..=LimitKey::Device(device.clone(), last);
        let stated = self.entries.range(keys);
        stated.filter_map(|(key, limit)| match key {
            LimitKey::Device(_, operation) => Some((*operation, *limit)),
            LimitKey::Hub(_) | LimitKey::EachDevice(_) => None,
        })
    }

    /// What stands after a change.
    ///
    /// # Errors
    /// [`LimitsError::TooManyDevices`].
    pub fn changed_by(&self, change: LimitsChange) -> Result<Self, LimitsError> {
        let mut entries = self.entries.clone();
        match &change.replaces {
            Replaces::Nothing => {}
            Replaces::General => entries.retain(|key, _| matches!(key, LimitKey::Device(..))),
            Replaces::Device(replaced) => entries
                .retain(|key, _| !matches!(key, LimitKey::Device(device, _) if device == replaced)),
        }
        for (key, limit) in change.entries {
            match limit {
                Some(limit) => entries.insert(key, limit),
                None => entries.remove(&key),
            };
        }
        Self::of(entries)
    }

    fn device_count(&self) -> usize {
        let mut count = 0;
        let mut last = None;
        for key in self.entries.keys() {
            if let LimitKey::Device(device, _) = key
                && last != Some(device)
            {
                count += 1;
                last = Some(device);
            }
        }
        count
    }
}
