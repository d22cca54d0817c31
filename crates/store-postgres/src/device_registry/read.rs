//! Identities found, listed, counted.

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::device::Device;
use downlink_domain::id::{DeviceId, HubName, IdentityName};
use downlink_ports::RegistryCounts;

use super::{device, module_text};
use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};

pub(super) struct Find {
    pub(super) hub: HubName,
    pub(super) names: Vec<IdentityName>,
}

#[async_trait]
impl Work for Find {
    type Answer = Vec<Option<Device>>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let mut devices: Vec<Option<Device>> = vec![None; self.names.len()];
        let ids: Vec<&str> = self.names.iter().map(|name| name.device.as_str()).collect();
        let modules: Vec<&str> = self.names.iter().map(module_text).collect();
        let rows = sqlx::query(include_str!("../../queries/find_identities.sql"))
            .bind(self.hub.as_str())
            .bind(ids)
            .bind(modules)
            .fetch_all(connection)
            .await?;
        for row in &rows {
            let position: usize =
                Fields::new(row, "identities", "device_key").number("position")?;
            devices[position] = Some(device(row)?);
        }
        Ok(devices)
    }
}

pub(super) struct List {
    pub(super) hub: HubName,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for List {
    type Answer = Vec<Device>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let rows = sqlx::query(include_str!("../../queries/list_devices.sql"))
            .bind(self.hub.as_str())
            .bind(i64::from(self.limit))
            .fetch_all(connection)
            .await?;
        let devices = rows.iter().map(device).collect::<Result<_, _>>();
        Ok(devices?)
    }
}

pub(super) struct ListModules {
    pub(super) hub: HubName,
    pub(super) devices: Vec<DeviceId>,
}

#[async_trait]
impl Work for ListModules {
    type Answer = Vec<Device>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let ids: Vec<&str> = self.devices.iter().map(DeviceId::as_str).collect();
        let rows = sqlx::query(include_str!("../../queries/list_modules.sql"))
            .bind(self.hub.as_str())
            .bind(ids)
            .fetch_all(connection)
            .await?;
        let modules = rows.iter().map(device).collect::<Result<_, _>>();
        Ok(modules?)
    }
}

pub(super) struct Count {
    pub(super) hub: HubName,
}

#[async_trait]
impl Work for Count {
    type Answer = RegistryCounts;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let row = sqlx::query(include_str!("../../queries/count_devices.sql"))
            .bind(self.hub.as_str())
            .fetch_one(connection)
            .await?;
        let row = Fields::new(&row, "identities", "total");
        Ok(RegistryCounts {
            total: row.number("total")?,
            enabled: row.number("enabled")?,
            modules: row.number("modules")?,
        })
    }
}
