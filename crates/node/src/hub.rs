//! Hubs and their policies, made when they are not there.

use downlink_config::Config;
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::policy::{Policy, default_policies};
use downlink_ports::{IdSource, PolicyStore, StoreError};
use futures::future::try_join_all;

/// Length of the keys made here, in bytes (auth.md §1).
const KEY_BYTES: usize = 32;

/// Makes sure that there is a hub named `hub`, with the five default policies under fresh keys if
/// it is new. Any number of processes may do so at once; one of them makes it.
///
/// # Errors
/// What the store answers.
pub async fn ensure_hub(
    store: &dyn PolicyStore,
    ids: &dyn IdSource,
    hub: &HubName,
    now: Timestamp,
) -> Result<(), StoreError> {
    let policies = default_policies()
        .map(|(name, permissions)| Policy::new(name, [new_key(ids), new_key(ids)], permissions));
    store.ensure_hub(hub.clone(), policies.to_vec(), now).await
}

/// The same for each of `hubs`.
///
/// # Errors
/// What the store answers.
pub async fn ensure_hubs(
    store: &dyn PolicyStore,
    ids: &dyn IdSource,
    hubs: &[HubName],
    now: Timestamp,
) -> Result<(), StoreError> {
    let ensuring = hubs.iter().map(|hub| ensure_hub(store, ids, hub, now));
    try_join_all(ensuring).await.map(drop)
}

/// The hubs that `config` names, the first of them first.
///
/// # Errors
/// A name that is none; a configuration that was loaded has no such.
pub fn configured(config: &Config) -> anyhow::Result<Vec<HubName>> {
    let further = config.hub.further.values().map(|hub| &hub.host_name);
    let names = std::iter::once(&config.hub.host_name).chain(further);
    Ok(names.map(|name| name.parse()).collect::<Result<_, _>>()?)
}

/// A fresh symmetric key.
pub fn new_key(ids: &dyn IdSource) -> Vec<u8> {
    let mut key = vec![0; KEY_BYTES];
    ids.fill_random(&mut key);
    key
}
