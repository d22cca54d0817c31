//! Records of connections in memory.

use std::collections::BTreeSet;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, GatewayId, HubName};
use downlink_domain::presence::{ConnectionEnd, LeaseEpoch};
use downlink_ports::connection_rules::{Ledger, Recorded, deletion_event};
use downlink_ports::{ConnectionChange, ConnectionStore, StoreError};

use super::{MemoryStore, State};

#[async_trait]
impl ConnectionStore for MemoryStore {
    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        let mut ledger = state.ledger(changes.iter().map(|change| change.device));
        for change in &changes {
            ledger.take(change);
        }
        state.close(ledger);
        Ok(())
    }

    async fn presume_ended(
        &self,
        connections: Vec<(DeviceKey, LeaseEpoch)>,
        end: ConnectionEnd,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let mut ledger = state.ledger(connections.iter().map(|(device, _)| *device));
        let mut ended = 0;
        for (device, epoch) in connections {
            ended += u64::from(ledger.presume_ended(device, epoch, end, now));
        }
        state.close(ledger);
        Ok(ended)
    }

    async fn connected_gateways(&self) -> Result<Vec<GatewayId>, StoreError> {
        let state = self.state.lock();
        let connected = state
            .connections
            .values()
            .filter(|record| record.is_connected);
        let gateways: BTreeSet<_> = connected
            .filter_map(|record| record.gateway.clone())
            .collect();
        Ok(gateways.into_iter().collect())
    }

    async fn list_connected(
        &self,
        gateway: GatewayId,
        after: DeviceKey,
        limit: u32,
    ) -> Result<Vec<(DeviceKey, LeaseEpoch)>, StoreError> {
        let state = self.state.lock();
        let listed = state.connections.iter().filter(|(device, record)| {
            record.is_connected && record.gateway.as_ref() == Some(&gateway) && **device > after
        });
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let listed = listed.map(|(device, record)| (*device, record.number.epoch));
        Ok(listed.take(limit).collect())
    }

    async fn count_connected(&self, hub: HubName) -> Result<u64, StoreError> {
        let state = self.state.lock();
        let connected = state.identities.values().filter(|device| {
            device.hub == hub && device.name.module.is_none() && device.is_connected
        });
        Ok(connected.count() as u64)
    }

    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for (device, at) in seen {
            if let Some(device) = state.identities.get_mut(&device) {
                device.last_activity_at = device.last_activity_at.max(at);
            }
        }
        Ok(())
    }
}

impl State {
    /// What is recorded of an identity's connections.
    fn recorded(&self, device: DeviceKey) -> Option<Recorded> {
        let device = self.identities.get(&device)?;
        let record = self.connections.get(&device.key);
        Some(Recorded {
            device: device.key,
            hub: device.hub.clone(),
            name: device.name.clone(),
            record: record.cloned().unwrap_or_default(),
            state_updated_at: device.connection_state_updated_at,
            active_at: device.last_activity_at,
        })
    }

    /// Forgets the connections of an identity that is about to be deleted, and tells its disconnect.
    pub(super) fn end_connections(&mut self, device: DeviceKey, now: Timestamp) {
        let disconnect = self
            .recorded(device)
            .and_then(|recorded| deletion_event(recorded, now));
        self.connections.remove(&device);
        if let Some(disconnect) = disconnect {
            self.append(disconnect);
        }
    }

    fn ledger(&self, devices: impl Iterator<Item = DeviceKey>) -> Ledger {
        Ledger::new(devices.filter_map(|device| self.recorded(device)))
    }

    fn close(&mut self, ledger: Ledger) {
        let (changed, events) = ledger.finish();
        for row in changed {
            if let Some(device) = self.identities.get_mut(&row.device) {
                device.is_connected = row.record.is_connected;
                device.connection_state_updated_at = row.state_updated_at;
                device.last_activity_at = row.active_at;
                self.connections.insert(row.device, row.record);
            }
        }
        for event in events {
            self.append(event);
        }
    }
}
