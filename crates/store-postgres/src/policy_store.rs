//! Hubs.

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use downlink_ports::{PolicyStore, StoreError};

use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

#[async_trait]
impl PolicyStore for PostgresStore {
    async fn hubs(&self) -> Result<Vec<HubName>, StoreError> {
        self.run(&Hubs).await
    }

    async fn ensure_hub(
        &self,
        hub: HubName,
        policies: Vec<Policy>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.run(&EnsureHub { hub, policies, now }).await
    }
}

struct Hubs;

#[async_trait]
impl Work for Hubs {
    type Answer = Vec<HubName>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let rows = sqlx::query("SELECT number, hub FROM hubs ORDER BY created_at, number")
            .fetch_all(connection)
            .await?;
        let hubs = rows
            .iter()
            .map(|row| Fields::new(row, "hubs", "number").text("hub"));
        let hubs = hubs.collect::<Result<_, _>>();
        Ok(hubs?)
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
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<(), Failure> {
        let policies = self.policies.iter();
        let names: Vec<&str> = policies.clone().map(|policy| &policy.name[..]).collect();
        let primary: Vec<&[u8]> = policies.clone().map(|policy| &policy.keys[0][..]).collect();
        let secondary: Vec<&[u8]> = policies.clone().map(|policy| &policy.keys[1][..]).collect();
        let permissions: Vec<i32> = policies
            .clone()
            .map(|policy| i32::from(policy.permissions.bits()))
            .collect();
        let scopes: Vec<Option<String>> = policies
            .map(|policy| Some(policy.scope.as_ref()?.to_json().to_string()))
            .collect();
        sqlx::query(include_str!("../queries/ensure_hub.sql"))
            .bind(self.hub.as_str())
            .bind(self.now.as_millis())
            .bind(names)
            .bind(primary)
            .bind(secondary)
            .bind(permissions)
            .bind(scopes)
            .execute(connection)
            .await?;
        Ok(())
    }
}
