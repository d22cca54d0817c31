//! Policies and certificate authorities: read by every gateway several times a second, written by
//! administrators.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::caps;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::policy::{Policy, PolicyScope, check_policy_name};
use downlink_ports::{AccessError, AccessSnapshot, AccessStore, PeerError, StoreError};
use downlink_runtime::{BatchItem, Batcher, BatcherOptions, Lifecycle};
use futures::future::join_all;
use parking_lot::Mutex;

use crate::error::{of_submit, refused};
use crate::service::TwinService;

/// Most hubs whose snapshots are kept; above it all are forgotten and read again.
const MAX_KEPT: usize = 256;

/// The hub whose snapshot is asked for.
pub(crate) struct Ask(HubName);

impl BatchItem for Ask {
    fn lane_key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    fn weight_bytes(&self) -> usize {
        self.0.as_str().len()
    }
}

/// Lanes that read snapshots. One read serves all that wait for it, and reads one row while
/// nothing was written.
pub(crate) type AccessReader = Batcher<Ask, Result<Arc<AccessSnapshot>, StoreError>>;

type Kept = Arc<Mutex<HashMap<HubName, Arc<AccessSnapshot>>>>;

pub(crate) fn start_access_reader(
    store: Arc<dyn AccessStore>,
    options: BatcherOptions,
    lifecycle: &Lifecycle,
) -> AccessReader {
    let kept = Kept::default();
    Batcher::start(lifecycle, "twin.access", options, move |asks| {
        read_all(Arc::clone(&store), Arc::clone(&kept), asks)
    })
}

/// One read per hub of the batch; it begins after the asks, so it sees what was written before
/// them.
async fn read_all(
    store: Arc<dyn AccessStore>,
    kept: Kept,
    asks: Vec<Ask>,
) -> Vec<Result<Arc<AccessSnapshot>, StoreError>> {
    let hubs: BTreeSet<&HubName> = asks.iter().map(|ask| &ask.0).collect();
    let reads = hubs.into_iter().map(|hub| {
        let (store, kept) = (&store, &kept);
        async move { (hub, read(&**store, kept, hub).await) }
    });
    let read: HashMap<&HubName, _> = join_all(reads).await.into_iter().collect();
    asks.iter().map(|ask| read[&ask.0].clone()).collect()
}

async fn read(
    store: &dyn AccessStore,
    kept: &Kept,
    hub: &HubName,
) -> Result<Arc<AccessSnapshot>, StoreError> {
    let known = kept.lock().get(hub).map(Arc::clone);
    let version = known.as_ref().map(|known| known.version);
    match (store.access(hub.clone(), version).await?, known) {
        (Some(new), _) => {
            let new = Arc::new(new);
            let mut kept = kept.lock();
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert(hub.clone(), Arc::clone(&new));
            Ok(new)
        }
        (None, Some(known)) => Ok(known),
        // No version was named, so there is none that still holds.
        (None, None) => Err(StoreError::Unavailable("no answer".to_owned())),
    }
}

impl TwinService {
    pub(crate) async fn read_access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, PeerError> {
        let access = self.access.submit(Ask(hub)).await.map_err(of_submit)??;
        Ok((known != Some(access.version)).then(|| AccessSnapshot::clone(&access)))
    }

    pub(crate) async fn write_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Policy, PeerError> {
        check(&policy)?;
        let now = self.deps.clock.now();
        let put = self.deps.access.put_policy(hub, policy, if_match, by, now);
        put.await?.map_err(|error| of_access(&error))
    }

    pub(crate) async fn remove_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let now = self.deps.clock.now();
        let deleted = self.deps.access.delete_policy(hub, name, if_match, by, now);
        deleted.await?.map_err(|error| of_access(&error))
    }

    pub(crate) async fn write_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<CertificateAuthority, PeerError> {
        authority.check().map_err(|error| invalid(&error))?;
        let now = self.deps.clock.now();
        let store = &self.deps.access;
        let put = store.put_authority(hub, authority, if_match, by, now);
        put.await?.map_err(|error| of_access(&error))
    }

    pub(crate) async fn remove_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let now = self.deps.clock.now();
        let store = &self.deps.access;
        let deleted = store.delete_authority(hub, name, if_match, by, now);
        deleted.await?.map_err(|error| of_access(&error))
    }
}

/// Refuses a policy that could not be used or read back.
fn check(policy: &Policy) -> Result<(), PeerError> {
    check_policy_name(&policy.name).map_err(|error| invalid(&error))?;
    let is_sized = |key: &Vec<u8>| caps::KEY_BYTES.contains(&key.len());
    if !policy.keys.iter().all(is_sized) {
        return Err(invalid(&"a key must have 16 to 64 bytes"));
    }
    if let Some(scope) = &policy.scope {
        PolicyScope::parse(&scope.to_json()).map_err(|error| invalid(&error))?;
    }
    Ok(())
}

fn invalid(error: &dyn std::fmt::Display) -> PeerError {
    refused(ErrorCode::ArgumentInvalid, error.to_string())
}

fn of_access(error: &AccessError) -> PeerError {
    PeerError::refused(error.code(), error)
}
