//! Hubs.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use downlink_ports::{PolicyStore, StoreError};

use crate::access_store::insert_policy;
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
        for policy in &self.policies {
            insert_policy(scope.connection, &self.hub, policy).await?;
        }
        Ok(())
    }
}
