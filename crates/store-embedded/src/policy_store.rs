//! Hubs and their policies.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::policy::{Permissions, Policy};
use downlink_ports::{PolicyStore, StoreError};

use crate::error::store_error;
use crate::fields::Fields;
use crate::store::Store;
use crate::writer::{Scope, Work};

#[async_trait]
impl PolicyStore for Store {
    async fn hubs(&self) -> Result<Vec<HubName>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query("SELECT rowid AS number, hub FROM hubs ORDER BY rowid")
            .fetch_all(&mut *reader)
            .await
            .map_err(store_error)?;
        let hubs = rows
            .iter()
            .map(|row| Fields::new(row, "hubs", "number").text("hub"));
        hubs.collect()
    }

    async fn ensure_hub(
        &self,
        hub: HubName,
        policies: Vec<Policy>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.queue.call(EnsureHub { hub, policies, now }).await
    }

    async fn policies(&self, hub: HubName) -> Result<Vec<Policy>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query("SELECT * FROM policies WHERE hub = ? ORDER BY position")
            .bind(hub.as_str())
            .fetch_all(&mut *reader)
            .await
            .map_err(store_error)?;
        let policies = rows.iter().map(|row| {
            let row = Fields::new(row, "policies", "position");
            Ok(Policy {
                name: row.get("name")?,
                keys: [row.get("primary_key")?, row.get("secondary_key")?],
                permissions: Permissions::from_bits(row.number("permissions")?),
                scope: None,
                etag: 1,
            })
        });
        policies.collect()
    }
}

struct EnsureHub {
    hub: HubName,
    policies: Vec<Policy>,
    now: Timestamp,
}

#[async_trait]
impl Work for EnsureHub {
    type Answer = ();

    async fn run(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        let created = sqlx::query(
            "INSERT INTO hubs (hub, created_at) VALUES (?, ?) ON CONFLICT (hub) DO NOTHING",
        )
        .bind(self.hub.as_str())
        .bind(self.now.as_millis())
        .execute(&mut *scope.connection)
        .await
        .map_err(store_error)?;
        if created.rows_affected() == 0 {
            return Ok(());
        }
        for (position, policy) in (0_i64..).zip(self.policies) {
            let [primary, secondary] = policy.keys;
            sqlx::query(include_str!("../queries/insert_policy.sql"))
                .bind(self.hub.as_str())
                .bind(position)
                .bind(policy.name)
                .bind(primary)
                .bind(secondary)
                .bind(i64::from(policy.permissions.bits()))
                .execute(&mut *scope.connection)
                .await
                .map_err(store_error)?;
        }
        Ok(())
    }
}
