//! How every store makes rows and events of reports of connections.

use std::collections::BTreeMap;

use downlink_domain::Timestamp;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::presence::{
    ChangeNumber, ConnectionEnd, ConnectionEvent, ConnectionRecord, ConnectionReport, LeaseEpoch,
};

use crate::ConnectionChange;
use crate::events::connection_event;

/// What a store holds of the connections of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Which identity.
    pub device: DeviceKey,
    /// The tenant.
    pub hub: HubName,
    /// Its name.
    pub name: IdentityName,
    /// The record.
    pub record: ConnectionRecord,
    /// When the state last changed.
    pub state_updated_at: Timestamp,
    /// When the identity was last active.
    pub active_at: Timestamp,
}

/// Rows that a store has locked, and what reports make of them.
#[derive(Debug)]
pub struct Ledger {
    rows: BTreeMap<DeviceKey, Row>,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Row {
    recorded: Recorded,
    is_changed: bool,
}

impl Ledger {
    /// Begins with what is recorded now.
    pub fn new(rows: impl IntoIterator<Item = Recorded>) -> Self {
        let row = |recorded: Recorded| {
            let key = recorded.device;
            let is_changed = false;
            (
                key,
                Row {
                    recorded,
                    is_changed,
                },
            )
        };
        Self {
            rows: rows.into_iter().map(row).collect(),
            events: Vec::new(),
        }
    }

    /// Takes a report; one of an identity that has no row is dropped.
    pub fn take(&mut self, change: &ConnectionChange) {
        let Some(row) = self.rows.get_mut(&change.device) else {
            return;
        };
        let mut told = Vec::new();
        let (epoch, recorded) = (change.epoch, &mut row.recorded);
        let is_taken = recorded
            .record
            .take(epoch, &change.gateway, change.report, &mut told);
        let is_active = change.active_at > recorded.active_at;
        if is_active {
            recorded.active_at = change.active_at;
        }
        row.is_changed |= is_taken || is_active;
        row.tell(&told, change.at, &mut self.events);
    }

    /// Ends the connection `epoch` of an identity if its record still has it; tells whether it did.
    pub fn presume_ended(
        &mut self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        end: ConnectionEnd,
        now: Timestamp,
    ) -> bool {
        let Some(row) = self.rows.get_mut(&device) else {
            return false;
        };
        let record = &mut row.recorded.record;
        let Some(gateway) = record.gateway.clone() else {
            return false;
        };
        let mut told = Vec::new();
        let report = ConnectionReport::Ended(end);
        row.is_changed |= record.take(epoch, &gateway, report, &mut told);
        row.tell(&told, now, &mut self.events);
        !told.is_empty()
    }

    /// Tells whether there is nothing to write.
    pub fn is_unchanged(&self) -> bool {
        !self.rows.values().any(|row| row.is_changed)
    }

    /// The rows to write, in the order of keys, and the events to store after them.
    pub fn finish(self) -> (Vec<Recorded>, Vec<Event>) {
        let changed = self.rows.into_values().filter(|row| row.is_changed);
        (changed.map(|row| row.recorded).collect(), self.events)
    }
}

impl Row {
    fn tell(&mut self, told: &[ConnectionEvent], at: Timestamp, events: &mut Vec<Event>) {
        let recorded = &mut self.recorded;
        if !told.is_empty() {
            recorded.state_updated_at = recorded.state_updated_at.max(at);
        }
        let identity = (recorded.device, &recorded.name);
        events.extend(
            told.iter()
                .map(|change| connection_event(&recorded.hub, identity, *change, at)),
        );
    }
}

/// The disconnect that a deletion of the identity tells, if its record has it connected.
pub fn deletion_event(recorded: Recorded, now: Timestamp) -> Option<Event> {
    let ChangeNumber { epoch, .. } = recorded.record.number;
    let device = recorded.device;
    let mut ledger = Ledger::new([recorded]);
    let deleted = downlink_domain::presence::DisconnectReason::Deleted;
    ledger.presume_ended(device, epoch, ConnectionEnd::Ordered(deleted), now);
    ledger.finish().1.pop()
}
