//! Records of connections.

use std::collections::BTreeSet;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, GatewayId, HubName, IdentityName};
use downlink_domain::presence::{ChangeNumber, ConnectionEnd, ConnectionRecord, LeaseEpoch};
use downlink_ports::connection_rules::{Ledger, Recorded};
use downlink_ports::{ConnectionChange, ConnectionStore, StoreError};
use sqlx::SqliteConnection;

use self::write::{Activity, Presume, Record};
use crate::error::store_error;
use crate::fields::Fields;
use crate::statements::FIND_CONNECTIONS;
use crate::store::Store;

mod write;

#[async_trait]
impl ConnectionStore for Store {
    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.queue.call(Record { changes }).await
    }

    async fn presume_ended(
        &self,
        connections: Vec<(DeviceKey, LeaseEpoch)>,
        end: ConnectionEnd,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let work = Presume {
            connections,
            end,
            now,
        };
        self.queue.call(work).await
    }

    async fn connected_gateways(&self) -> Result<Vec<GatewayId>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(include_str!("../queries/connected_gateways.sql"))
            .fetch_all(&mut *reader)
            .await
            .map_err(store_error)?;
        let gateway = |row| Fields::new(row, "identities", "connected_gateway");
        rows.iter()
            .map(|row| gateway(row).text("connected_gateway"))
            .collect()
    }

    async fn list_connected(
        &self,
        gateway: GatewayId,
        after: DeviceKey,
        limit: u32,
    ) -> Result<Vec<(DeviceKey, LeaseEpoch)>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(include_str!("../queries/list_connected.sql"))
            .bind(gateway.as_str())
            .bind(after.0)
            .bind(i64::from(limit))
            .fetch_all(&mut *reader)
            .await
            .map_err(store_error)?;
        let listed = rows.iter().map(|row| {
            let row = Fields::new(row, "identities", "device_key");
            let key = DeviceKey(row.get("device_key")?);
            Ok((key, LeaseEpoch(row.number("connection_epoch")?)))
        });
        listed.collect()
    }

    async fn count_connected(&self, hub: HubName) -> Result<u64, StoreError> {
        let mut reader = self.reader().await?;
        let count: i64 = sqlx::query_scalar(include_str!("../queries/count_connected.sql"))
            .bind(hub.as_str())
            .fetch_one(&mut *reader)
            .await
            .map_err(store_error)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        self.queue.call(Activity { seen }).await
    }
}

/// The records of identities, each once.
pub(crate) async fn load(
    connection: &mut SqliteConnection,
    keys: BTreeSet<DeviceKey>,
) -> Result<Vec<Recorded>, StoreError> {
    let keys = keys.into_iter().collect();
    let rows = FIND_CONNECTIONS
        .fetch(connection, None, keys, |query, key: DeviceKey| {
            query.bind(key.0)
        })
        .await
        .map_err(store_error)?;
    rows.iter()
        .map(|row| recorded(&Fields::new(row, "identities", "device_key")))
        .collect()
}

async fn open(
    connection: &mut SqliteConnection,
    keys: impl Iterator<Item = DeviceKey>,
) -> Result<Ledger, StoreError> {
    Ok(Ledger::new(load(connection, keys.collect()).await?))
}

fn recorded(row: &Fields<'_>) -> Result<Recorded, StoreError> {
    let module = row.parse("module_id", |text: &str| match text {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    })?;
    let gateway = row.parse("connected_gateway", |text: Option<&str>| match text {
        None => Some(None),
        Some(text) => text.parse().ok().map(Some),
    })?;
    Ok(Recorded {
        device: DeviceKey(row.get("device_key")?),
        hub: row.text("hub")?,
        name: IdentityName {
            device: row.text("device_id")?,
            module,
        },
        record: ConnectionRecord {
            number: ChangeNumber {
                epoch: LeaseEpoch(row.number("connection_epoch")?),
                turn: row.number("connection_turn")?,
            },
            is_connected: row.get("is_connected")?,
            gateway,
        },
        state_updated_at: row.instant("connection_state_updated_at")?,
        active_at: row.instant("last_activity_at")?,
    })
}
