//! Events on their way out through several nodes.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "support/nodes.rs"]
mod nodes;

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceId, DeviceKey};
use downlink_domain::twin::TwinChange;
use downlink_ports::{ClaimedEvents, EventOutbox, EventRelay, OutboxBounds, TwinStore};
use downlink_testkit::{an_event, noon, twin_rules};
use futures::future::{join, join_all};
use sqlx::{Connection, PgConnection};

use self::nodes::{Nodes, keys, number};

type Claim = Box<dyn ClaimedEvents>;

/// Longer than any test holds a claim.
const HOLD: Duration = Duration::from_mins(1);
/// How long something may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// The event `number` of a device that is not registered.
fn event_of(device: i64, number: u32) -> Event {
    let mut event = an_event(&format!("sensor-{device}"), 0);
    event.device_key = DeviceKey(1_000_000 + device);
    event.id[..8].copy_from_slice(&device.to_be_bytes());
    event.id[8..12].copy_from_slice(&number.to_be_bytes());
    event.body = Bytes::copy_from_slice(&number.to_be_bytes());
    event
}

fn number_of(event: &Event) -> u32 {
    u32::from_be_bytes(event.body[..4].try_into().unwrap())
}

/// How many audit records there are, and the version of the twin in each other event.
fn audits_and_versions(events: &[Event]) -> (usize, Vec<u64>) {
    let (audits, of_twin): (Vec<&Event>, Vec<&Event>) = events
        .iter()
        .partition(|event| event.kind == EventKind::Audit);
    let version = |event: &Event| {
        let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
        body["version"].as_u64().unwrap()
    };
    (audits.len(), of_twin.into_iter().map(version).collect())
}

async fn append(nodes: &Nodes, events: Vec<Event>) {
    nodes.stores[0].append(events).await.unwrap();
}

async fn claim(nodes: &Nodes, node: usize, limit: u32) -> Option<Claim> {
    nodes.node(node).claim(limit, HOLD).await.unwrap()
}

/// Claims what must come free by itself.
async fn claim_soon(nodes: &Nodes, node: usize, limit: u32) -> Claim {
    let started = Instant::now();
    loop {
        if let Some(claimed) = claim(nodes, node, limit).await {
            return claimed;
        }
        assert!(started.elapsed() < PATIENCE, "no claim was given");
    }
}

async fn finish(claimed: Claim) -> Vec<Event> {
    let events = claimed.events().to_vec();
    claimed.finish(events.len()).await.unwrap();
    events
}

/// Publishes everything there is.
async fn drain(nodes: &Nodes, node: usize) -> Vec<Event> {
    let mut sent = Vec::new();
    while let Some(claimed) = claim(nodes, node, 1_000).await {
        sent.extend(finish(claimed).await);
    }
    sent
}

/// Ends the server's end of every connection that holds a lane.
async fn kill_holders(connection: &mut PgConnection) -> i64 {
    number(
        connection,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
        WHERE locktype = 'advisory' AND objid < 16 AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .await
}

/// A consumer: what was published, in the order of publication.
#[derive(Default)]
struct Log {
    events: Mutex<Vec<Event>>,
}

impl Log {
    fn publish(&self, events: &[Event]) {
        self.events.lock().unwrap().extend_from_slice(events);
    }

    fn by_device(&self) -> HashMap<DeviceId, Vec<Event>> {
        let mut devices: HashMap<DeviceId, Vec<Event>> = HashMap::new();
        for event in self.events.lock().unwrap().iter() {
            devices
                .entry(event.device.clone().unwrap())
                .or_default()
                .push(event.clone());
        }
        devices
    }
}

/// Relays at one node until writers are done and nothing is left.
async fn relay(nodes: &Nodes, node: usize, log: &Log, is_done: &AtomicBool) {
    loop {
        let was_done = is_done.load(Ordering::Acquire);
        match claim(nodes, node, 50).await {
            Some(claimed) => {
                log.publish(claimed.events());
                finish(claimed).await;
            }
            None if was_done => return,
            None => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_relay_every_event_once_and_in_order_while_writers_write() {
    const SENSORS: i64 = 24;
    const EACH: u32 = 60;
    let nodes = Nodes::open().await;
    let mut twins = Vec::new();
    for number in 0..8 {
        twins.push(nodes.register(&format!("dev-{number}")).await);
    }
    let twins = keys(&twins);
    let (log, is_done) = (Log::default(), AtomicBool::new(false));
    let telemetry = (0..6_i64).map(async |writer| {
        for number in 0..EACH {
            let own = (0..SENSORS).filter(|sensor| sensor % 6 == writer);
            let events = own.map(|sensor| event_of(sensor, number)).collect();
            let node = nodes.node(usize::try_from(writer).unwrap());
            node.append(events).await.unwrap();
        }
    });
    let reports = (0..2_usize).map(async |writer| {
        for round in 0..20 {
            let patch = serde_json::from_str(&format!("{{\"round\": {round}}}")).unwrap();
            let change = TwinChange::Report {
                patch,
                expected_version: None,
            };
            let changes = twins.iter().map(|key| (*key, change.clone())).collect();
            let written = nodes
                .node(writer)
                .update_twins(changes, twin_rules(), noon());
            written.await.unwrap();
        }
    });
    let writing = async {
        join(join_all(telemetry), join_all(reports)).await;
        is_done.store(true, Ordering::Release);
    };
    let relaying = (0..4).map(|relay_number| relay(&nodes, relay_number, &log, &is_done));
    join(writing, join_all(relaying)).await;

    let devices = log.by_device();
    assert_eq!(devices.len(), 24 + 8);
    for (device, events) in devices {
        if device.as_str().starts_with("sensor") {
            let numbers: Vec<_> = events.iter().map(number_of).collect();
            assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "of {device}");
        } else {
            // Created at version 2, with an audit record, then one event for each version.
            let (audits, versions) = audits_and_versions(&events);
            assert_eq!(audits, 1, "of {device}");
            assert_eq!(versions, (2..=42).collect::<Vec<_>>(), "of {device}");
        }
    }
    let mut connection = nodes.connect().await;
    assert_eq!(
        number(&mut connection, "SELECT count(*) FROM outbox").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_never_held_twice() {
    let nodes = Nodes::open().await;
    let all = (0..64).flat_map(|device| (0..40).map(move |number| event_of(device, number)));
    append(&nodes, all.collect()).await;
    let (held, claims) = (Mutex::new(BTreeSet::new()), AtomicUsize::new(0));
    let relaying = (0..6).map(async |relay| {
        while let Some(claimed) = claim(&nodes, relay, 5).await {
            let devices: BTreeSet<_> = claimed
                .events()
                .iter()
                .map(|event| event.device_key)
                .collect();
            {
                let mut held = held.lock().unwrap();
                assert!(held.is_disjoint(&devices), "a device in two claims");
                held.extend(&devices);
            }
            tokio::task::yield_now().await;
            held.lock()
                .unwrap()
                .retain(|device| !devices.contains(device));
            finish(claimed).await;
            claims.fetch_add(1, Ordering::Relaxed);
        }
    });
    join_all(relaying).await;
    assert!(claims.into_inner() >= 64 * 40 / 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_holder_held_that_died_is_claimed_by_another_and_nothing_is_lost() {
    let nodes = Nodes::open().await;
    append(&nodes, (0..10).map(|number| event_of(1, number)).collect()).await;
    let dead = claim(&nodes, 0, 4).await.unwrap();
    assert!(claim(&nodes, 1, 10).await.is_none());
    let mut connection = nodes.connect().await;
    assert_eq!(kill_holders(&mut connection).await, 1);
    let heir = claim_soon(&nodes, 1, 100).await;
    assert!(dead.finish(4).await.is_err(), "its lane is another's");
    let numbers: Vec<_> = finish(heir).await.iter().map(number_of).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
    assert!(claim(&nodes, 0, 10).await.is_none(), "the node relays on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_claim_gives_everything_back_to_the_other_node() {
    let nodes = Nodes::open().await;
    append(&nodes, (0..10).map(|number| event_of(1, number)).collect()).await;
    drop(claim(&nodes, 0, 4).await.unwrap());
    let heir = claim_soon(&nodes, 1, 100).await;
    let numbers: Vec<_> = finish(heir).await.iter().map(number_of).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_held_too_long_frees_its_lane() {
    let nodes = Nodes::open().await;
    append(&nodes, vec![event_of(1, 0)]).await;
    let short = Duration::from_millis(50);
    let stuck = nodes.stores[0].claim(10, short).await.unwrap().unwrap();
    let heir = claim_soon(&nodes, 1, 10).await;
    assert!(stuck.finish(1).await.is_err());
    assert_eq!(finish(heir).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_commits_late_leaves_after_those_that_overtook_it() {
    let nodes = Nodes::open().await;
    append(&nodes, vec![event_of(1, 0)]).await;
    let mut late = nodes.connect().await;
    let mut writing = late.begin().await.unwrap();
    sqlx::query(
        "WITH writer AS MATERIALIZED (SELECT pg_current_xact_id())
        INSERT INTO outbox (device_key, event_id, hub, device_id, kind, at, properties, body)
        SELECT 7, '\\x00112233445566778899aabbccddeeff', 'hub.downlink.test', 'sensor-late',
            'telemetry', 0, '[]', '\\x00000000'
        FROM writer",
    )
    .execute(&mut *writing)
    .await
    .unwrap();
    // Enough claims for floors to rise as far as they may, all around the open position.
    for number in 1..40 {
        append(
            &nodes,
            (0..32).map(|device| event_of(device, number)).collect(),
        )
        .await;
        assert!(!drain(&nodes, 0).await.is_empty());
    }
    writing.commit().await.unwrap();
    let left = drain(&nodes, 0).await;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].device, Some("sensor-late".parse().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_claim_does_not_hold_back_vacuum() {
    let nodes = Nodes::open().await;
    append(&nodes, vec![event_of(1, 0)]).await;
    let held = claim(&nodes, 0, 10).await.unwrap();
    let mut connection = nodes.connect().await;
    let holding = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'idle in transaction'";
    assert_eq!(number(&mut connection, holding).await, 1);
    let horizons = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state = 'idle in transaction'
            AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)";
    assert_eq!(number(&mut connection, horizons).await, 0);
    finish(held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_ends_when_it_holds_enough_bytes() {
    let nodes = Nodes::open().await;
    let large = |number| Event {
        body: Bytes::from(vec![7; 6 * 1024 * 1024]),
        ..event_of(1, number)
    };
    append(&nodes, (0..4).map(large).collect()).await;
    let first = claim(&nodes, 0, 100).await.unwrap();
    assert_eq!(finish(first).await.len(), 3);
    let rest = claim(&nodes, 0, 100).await.unwrap();
    assert_eq!(finish(rest).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_not_read_below_its_floor_until_something_fails() {
    let nodes = Nodes::open().await;
    let mut connection = nodes.connect().await;
    let (started, mut number) = (Instant::now(), 0);
    // Transactions of other tests on this server may keep the floor down for a while.
    loop {
        append(&nodes, vec![event_of(1, number)]).await;
        assert_eq!(drain(&nodes, 0).await.len(), 1);
        number += 1;
        // What no writer does: a position that was drawn long ago.
        sqlx::query(
            "INSERT INTO outbox
                (device_key, event_id, position, hub, device_id, kind, at, properties, body)
            VALUES (7, '\\x00112233445566778899aabbccddeeff', 1, 'hub.downlink.test', 'sensor-1',
                'telemetry', 0, '[]', '\\xffffffff')",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        if drain(&nodes, 0).await.is_empty() {
            break;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "the lane is read from its beginning"
        );
    }
    append(&nodes, vec![event_of(1, number)]).await;
    let held = claim(&nodes, 0, 10).await.unwrap();
    assert_eq!(kill_holders(&mut connection).await, 1);
    assert!(held.finish(1).await.is_err());
    let again = finish(claim_soon(&nodes, 0, 10).await).await;
    assert_eq!(
        again.iter().map(number_of).collect::<Vec<_>>(),
        [u32::MAX, number]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_trim_at_once_shed_no_more_than_is_beyond_the_bounds() {
    let nodes = Nodes::open().await;
    let all = (0..50).flat_map(|device| (0..30).map(move |number| event_of(device, number)));
    append(&nodes, all.collect()).await;
    let bounds = OutboxBounds {
        retention: Duration::from_hours(1),
        max_events: 1_000,
    };
    let trims = (0..6).map(|node| nodes.node(node).trim(bounds, noon()));
    let shed: u64 = join_all(trims).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(shed, 500);
    let mut connection = nodes.connect().await;
    assert_eq!(
        number(&mut connection, "SELECT count(*) FROM outbox").await,
        1_000
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deep_backlog_is_estimated() {
    let nodes = Nodes::open().await;
    for round in 0..4 {
        let numbers = round * 1_000..(round + 1) * 1_000;
        append(&nodes, numbers.map(|number| event_of(1, number)).collect()).await;
    }
    let backlog = nodes.stores[0].backlog().await.unwrap();
    assert!((1_000..=4_000).contains(&backlog.events), "{backlog:?}");
    assert_eq!(backlog.oldest, Some(noon()));
}
