//! Which twins are watched at this gateway, and how their watchers hear of changes.
//!
//! One call per interval asks for the versions of all of them, however many watchers there are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_domain::id::DeviceKey;
use downlink_runtime::{Lifecycle, OnError};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::https::USE_CASE_DEADLINE;
use crate::https::error::ApiError;
use crate::options::GrpcOptions;
use crate::peers::Peers;

/// Twins read at once because they have changed; others wait.
const MAX_READS: usize = 64;
/// Most watchers of a gateway: one call must name all their devices.
const MOST_WATCHERS: usize = 65_536;

/// What is known of a watched twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Its version.
    Version(u64),
    /// Its device is deleted.
    Gone,
}

/// The watched twins.
pub(crate) struct Watches {
    watched: Mutex<HashMap<DeviceKey, watch::Sender<Seen>>>,
    places: Arc<Semaphore>,
    pub(super) reads: Semaphore,
}

/// A place among the watchers; dropping it makes room for another.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Watches {
    /// Makes the set and the task that looks for changes.
    pub(crate) fn start(options: &GrpcOptions, peers: &Peers, scope: &Lifecycle) -> Arc<Self> {
        let most = options.max_watchers.min(MOST_WATCHERS);
        let watches = Arc::new(Self {
            watched: Mutex::default(),
            places: Arc::new(Semaphore::new(most)),
            reads: Semaphore::new(MAX_READS),
        });
        let looking = look(
            peers.clone(),
            options.watch_interval,
            Arc::clone(&watches),
            scope.drain_token(),
        );
        scope.spawn("twin.watches", OnError::Log, looking);
        watches
    }

    /// Takes a place.
    pub(crate) fn enter(&self) -> Result<Place, ApiError> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        permit.map(|permit| Place { _permit: permit }).map_err(|_| {
            let text = "this node has as many watchers as it holds, try another or later";
            ApiError::new(ErrorCode::ThrottlingException, text)
        })
    }

    /// Watches a twin whose version was just read.
    pub(super) fn subscribe(&self, device: DeviceKey, version: u64) -> watch::Receiver<Seen> {
        let mut watched = self.watched.lock();
        let sender = watched
            .entry(device)
            .or_insert_with(|| watch::Sender::new(Seen::Version(version)));
        sender.subscribe()
    }

    /// The twins that still have watchers.
    fn keys(&self) -> Vec<DeviceKey> {
        let mut watched = self.watched.lock();
        watched.retain(|_, sender| sender.receiver_count() > 0);
        if watched.is_empty() {
            watched.shrink_to_fit();
        }
        watched.keys().copied().collect()
    }

    fn tell(&self, devices: Vec<DeviceKey>, versions: Vec<Option<u64>>) {
        let watched = self.watched.lock();
        for (device, version) in devices.into_iter().zip(versions) {
            let now = version.map_or(Seen::Gone, Seen::Version);
            if let Some(sender) = watched.get(&device) {
                sender.send_if_modified(|seen| std::mem::replace(seen, now) != now);
            }
        }
    }
}

async fn look(peers: Peers, interval: Duration, watches: Arc<Watches>, drain: CancellationToken) {
    let clock = &peers.clock;
    loop {
        let due = clock.now() + interval;
        tokio::select! {
            () = drain.cancelled() => return,
            () = clock.sleep_until(due) => {}
        }
        let devices = watches.keys();
        if devices.is_empty() {
            continue;
        }
        let asking = peers.twins.find_twin_versions(devices.clone());
        match timeout(USE_CASE_DEADLINE, asking).await {
            Ok(Ok(versions)) => watches.tell(devices, versions),
            Ok(Err(error)) => debug!(%error, "versions of watched twins cannot be read now"),
            Err(_) => debug!("versions of watched twins were not read in time"),
        }
    }
}
