//! What the writer remembers between transactions.
//!
//! It is the only one that writes, so what it remembers is what the file says; after a
//! transaction that failed it forgets everything but the numbers it gave away.

use std::collections::HashMap;

use downlink_domain::id::{DeviceId, DeviceKey, HubName};
use downlink_ports::StoreError;

use super::Scope;
use crate::error::store_error;
use crate::fields::stored;

/// Most devices remembered; above it all are forgotten and read again.
const MAX_DEVICES: usize = 32_768;
/// Numbers reserved ahead of their use, the largest gap that a restart leaves.
const RESERVE: u64 = 10_000;

/// Whom a device id means, and whether messages for it are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) key: DeviceKey,
    pub(crate) is_enabled: bool,
}

/// See the module's words.
#[derive(Debug)]
pub(crate) struct Memory {
    last_number: u64,
    /// Numbers up to here are reserved on disk.
    reserved: u64,
    targets: HashMap<(HubName, DeviceId), Target>,
    /// Messages stored for a device, expired ones that were not swept included.
    stored: HashMap<DeviceKey, u64>,
    /// Events in the outbox.
    pub(crate) events: Option<u64>,
}

impl Memory {
    pub(crate) fn new(last_number: u64) -> Self {
        Self {
            last_number,
            reserved: last_number,
            targets: HashMap::new(),
            stored: HashMap::new(),
            events: None,
        }
    }

    /// Forgets what a failed transaction may have made untrue. Numbers are never given twice.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.last_number);
    }

    /// Whom a device id means and how many messages are stored for it, if both are remembered.
    pub(crate) fn target(&self, name: &(HubName, DeviceId)) -> Option<(Target, u64)> {
        let target = self.targets.get(name)?;
        let stored = self.stored.get(&target.key)?;
        Some((*target, *stored))
    }

    /// Remembers both.
    pub(crate) fn learn(&mut self, name: (HubName, DeviceId), target: Target, stored: u64) {
        if self.targets.len() >= MAX_DEVICES {
            self.targets.clear();
            self.stored.clear();
        }
        self.targets.insert(name, target);
        self.stored.insert(target.key, stored);
    }

    /// Forgets a device whose identity or queue was written as a whole.
    pub(crate) fn forget_device(&mut self, name: &(HubName, DeviceId)) {
        if let Some(target) = self.targets.remove(name) {
            self.stored.remove(&target.key);
        }
    }

    /// Notes a message that was stored.
    pub(crate) fn on_stored(&mut self, key: DeviceKey) {
        if let Some(stored) = self.stored.get_mut(&key) {
            *stored += 1;
        }
    }

    /// Notes a message that is gone.
    pub(crate) fn on_removed(&mut self, key: DeviceKey) {
        if let Some(stored) = self.stored.get_mut(&key) {
            *stored = stored.saturating_sub(1);
        }
    }
}

impl Scope<'_> {
    /// Takes `count` numbers above all that were ever given away; returns the one before them.
    pub(crate) async fn take_numbers(&mut self, count: usize) -> Result<u64, StoreError> {
        let before = self.memory.last_number;
        let last = before + u64::try_from(count).unwrap_or(0);
        if last > self.memory.reserved {
            let reserved = last + RESERVE;
            sqlx::query("UPDATE counters SET reserved = ? WHERE name = 'sequence'")
                .bind(stored(reserved))
                .execute(&mut *self.connection)
                .await
                .map_err(store_error)?;
            self.memory.reserved = reserved;
        }
        self.memory.last_number = last;
        Ok(before)
    }
}
