//! What a new data folder gets: the hub, its five policies and a device to try.

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Authentication, Device, DeviceSpec, SymmetricKeys};
use downlink_domain::id::{DeviceId, HubName, IdentityName};
use downlink_domain::policy::Policy;
use downlink_node::Stores;
use downlink_node::hub::{ensure_hub, new_key};
use downlink_ports::{DeviceRegistry, IdSource, PolicyStore, RegistryError, StoreError};
use futures::future::try_join_all;

use crate::facts::Credentials;

/// The first hub of this store: the one named `wanted`, else the oldest that is none of `others`, else a new one.
///
/// # Errors
/// What the store answers.
pub async fn find_or_make_hub(
    store: &dyn PolicyStore,
    ids: &dyn IdSource,
    (wanted, others): (&HubName, &[HubName]),
    now: Timestamp,
) -> Result<HubName, StoreError> {
    let hubs = store.hubs().await?;
    if let Some(oldest) = hubs.iter().find(|hub| !others.contains(hub))
        && !hubs.contains(wanted)
    {
        return Ok(oldest.clone());
    }
    ensure_hub(store, ids, wanted, now).await?;
    Ok(wanted.clone())
}

/// The policies of a hub with their keys.
///
/// # Errors
/// What the store answers.
pub async fn policies(stores: &Stores, hub: &HubName) -> Result<Vec<Policy>, StoreError> {
    let access = stores.access.access(hub.clone(), None).await?;
    Ok(access.map(|access| access.policies).unwrap_or_default())
}

/// What back-ends of `hubs` prove themselves by.
///
/// # Errors
/// What the store answers.
pub async fn further_credentials(
    stores: &Stores,
    hubs: &[HubName],
) -> Result<Vec<Credentials>, StoreError> {
    let reading = hubs.iter().map(|hub| async {
        Ok(Credentials {
            host_name: hub.to_string(),
            policies: policies(stores, hub).await?,
            device: None,
        })
    });
    try_join_all(reading).await
}

/// The demo device, made when `is_new`; one that was deleted stays deleted.
///
/// # Errors
/// What the store answers.
pub async fn demo_device(
    registry: &dyn DeviceRegistry,
    ids: &dyn IdSource,
    hub: &HubName,
    start: Start,
    now: Timestamp,
) -> Result<Option<Device>, StoreError> {
    let id: DeviceId = "demo-device".parse().expect("a valid device id");
    let name = IdentityName::from(id);
    if start == Start::Later {
        let found = registry.find(hub.clone(), vec![name]).await?;
        return Ok(found.into_iter().next().flatten());
    }
    let spec = DeviceSpec::of(Authentication::Sas(SymmetricKeys {
        primary: new_key(ids),
        secondary: new_key(ids),
    }));
    match registry
        .create(hub.clone(), name.clone(), spec, Actor::operator(), now)
        .await?
    {
        Ok(device) => Ok(Some(device)),
        // A start that was cut off between the hub and the device.
        Err(RegistryError::AlreadyExists(_)) => Ok(registry
            .find(hub.clone(), vec![name])
            .await?
            .into_iter()
            .next()
            .flatten()),
        Err(error) => Err(StoreError::Unavailable(error.to_string())),
    }
}

/// Whether a data folder is used for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// There was no hub yet.
    First,
    /// There was one.
    Later,
}
