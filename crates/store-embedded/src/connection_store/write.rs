//! Records of connections written, with their events.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::presence::{ConnectionEnd, LeaseEpoch};
use downlink_ports::connection_rules::Ledger;
use downlink_ports::{ConnectionChange, StoreError};

use super::open;
use crate::error::store_error;
use crate::fields::stored;
use crate::outbox;
use crate::statements::{RECORD_ACTIVITY, UPDATE_CONNECTIONS};
use crate::writer::{Scope, Work};

/// Bytes that a report holds while it waits, roughly.
const CHANGE_BYTES: usize = 256;
/// Bytes of a key and what is said of it.
const ITEM_BYTES: usize = 16;

pub(super) struct Record {
    pub(super) changes: Vec<ConnectionChange>,
}

#[async_trait]
impl Work for Record {
    type Answer = ();

    fn bytes(&self) -> usize {
        self.changes.len() * CHANGE_BYTES
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        let keys = self.changes.iter().map(|change| change.device);
        let mut ledger = open(scope.connection, keys).await?;
        for change in &self.changes {
            ledger.take(change);
        }
        write(scope, ledger).await
    }
}

pub(super) struct Presume {
    pub(super) connections: Vec<(DeviceKey, LeaseEpoch)>,
    pub(super) end: ConnectionEnd,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Presume {
    type Answer = u64;

    fn bytes(&self) -> usize {
        self.connections.len() * ITEM_BYTES
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<u64, StoreError> {
        let keys = self.connections.iter().map(|(device, _)| *device);
        let mut ledger = open(scope.connection, keys).await?;
        let mut ended = 0;
        for (device, epoch) in self.connections {
            ended += u64::from(ledger.presume_ended(device, epoch, self.end, self.now));
        }
        write(scope, ledger).await?;
        Ok(ended)
    }
}

pub(super) struct Activity {
    pub(super) seen: Vec<(DeviceKey, Timestamp)>,
}

#[async_trait]
impl Work for Activity {
    type Answer = ();

    fn bytes(&self) -> usize {
        self.seen.len() * ITEM_BYTES
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        RECORD_ACTIVITY
            .execute(scope.connection, self.seen, |query, (device, at)| {
                query.bind(device.0).bind(at.as_millis())
            })
            .await
            .map_err(store_error)?;
        Ok(())
    }
}

async fn write(scope: &mut Scope<'_>, ledger: Ledger) -> Result<(), StoreError> {
    let (changed, events) = ledger.finish();
    UPDATE_CONNECTIONS
        .execute(scope.connection, changed, |query, row| {
            query
                .bind(row.device.0)
                .bind(stored(row.record.number.epoch.0))
                .bind(i64::from(row.record.number.turn))
                .bind(row.record.is_connected)
                .bind(row.record.gateway.map(|id| id.to_string()))
                .bind(row.state_updated_at.as_millis())
                .bind(row.active_at.as_millis())
        })
        .await
        .map_err(store_error)?;
    outbox::insert(scope, events).await
}
