//! What a device that was away is to be told of its desired properties.

use std::sync::Arc;

use downlink_domain::id::DeviceKey;
use downlink_ports::{
    DesiredChanges, MissedChanges, PeerError, SessionStore, Since, StoreError, TwinStore,
};
use downlink_runtime::{BatchItem, Batcher, BatcherOptions, Lifecycle};
use futures::future::join_all;

use crate::error::of_submit;
use crate::get::gone;
use crate::service::TwinService;

/// Changes asked for by key.
#[derive(Clone, Copy)]
pub(crate) struct ChangesLookup {
    device: DeviceKey,
    since: Since,
}

impl BatchItem for ChangesLookup {
    fn lane_key(&self) -> u64 {
        self.device.0.cast_unsigned()
    }

    fn weight_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// Lanes that read changes: when a gateway has gone, all its devices ask at once.
pub(crate) type ChangesReader = Batcher<ChangesLookup, Result<Option<DesiredChanges>, StoreError>>;

pub(crate) fn start_changes_reader(
    twins: Arc<dyn TwinStore>,
    options: BatcherOptions,
    lifecycle: &Lifecycle,
) -> ChangesReader {
    Batcher::start(
        lifecycle,
        "twin.missed",
        options,
        move |lookups: Vec<ChangesLookup>| {
            let twins = Arc::clone(&twins);
            async move {
                let wanted = lookups.iter().map(|lookup| (lookup.device, lookup.since));
                match twins.find_changes(wanted.collect()).await {
                    Ok(found) => found.into_iter().map(Ok).collect(),
                    Err(error) => lookups.iter().map(|_| Err(error.clone())).collect(),
                }
            }
        },
    )
}

/// What a device has been told.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    device: DeviceKey,
    version: u64,
}

impl BatchItem for Told {
    fn lane_key(&self) -> u64 {
        self.device.0.cast_unsigned()
    }

    fn weight_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

/// Lanes that write what devices have been told: when a gateway goes, all its devices leave at once.
pub(crate) type ToldWriter = Batcher<Told, Result<(), StoreError>>;

pub(crate) fn start_told_writer(
    sessions: Arc<dyn SessionStore>,
    options: BatcherOptions,
    lifecycle: &Lifecycle,
) -> ToldWriter {
    Batcher::start(lifecycle, "twin.told", options, move |told: Vec<Told>| {
        let sessions = Arc::clone(&sessions);
        async move {
            let versions = told.iter().map(|told| (told.device, told.version));
            let written = sessions.note_told(versions.collect()).await;
            told.iter().map(|_| written.clone()).collect()
        }
    })
}

impl TwinService {
    pub(crate) async fn write_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), PeerError> {
        let noting = told
            .into_iter()
            .map(|(device, version)| self.told.submit(Told { device, version }));
        for noted in join_all(noting).await {
            noted.map_err(of_submit)??;
        }
        Ok(())
    }

    pub(crate) async fn read_missed(
        &self,
        device: DeviceKey,
        since: Since,
    ) -> Result<MissedChanges, PeerError> {
        let found = self.changes.submit(ChangesLookup { device, since }).await;
        let found = found.map_err(of_submit)??.ok_or_else(gone)?;
        let since = found.since;
        if let Some(every) = MissedChanges::every(found) {
            return Ok(every);
        }
        let twin = self.find_twin(device).await?.ok_or_else(gone)?;
        Ok(MissedChanges::whole(&twin.desired, since))
    }
}
