//! Twins in memory.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::{self, Twin, TwinChange, TwinError, TwinRules, TwinWritten};
use downlink_ports::events::twin_event;
use downlink_ports::{DesiredChanges, Since, StoreError, TwinStore};

use super::{MemoryStore, State};

#[async_trait]
impl TwinStore for MemoryStore {
    async fn find_twins(&self, devices: Vec<DeviceKey>) -> Result<Vec<Option<Twin>>, StoreError> {
        let state = self.state.lock();
        Ok(devices
            .iter()
            .map(|key| state.twins.get(key).cloned())
            .collect())
    }

    async fn find_changes(
        &self,
        wanted: Vec<(DeviceKey, Since)>,
    ) -> Result<Vec<Option<DesiredChanges>>, StoreError> {
        let state = self.state.lock();
        let found = wanted
            .into_iter()
            .map(|(key, since)| state.changes(key, since));
        Ok(found.collect())
    }

    async fn update_twins(
        &self,
        changes: Vec<(DeviceKey, TwinChange)>,
        rules: TwinRules,
        now: Timestamp,
    ) -> Result<Vec<Option<Result<TwinWritten, TwinError>>>, StoreError> {
        let mut state = self.state.lock();
        let written = changes
            .into_iter()
            .map(|(key, change)| state.update(key, change, rules, now));
        Ok(written.collect())
    }
}

impl State {
    fn changes(&self, key: DeviceKey, since: Since) -> Option<DesiredChanges> {
        let version = self.twins.get(&key)?.desired.version;
        let since = match since {
            Since::Version(version) => version,
            Since::LastTold => self.told.get(&key).copied().unwrap_or(version),
            Since::Now => version,
        };
        let all = self.changes.get(&key).into_iter().flatten();
        let kept = all.filter(|(version, _)| **version > since);
        Some(DesiredChanges {
            version,
            since,
            kept: kept
                .map(|(version, body)| (*version, body.clone()))
                .collect(),
        })
    }

    fn keep(&mut self, key: DeviceKey, written: &TwinWritten, rules: TwinRules) {
        let Some(notification) = &written.notification else {
            return;
        };
        let changes = self.changes.entry(key).or_default();
        if let Some(text) = notification.kept_text(rules) {
            changes.insert(notification.version, text.into());
        }
        let floor = notification
            .version
            .saturating_sub(rules.kept_changes.into());
        changes.retain(|version, _| *version > floor);
    }

    fn update(
        &mut self,
        key: DeviceKey,
        change: TwinChange,
        rules: TwinRules,
        now: Timestamp,
    ) -> Option<Result<TwinWritten, TwinError>> {
        let op_type = change.op_type();
        let written = match twin::apply(self.twins.get(&key)?, change, rules, now) {
            Ok(written) => written,
            Err(error) => return Some(Err(error)),
        };
        self.twins.insert(key, written.twin.clone());
        self.keep(key, &written, rules);
        if let Some(body) = written.event.clone() {
            let device = &self.identities[&key];
            let event = twin_event(device, &written.twin, op_type, body, now);
            self.append(event);
        }
        Some(Ok(written))
    }
}
