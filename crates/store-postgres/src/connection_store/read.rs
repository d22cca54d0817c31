//! Who is connected, and when it was last active.

use async_trait::async_trait;
use downlink_domain::id::{DeviceKey, GatewayId, HubName};
use downlink_domain::presence::LeaseEpoch;
use downlink_ports::StoreError;

use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

pub(super) struct Gateways;

#[async_trait]
impl Work for Gateways {
    type Answer = Vec<GatewayId>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let rows = sqlx::query(include_str!("../../queries/connected_gateways.sql"))
            .fetch_all(&mut *connection)
            .await?;
        let gateways = rows.iter().map(|row| {
            Fields::new(row, "identities", "connected_gateway").text("connected_gateway")
        });
        let gateways: Result<_, StoreError> = gateways.collect();
        Ok(gateways?)
    }
}

pub(super) struct List {
    pub(super) gateway: GatewayId,
    pub(super) after: DeviceKey,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for List {
    type Answer = Vec<(DeviceKey, LeaseEpoch)>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let rows = sqlx::query(include_str!("../../queries/list_connected.sql"))
            .bind(self.gateway.as_str())
            .bind(self.after.0)
            .bind(i64::from(self.limit))
            .fetch_all(&mut *connection)
            .await?;
        let listed = rows.iter().map(|row| {
            let row = Fields::new(row, "identities", "device_key");
            let key = DeviceKey(row.get("device_key")?);
            Ok((key, LeaseEpoch(row.number("connection_epoch")?)))
        });
        let listed: Result<_, StoreError> = listed.collect();
        Ok(listed?)
    }
}

pub(super) struct Count {
    pub(super) gateways: Vec<GatewayId>,
    pub(super) hub: HubName,
}

#[async_trait]
impl Work for Count {
    type Answer = u64;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<u64, Failure> {
        let gateways: Vec<&str> = self.gateways.iter().map(GatewayId::as_str).collect();
        let count: i64 = sqlx::query_scalar(include_str!("../../queries/count_connected.sql"))
            .bind(gateways)
            .bind(self.hub.as_str())
            .fetch_one(&mut *connection)
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

pub(super) struct Activity {
    /// Keys of identities, each once, in order.
    pub(super) keys: Vec<i64>,
    pub(super) instants: Vec<i64>,
}

#[async_trait]
impl Work for Activity {
    type Answer = ();
    const EXTENT: Extent = Extent::Statement;
    // Times only move forward.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<(), Failure> {
        sqlx::query(include_str!("../../queries/record_activity.sql"))
            .bind(&self.keys)
            .bind(&self.instants)
            .execute(&mut *connection)
            .await?;
        Ok(())
    }
}
