//! What was answered is there after every way to stop.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::{AckMode, NewMessage, Verdict};
use downlink_ports::testsuite::Subject;
use downlink_ports::testsuite::given::{an_authority, somebody};
use downlink_ports::{
    AccessStore, DeviceRegistry, EventOutbox, MessageStore, OutboxBounds, PolicyStore,
    SessionStore, StoreError, TwinStore,
};
use downlink_runtime::{Lifecycle, Shutdown};
use downlink_store_embedded::{OpenError, Store, StoreOptions};
use downlink_testkit::{a_hub, a_message_to, a_policy, an_event, noon};

async fn open(path: &Path) -> (Arc<Store>, Lifecycle) {
    let lifecycle = Lifecycle::new();
    let store = Store::open(path, StoreOptions::default(), &lifecycle).await;
    (store.unwrap(), lifecycle)
}

/// One of everything: what a later opening must find.
async fn fill(store: &Arc<Store>) -> Filled {
    let subject = Subject::of(Arc::clone(store), ());
    let ensured = store.ensure_hub(a_hub(), vec![a_policy("service")], noon());
    ensured.await.unwrap();
    let put = store.put_policy(
        a_hub(),
        a_policy("later"),
        IfMatch::Absent,
        somebody(),
        noon(),
    );
    assert!(put.await.unwrap().is_ok());
    let put = store.put_authority(
        a_hub(),
        an_authority("plant"),
        IfMatch::Absent,
        somebody(),
        noon(),
    );
    assert!(put.await.unwrap().is_ok());
    let device = subject.register("dev-1").await;
    let session = vec![(device.key, Some(Bytes::from_static(b"session")))];
    store.save_sessions(session).await.unwrap();
    store.append(vec![an_event("dev-1", 9)]).await.unwrap();
    let messages = ["settled", "held", "waiting"].map(|body| NewMessage {
        ack: AckMode::Full,
        ..a_message_to("dev-1", body)
    });
    let accepted = subject.enqueue_all(messages.to_vec(), 50, noon()).await;
    let held = subject.receive(device.key, 2, noon()).await;
    let settled = subject.settle(&held[0], Verdict::Complete, noon()).await;
    assert_eq!(settled, Ok(()));
    Filled {
        device,
        held: held[1].clone(),
        last: accepted[2].as_ref().unwrap().sequence,
    }
}

struct Filled {
    device: downlink_domain::device::Device,
    held: downlink_ports::LockedMessage,
    last: downlink_domain::id::SequenceNumber,
}

async fn check(store: &Arc<Store>, filled: &Filled) {
    let subject = Subject::of(Arc::clone(store), ());
    let Filled { device, held, last } = filled;
    assert_eq!(store.hubs().await.unwrap(), [a_hub()]);
    let access = store.access(a_hub(), None).await.unwrap().unwrap();
    assert!(access.policies == [a_policy("service"), a_policy("later")]);
    assert_eq!(access.authorities.len(), 1);
    let found = store
        .find(a_hub(), vec![device.name.clone()])
        .await
        .unwrap();
    assert_eq!(found, [Some(device.clone())]);
    assert!(store.find_twins(vec![device.key]).await.unwrap()[0].is_some());
    let session = store.find_session(device.key).await.unwrap();
    assert_eq!(session, Some(Bytes::from_static(b"session")));
    let events = store.read_after(0, 10).await.unwrap();
    assert_eq!(events.len(), 6, "three audits, created, appended, feedback");

    assert_eq!(subject.count(device.key, noon()).await, 2);
    let settled = subject.settle(held, Verdict::Abandon, noon()).await;
    assert_eq!(settled, Ok(()), "the hold outlives the process");
    let received = subject.receive(device.key, 5, noon()).await;
    let bodies: Vec<_> = received.iter().map(|held| &held.message.body[..]).collect();
    assert_eq!(bodies, [&b"held"[..], b"waiting"]);
    let outcomes = subject.take_outcomes(noon()).await;
    assert_eq!(outcomes, [FeedbackStatus::Success]);
    let next = subject.enqueue(a_message_to("dev-1", "next"), noon()).await;
    assert!(next.unwrap().sequence > *last);
}

#[tokio::test]
async fn everything_is_there_after_an_orderly_close() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, lifecycle) = open(&path).await;
    let filled = fill(&store).await;
    store.close().await;
    let refused = store.append(vec![an_event("dev-1", 10)]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    let shutdown = lifecycle.shutdown(Duration::from_secs(10)).await;
    assert_eq!(shutdown, Shutdown::Drained);

    let (store, _lifecycle) = open(&path).await;
    check(&store, &filled).await;
}

#[tokio::test]
async fn everything_is_there_after_the_power_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, _lifecycle) = open(&path).await;
    let filled = fill(&store).await;
    // What the disk holds at this instant: the file and its log, and nothing of the process.
    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join("hub.db");
    std::fs::copy(&path, &copy).unwrap();
    let log = |path: &Path| path.with_extension("db-wal");
    std::fs::copy(log(&path), log(&copy)).unwrap();

    let (store, _lifecycle) = open(&copy).await;
    check(&store, &filled).await;
}

#[tokio::test]
async fn everything_is_there_after_the_tasks_were_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, lifecycle) = open(&path).await;
    let filled = fill(&store).await;
    lifecycle.shutdown(Duration::ZERO).await;
    drop(store);

    let (store, _lifecycle) = open(&path).await;
    check(&store, &filled).await;
}

#[tokio::test]
async fn writes_that_wait_when_the_scope_drains_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, lifecycle) = open(&path).await;
    let subject = Subject::of(Arc::clone(&store), ());
    let device = subject.register("dev-1").await;
    let message = || a_message_to("dev-1", "late");
    let (accepted, shutdown) = tokio::join!(
        subject.enqueue(message(), noon()),
        lifecycle.shutdown(Duration::from_secs(10)),
    );
    assert!(accepted.is_ok());
    assert_eq!(shutdown, Shutdown::Drained);
    drop((store, subject));

    let (store, _lifecycle) = open(&path).await;
    assert_eq!(store.count(vec![device.key], noon()).await.unwrap(), [1]);
}

#[tokio::test]
async fn a_file_in_use_is_refused_until_it_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, lifecycle) = open(&path).await;
    let second = Store::open(&path, StoreOptions::default(), &lifecycle).await;
    let error = second.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("hub.db is in use"), "{error}");
    store.close().await;
    open(&path).await;
}

#[tokio::test]
async fn keys_and_positions_are_not_given_again_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    let (store, _lifecycle) = open(&path).await;
    let subject = Subject::of(Arc::clone(&store), ());
    let first = subject.register("dev-1").await;
    let deleted = store.delete(
        a_hub(),
        first.name.clone(),
        IfMatch::Any,
        Actor::operator(),
        noon(),
    );
    deleted.await.unwrap().unwrap();
    let last = store.read_after(0, 10).await.unwrap().last().unwrap().0;
    let nothing = OutboxBounds {
        retention: Duration::from_hours(1),
        max_events: 0,
    };
    assert_eq!(store.trim(nothing, noon()).await.unwrap(), 4);
    store.close().await;

    let (store, _lifecycle) = open(&path).await;
    let subject = Subject::of(Arc::clone(&store), ());
    let second = subject.register("dev-1").await;
    assert!(second.key > first.key);
    assert_ne!(second.generation, first.generation);
    let events = store.read_after(0, 10).await.unwrap();
    assert_eq!(events.len(), 2, "created, audit");
    assert!(events[0].0 > last);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    std::fs::write(
        &path,
        b"this is no database, and longer than a header of one is".repeat(100),
    )
    .unwrap();
    let opened = Store::open(&path, StoreOptions::default(), &Lifecycle::new()).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");

    let nowhere = folder.path().join("missing").join("hub.db");
    let opened = Store::open(&nowhere, StoreOptions::default(), &Lifecycle::new()).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::File { .. }), "{error:?}");
}
