//! Records of connections.

use std::collections::BTreeMap;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, GatewayId, HubName, IdentityName};
use downlink_domain::presence::{ChangeNumber, ConnectionEnd, ConnectionRecord, LeaseEpoch};
use downlink_ports::connection_rules::{Ledger, Recorded};
use downlink_ports::{ConnectionChange, ConnectionStore, StoreError};
use sqlx::postgres::PgRow;

use self::read::{Activity, Count, Gateways, List};
use self::write::{Presume, Record};
use crate::error::Failure;
use crate::fields::Fields;
use crate::session::Session;
use crate::store::PostgresStore;

mod read;
mod write;

#[async_trait]
impl ConnectionStore for PostgresStore {
    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.run(&Record { changes }).await
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
        self.run(&work).await
    }

    async fn connected_gateways(&self) -> Result<Vec<GatewayId>, StoreError> {
        self.run(&Gateways).await
    }

    async fn list_connected(
        &self,
        gateway: GatewayId,
        after: DeviceKey,
        limit: u32,
    ) -> Result<Vec<(DeviceKey, LeaseEpoch)>, StoreError> {
        let work = List {
            gateway,
            after,
            limit,
        };
        self.run(&work).await
    }

    async fn count_connected(&self, hub: HubName) -> Result<u64, StoreError> {
        let gateways = self.run(&Gateways).await?;
        if gateways.is_empty() {
            return Ok(0);
        }
        self.run(&Count { gateways, hub }).await
    }

    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        let mut latest = BTreeMap::new();
        for (device, at) in seen {
            let known = latest.entry(device.0).or_insert(i64::MIN);
            *known = at.as_millis().max(*known);
        }
        let (keys, instants) = latest.into_iter().unzip();
        self.run(&Activity { keys, instants }).await
    }
}

/// The records of identities, as the statement reads or locks them.
async fn load(
    connection: &mut Session<'_>,
    sql: &'static str,
    keys: &[i64],
) -> Result<Ledger, Failure> {
    let rows = sqlx::query(sql)
        .bind(keys)
        .fetch_all(&mut *connection)
        .await?;
    let rows: Result<Vec<_>, StoreError> = rows.iter().map(recorded).collect();
    Ok(Ledger::new(rows?))
}

/// Reads the columns of a record.
pub(crate) fn recorded(row: &PgRow) -> Result<Recorded, StoreError> {
    let row = Fields::new(row, "identities", "device_key");
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
