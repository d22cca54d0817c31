//! Policies and certificate authorities.

use std::sync::atomic::{AtomicUsize, Ordering};

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::id::HubName;
use downlink_domain::policy::{Policy, PolicyScope};
use downlink_ports::testsuite::given::{an_authority, an_owner, somebody};
use downlink_ports::{AccessError, AccessSnapshot, AccessStore, PolicyStore, StoreError};
use downlink_testkit::a_policy;
use futures::future::join_all;
use tokio::sync::Notify;

use super::*;

/// A store that counts reads and holds them while it is told to.
#[derive(Default)]
struct Counted {
    store: MemoryStore,
    rows: AtomicUsize,
    wholes: AtomicUsize,
    held: Mutex<Option<Arc<Notify>>>,
    is_away: Mutex<bool>,
}

#[async_trait]
impl AccessStore for Counted {
    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, StoreError> {
        self.rows.fetch_add(1, Ordering::SeqCst);
        let held = self.held.lock().clone();
        if let Some(held) = held {
            held.notified().await;
        }
        if *self.is_away.lock() {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        let access = self.store.access(hub, known).await?;
        self.wholes
            .fetch_add(usize::from(access.is_some()), Ordering::SeqCst);
        Ok(access)
    }

    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Policy, AccessError>, StoreError> {
        self.store.put_policy(hub, policy, if_match, by, now).await
    }

    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<(), AccessError>, StoreError> {
        self.store.delete_policy(hub, name, if_match, by, now).await
    }

    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<CertificateAuthority, AccessError>, StoreError> {
        let store = &self.store;
        store.put_authority(hub, authority, if_match, by, now).await
    }

    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<(), AccessError>, StoreError> {
        let store = &self.store;
        store.delete_authority(hub, name, if_match, by, now).await
    }
}

async fn counted() -> (World, Arc<Counted>) {
    let counted = Arc::new(Counted::default());
    let ensured = counted.store.ensure_hub(a_hub(), vec![an_owner()], noon());
    ensured.await.unwrap();
    let store = Arc::clone(&counted);
    let world = World::with_deps(&TwinOptions::default(), |deps| deps.access = store);
    (world, counted)
}

async fn put(world: &World, policy: Policy) -> Result<Policy, PeerError> {
    let service = &world.service;
    service
        .put_policy(a_hub(), policy, IfMatch::Absent, somebody())
        .await
}

#[tokio::test]
async fn access_is_told_when_it_is_new() {
    let (world, _) = counted().await;
    let first = world.service.access(a_hub(), None).await.unwrap().unwrap();
    assert!(first.policies == [an_owner()]);
    let known = Some(first.version);
    assert!(world.service.access(a_hub(), known).await == Ok(None));

    put(&world, a_policy("new")).await.unwrap();
    let second = world.service.access(a_hub(), known).await.unwrap().unwrap();
    assert_eq!(
        (second.version, second.policies.len()),
        (first.version + 1, 2)
    );
    let nowhere: HubName = "nowhere.test".parse().unwrap();
    let nothing = world.service.access(nowhere, None).await;
    assert!(nothing == Ok(Some(AccessSnapshot::default())));
}

#[tokio::test]
async fn one_read_serves_all_that_wait_and_reads_one_row_while_nothing_changes() {
    let (world, counted) = counted().await;
    world.service.access(a_hub(), None).await.unwrap();
    let rows = || counted.rows.load(Ordering::SeqCst);
    assert_eq!((rows(), counted.wholes.load(Ordering::SeqCst)), (1, 1));

    let gate = Arc::new(Notify::new());
    *counted.held.lock() = Some(Arc::clone(&gate));
    let mut first = Box::pin(world.service.access(a_hub(), None));
    // The first is in the store before the others ask.
    while rows() < 2 {
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("the store holds it"),
            () = tokio::task::yield_now() => {}
        }
    }
    let others = join_all((0..50).map(|_| world.service.access(a_hub(), None)));
    let mut others = Box::pin(others);
    assert!(futures::poll!(&mut others).is_pending());
    *counted.held.lock() = None;
    gate.notify_one();
    let (first, others) = futures::future::join(first, others).await;
    let snapshot = first.unwrap().unwrap();
    for other in others {
        assert!(other.unwrap().as_ref() == Some(&snapshot));
    }
    assert_eq!(rows(), 3, "one for the first, one for the fifty");
    assert_eq!(counted.wholes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_all_and_its_return_is_seen() {
    let (world, counted) = counted().await;
    world.service.access(a_hub(), None).await.unwrap();
    *counted.is_away.lock() = true;
    let asked = join_all((0..5).map(|_| world.service.access(a_hub(), Some(1)))).await;
    for one in asked {
        assert_eq!(code(one.map(|_| ())), ErrorCode::ServiceUnavailable);
    }
    *counted.is_away.lock() = false;
    assert!(world.service.access(a_hub(), Some(1)).await == Ok(None));
}

#[tokio::test]
async fn a_policy_that_could_not_be_used_or_read_back_is_refused() {
    let (world, _) = counted().await;
    let with = |change: fn(&mut Policy)| {
        let mut policy = a_policy("fine");
        change(&mut policy);
        policy
    };
    for policy in [
        with(|it| it.name = "a;b".to_owned()),
        with(|it| it.name = String::new()),
        with(|it| it.keys[1] = vec![1; 15]),
        with(|it| it.keys[0] = vec![1; 65]),
        with(|it| it.scope = Some(PolicyScope::default())),
    ] {
        let refused = put(&world, policy).await.map(|_| ());
        assert_eq!(code(refused), ErrorCode::ArgumentInvalid);
    }
    let access = world.service.access(a_hub(), None).await.unwrap().unwrap();
    assert!(access.policies == [an_owner()]);
}

#[tokio::test]
async fn refusals_have_the_codes_of_the_catalogue() {
    let (world, _) = counted().await;
    let service = &world.service;
    let owner = "iothubowner".to_owned();
    put(&world, a_policy("a")).await.unwrap();
    let twice = put(&world, a_policy("a")).await.map(|_| ());
    assert_eq!(code(twice), ErrorCode::GenericConflict);
    let delete = |name: &str, if_match| {
        service.delete_policy(a_hub(), name.to_owned(), if_match, somebody())
    };
    let missing = delete("b", IfMatch::Any).await;
    assert_eq!(code(missing), ErrorCode::GenericNotFound);
    let stale = delete("a", IfMatch::Etag("OQ==".to_owned())).await;
    assert_eq!(code(stale), ErrorCode::PreconditionFailed);
    let last = delete(&owner, IfMatch::Any).await;
    assert_eq!(code(last), ErrorCode::InvalidOperation);

    let put = |authority, if_match| service.put_authority(a_hub(), authority, if_match, somebody());
    for number in 0..downlink_domain::authority::MAX_AUTHORITIES {
        let authority = an_authority(&format!("ca-{number:02}"));
        put(authority, IfMatch::Absent).await.unwrap();
    }
    let many = put(an_authority("more"), IfMatch::Absent).await.map(|_| ());
    assert_eq!(code(many), ErrorCode::IotHubQuotaExceeded);
    let nul = CertificateAuthority {
        subject: "CN=a\0b".to_owned(),
        ..an_authority("ca-01")
    };
    let refused = put(nul, IfMatch::Any).await.map(|_| ());
    assert_eq!(code(refused), ErrorCode::ArgumentInvalid);
    let name = "ca-01".to_owned();
    let removed = service.delete_authority(a_hub(), name, IfMatch::Any, somebody());
    assert_eq!(removed.await, Ok(()));
}
