//! What a new data folder gets: the hub, its five policies and a device to try.

use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device, DeviceSpec, DeviceStatus, SymmetricKeys};
use downlink_domain::id::{DeviceId, HubName, IdentityName};
use downlink_domain::policy::{Policy, default_policies};
use downlink_ports::{DeviceRegistry, IdSource, PolicyStore, RegistryError, StoreError};

/// Length of the keys made here, in bytes (auth.md §1).
const KEY_BYTES: usize = 32;

/// The hub of this data folder: the one it has, else a new one named `wanted`.
///
/// # Errors
/// What the store answers.
pub async fn ensure_hub(
    store: &dyn PolicyStore,
    ids: &dyn IdSource,
    wanted: &HubName,
    now: Timestamp,
) -> Result<HubName, StoreError> {
    if let Some(hub) = store.hubs().await?.into_iter().next() {
        return Ok(hub);
    }
    let policies = default_policies().map(|(name, permissions)| Policy {
        name: name.to_owned(),
        keys: [new_key(ids), new_key(ids)],
        permissions,
    });
    store
        .ensure_hub(wanted.clone(), policies.to_vec(), now)
        .await?;
    Ok(wanted.clone())
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
    let spec = DeviceSpec {
        status: DeviceStatus::Enabled,
        status_reason: None,
        authentication: Authentication::Sas(SymmetricKeys {
            primary: new_key(ids),
            secondary: new_key(ids),
        }),
        is_edge: false,
    };
    match registry
        .create(hub.clone(), name.clone(), spec, now)
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

fn new_key(ids: &dyn IdSource) -> Vec<u8> {
    let mut key = vec![0; KEY_BYTES];
    ids.fill_random(&mut key);
    key
}
