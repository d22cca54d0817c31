//! Reading identities and twins.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use downlink_domain::device::Device;
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::twin::Twin;
use downlink_ports::{DeviceRegistry, PeerError, StoreError, TwinStore, TwinView};
use downlink_runtime::{BatchItem, Batcher, BatcherOptions, Lifecycle};
use futures::future::join_all;

use crate::error::{not_found, of_submit, refused};
use crate::service::TwinService;

/// An identity asked for by name.
pub(crate) struct Lookup {
    hub: HubName,
    name: IdentityName,
}

impl BatchItem for Lookup {
    fn lane_key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.hub, &self.name).hash(&mut hasher);
        hasher.finish()
    }

    fn weight_bytes(&self) -> usize {
        self.name.device.as_str().len()
    }
}

/// A twin asked for by key.
pub(crate) struct TwinLookup(DeviceKey);

impl BatchItem for TwinLookup {
    fn lane_key(&self) -> u64 {
        self.0.0.cast_unsigned()
    }

    fn weight_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// Lanes that read identities.
pub(crate) type IdentityReader = Batcher<Lookup, Result<Option<Device>, StoreError>>;
/// Lanes that read twins.
pub(crate) type TwinReader = Batcher<TwinLookup, Result<Option<Twin>, StoreError>>;

pub(crate) fn start_identity_reader(
    registry: Arc<dyn DeviceRegistry>,
    options: BatcherOptions,
    lifecycle: &Lifecycle,
) -> IdentityReader {
    Batcher::start(lifecycle, "twin.find", options, move |lookups| {
        find_identities(Arc::clone(&registry), lookups)
    })
}

pub(crate) fn start_twin_reader(
    twins: Arc<dyn TwinStore>,
    options: BatcherOptions,
    lifecycle: &Lifecycle,
) -> TwinReader {
    Batcher::start(
        lifecycle,
        "twin.get",
        options,
        move |lookups: Vec<TwinLookup>| {
            let twins = Arc::clone(&twins);
            async move {
                let keys: Vec<DeviceKey> = lookups.iter().map(|lookup| lookup.0).collect();
                match twins.find_twins(keys).await {
                    Ok(found) => found.into_iter().map(Ok).collect(),
                    Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
                }
            }
        },
    )
}

/// One call per hub of the batch; nearly always that is one.
async fn find_identities(
    registry: Arc<dyn DeviceRegistry>,
    lookups: Vec<Lookup>,
) -> Vec<Result<Option<Device>, StoreError>> {
    let mut answers: Vec<_> = lookups.iter().map(|_| Ok(None)).collect();
    let mut by_hub: BTreeMap<HubName, (Vec<usize>, Vec<IdentityName>)> = BTreeMap::new();
    for (position, lookup) in lookups.into_iter().enumerate() {
        let (positions, names) = by_hub.entry(lookup.hub).or_default();
        positions.push(position);
        names.push(lookup.name);
    }
    let calls = by_hub.into_iter().map(|(hub, (positions, names))| {
        let registry = &registry;
        async move { (positions, registry.find(hub, names).await) }
    });
    for (positions, found) in join_all(calls).await {
        match found {
            Err(error) => positions
                .into_iter()
                .for_each(|at| answers[at] = Err(error.clone())),
            Ok(found) => {
                for (at, device) in positions.into_iter().zip(found) {
                    answers[at] = Ok(device);
                }
            }
        }
    }
    answers
}

impl TwinService {
    pub(crate) async fn find_identity(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<Device>, PeerError> {
        let found = self.identities.submit(Lookup { hub, name }).await;
        Ok(found.map_err(of_submit)??)
    }

    pub(crate) async fn get_identity(
        &self,
        hub: HubName,
        name: &IdentityName,
    ) -> Result<Device, PeerError> {
        let found = self.find_identity(hub, name.clone()).await?;
        found.ok_or_else(|| not_found(name))
    }

    pub(crate) async fn find_twin(&self, device: DeviceKey) -> Result<Option<Twin>, PeerError> {
        let found = self.twins.submit(TwinLookup(device)).await;
        Ok(found.map_err(of_submit)??)
    }

    pub(crate) async fn read_twin(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<TwinView, PeerError> {
        let device = self.get_identity(hub, &name).await?;
        // The identity can be deleted between the two reads: then there is none.
        let twin = self
            .find_twin(device.key)
            .await?
            .ok_or_else(|| not_found(&name))?;
        Ok(TwinView { device, twin })
    }

    pub(crate) async fn read_own_twin(&self, device: DeviceKey) -> Result<Twin, PeerError> {
        self.find_twin(device).await?.ok_or_else(gone)
    }
}

/// The refusal of a device whose identity was deleted while it was connected.
pub(crate) fn gone() -> PeerError {
    refused(
        downlink_domain::ErrorCode::DeviceNotFound,
        "the device is not registered any more",
    )
}
