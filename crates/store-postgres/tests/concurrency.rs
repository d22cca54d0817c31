//! Several nodes on one database at once: nothing is lost, nothing is held twice, order holds.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

#[path = "support/fresh.rs"]
mod fresh;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::{DeviceKey, LockToken, SequenceNumber};
use downlink_domain::message::{AckMode, NewMessage, Settlement, Verdict};
use downlink_domain::policy::MAX_POLICIES;
use downlink_ports::testsuite::given::{an_owner, somebody};
use downlink_ports::{
    AccessError, AccessStore, DeviceRegistry, EnqueueError, EnqueueRules, EventOutbox,
    FeedbackReceive, FeedbackStore, LockedMessage, MessageStore, PolicyStore, Receive, SettleError,
    StoreError,
};
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use downlink_testkit::{
    a_device_spec, a_hub, a_message_to, a_policy, an_identity, noon, queue_rules,
};
use futures::future::join_all;
use parking_lot::Mutex;
use sqlx::{Connection, PgConnection};

const DEEP: EnqueueRules = EnqueueRules {
    max_depth: 1_000_000,
};

/// Tokens that are never given twice in this process.
fn tokens(count: usize) -> Vec<LockToken> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let token = |_| LockToken(u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes());
    (0..count).map(token).collect()
}

fn name(device: usize) -> String {
    format!("dev-{device}")
}

fn message(device: usize, number: u64, ack: AckMode) -> NewMessage {
    let mut message = a_message_to(&name(device), "x");
    message.properties.message_id = Some(number.to_string());
    message.ack = ack;
    message
}

fn number(message: &LockedMessage) -> u64 {
    let id = message.message.properties.message_id.as_deref();
    id.unwrap().parse().unwrap()
}

async fn register(store: &PostgresStore, devices: usize) -> Vec<DeviceKey> {
    let mut keys = Vec::new();
    for device in 0..devices {
        let created = store.create(
            a_hub(),
            an_identity(&name(device)),
            a_device_spec(),
            Actor::operator(),
            noon(),
        );
        keys.push(created.await.unwrap().unwrap().key);
    }
    keys
}

fn complete(held: &LockedMessage) -> Settlement {
    Settlement {
        device: held.message.device,
        sequence: held.message.sequence,
        token: held.lock.token,
        verdict: Verdict::Complete,
    }
}

fn requests(keys: &[DeviceKey], each: usize, until: Timestamp) -> Vec<Receive> {
    let request = |key: &DeviceKey| Receive {
        device: *key,
        tokens: tokens(each),
        locked_until: until,
    };
    keys.iter().map(request).collect()
}

/// What happened to messages, from the answers alone.
#[derive(Default)]
struct Ledger {
    accepted: Mutex<HashMap<SequenceNumber, (DeviceKey, u64)>>,
    held: Mutex<HashSet<SequenceNumber>>,
    completed: Mutex<HashSet<SequenceNumber>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "senders, receivers and the count are one story"
)]
async fn two_nodes_on_the_same_devices_lose_nothing_and_hold_nothing_twice() {
    const DEVICES: usize = 20;
    const ROUNDS: u64 = 30;
    let url = fresh::database().await;
    let stores = [
        fresh::open(fresh::options(&url)).await,
        fresh::open(fresh::options(&url)).await,
    ];
    let keys = register(&stores[0], DEVICES).await;
    let ledger = Ledger::default();
    let sent = AtomicBool::new(false);
    let senders = join_all((0..4_u64).map(|sender| {
        let (store, ledger) = (&stores[usize::try_from(sender % 2).unwrap()], &ledger);
        async move {
            for round in 0..ROUNDS {
                let messages = (0..DEVICES).map(|device| {
                    // Devices in another order for each sender.
                    let device = (device * 7 + usize::try_from(sender).unwrap()) % DEVICES;
                    message(device, sender * ROUNDS + round, AckMode::Full)
                });
                let answers = store
                    .enqueue(messages.collect(), DEEP, noon())
                    .await
                    .unwrap();
                let mut accepted = ledger.accepted.lock();
                for enqueued in answers.into_iter().map(Result::unwrap) {
                    let about = (enqueued.device, sender * ROUNDS + round);
                    assert_eq!(accepted.insert(enqueued.sequence, about), None);
                }
            }
        }
    }));
    let receivers = join_all((0..4_usize).map(|receiver| {
        let (store, ledger, keys, sent) = (&stores[receiver % 2], &ledger, &keys, &sent);
        async move {
            let mut keys = keys.clone();
            if receiver >= 2 {
                keys.reverse();
            }
            loop {
                let is_last = sent.load(Ordering::Acquire);
                let wanted = requests(&keys, 3, noon() + Duration::from_mins(1));
                let received = store.receive(wanted, queue_rules(), noon()).await.unwrap();
                let held: Vec<_> = received.into_iter().flatten().collect();
                for message in &held {
                    assert_eq!(message.message.delivery_count, 0);
                    let is_first = ledger.held.lock().insert(message.message.sequence);
                    assert!(is_first, "handed out twice while it was held");
                }
                if held.is_empty() && is_last {
                    return;
                }
                let settlements = held.iter().rev().map(complete).collect();
                let settled = store
                    .settle(settlements, queue_rules(), noon())
                    .await
                    .unwrap();
                assert!(settled.iter().all(Result::is_ok));
                let mut completed = ledger.completed.lock();
                completed.extend(held.iter().map(|held| held.message.sequence));
            }
        }
    }));
    let sending = async {
        senders.await;
        sent.store(true, Ordering::Release);
    };
    tokio::join!(sending, receivers);
    let accepted: HashSet<_> = ledger.accepted.lock().keys().copied().collect();
    assert_eq!(accepted.len() as u64, 4 * ROUNDS * DEVICES as u64);
    assert_eq!(accepted, *ledger.completed.lock());
    // Each sender's order is the order of sequence numbers, for each device.
    let mut last: BTreeMap<(DeviceKey, u64), u64> = BTreeMap::new();
    let mut ordered: Vec<_> = ledger.accepted.lock().clone().into_iter().collect();
    ordered.sort_unstable_by_key(|(sequence, _)| *sequence);
    for (_, (device, number)) in ordered {
        if let Some(earlier) = last.insert((device, number / ROUNDS), number) {
            assert!(earlier < number);
        }
    }
    // Each end was reported once.
    let request = FeedbackReceive {
        token: tokens(1)[0],
        locked_until: noon() + Duration::from_mins(1),
        flush_count: 10_000,
        flush_interval: Duration::ZERO,
        max_delivery_count: 3,
    };
    let batch = stores[0].receive_feedback(a_hub(), request, noon()).await;
    assert_eq!(batch.unwrap().unwrap().records.len(), accepted.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn competing_receivers_and_sweepers_share_the_work() {
    let url = fresh::database().await;
    let stores = [
        fresh::open(fresh::options(&url)).await,
        fresh::open(fresh::options(&url)).await,
    ];
    let keys = register(&stores[0], 4).await;
    for device in 0..4 {
        let messages = (0..50).map(|n| message(device, n, AckMode::Full)).collect();
        let answers = stores[0].enqueue(messages, DEEP, noon()).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }
    // Half of them lapse, all of them expire later.
    let wanted = requests(&keys, 25, noon() + Duration::from_mins(1));
    stores[0]
        .receive(wanted, queue_rules(), noon())
        .await
        .unwrap();
    let lapse = noon() + Duration::from_mins(1);
    let sweeps = (0..8).map(|n| stores[n % 2].sweep(30, queue_rules(), lapse));
    let mut lapsed = 0;
    for swept in join_all(sweeps).await {
        let swept = swept.unwrap();
        assert_eq!((swept.expired, swept.exhausted), (0, 0));
        lapsed += swept.lapsed.len();
    }
    assert!(lapsed >= 4, "each device was named");
    let end = noon() + Duration::from_hours(1);
    let mut expired = 0;
    while expired < 200 {
        let sweeps = (0..8).map(|n| stores[n % 2].sweep(30, queue_rules(), end));
        let before = expired;
        for swept in join_all(sweeps).await {
            expired += swept.unwrap().expired;
        }
        assert!(expired > before, "the sweeps stopped at {expired}");
    }
    assert_eq!(expired, 200);
    let receives = (0..8).map(|n| {
        let request = FeedbackReceive {
            token: tokens(1)[0],
            locked_until: end + Duration::from_mins(1),
            flush_count: 25,
            flush_interval: Duration::from_hours(1),
            max_delivery_count: 3,
        };
        stores[n % 2].receive_feedback(a_hub(), request, end)
    });
    let mut records = HashSet::new();
    for batch in join_all(receives).await {
        for record in batch
            .unwrap()
            .map(|batch| batch.records)
            .unwrap_or_default()
        {
            let id = (record.device_key, record.original_message_id);
            assert!(records.insert(id), "in two batches");
        }
    }
    assert!(!records.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_races_enqueues_leaves_no_message_behind() {
    let url = fresh::database().await;
    let stores = [
        fresh::open(fresh::options(&url)).await,
        fresh::open(fresh::options(&url)).await,
    ];
    for round in 0..15 {
        register(&stores[0], 1).await;
        let (stores, is_over) = (&stores, &AtomicBool::new(false));
        let senders = (0..4).map(|sender| async move {
            let mut refused = 0;
            while refused == 0 || !is_over.load(Ordering::Acquire) {
                let messages = vec![message(0, 1, AckMode::None); 3];
                let answers = stores[sender % 2].enqueue(messages, DEEP, noon()).await;
                for answer in answers.unwrap() {
                    match answer {
                        Ok(_) => assert_eq!(refused, 0, "accepted after it was gone"),
                        Err(EnqueueError::DeviceNotFound(_)) => refused += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        let deleting = async {
            let wait = stores[0].count(vec![DeviceKey(0)], noon());
            wait.await.unwrap();
            let deleted = stores[round % 2].delete(
                a_hub(),
                an_identity(&name(0)),
                IfMatch::Any,
                Actor::operator(),
                noon(),
            );
            deleted.await.unwrap().unwrap();
            is_over.store(true, Ordering::Release);
        };
        tokio::join!(join_all(senders), deleting);
    }
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM messages")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_dies_in_a_deadlock_is_made_again() {
    let url = fresh::database().await;
    let store = fresh::open(fresh::options(&url)).await;
    let keys = register(&store, 2).await;
    for device in 0..2 {
        let answers = store.enqueue(vec![message(device, 1, AckMode::None)], DEEP, noon());
        answers.await.unwrap().remove(0).unwrap();
    }
    let mut other = PgConnection::connect(&url).await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut other)
        .await
        .unwrap();
    // This session never looks for deadlocks itself, so the store's call is the one that dies.
    let open = "SET deadlock_timeout = '1h'; BEGIN";
    sqlx::raw_sql(open).execute(&mut other).await.unwrap();
    touch(&mut other, keys[1]).await;
    let wanted = requests(&keys, 1, noon() + Duration::from_mins(1));
    let receiving = store.receive(wanted, queue_rules(), noon());
    let opposing = async {
        let mut watch = PgConnection::connect(&url).await.unwrap();
        until_blocked_by(&mut watch, pid).await;
        touch(&mut other, keys[0]).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    };
    let (received, ()) = tokio::join!(receiving, opposing);
    let received = received.unwrap();
    assert!(
        received.iter().all(|received| received.len() == 1),
        "{received:?}"
    );
    let mut watch = PgConnection::connect(&url).await.unwrap();
    let deadlocks: i64 = sqlx::query_scalar(
        "SELECT deadlocks FROM pg_stat_database, pg_stat_clear_snapshot()
         WHERE datname = current_database()",
    )
    .fetch_one(&mut watch)
    .await
    .unwrap();
    assert!(deadlocks >= 1, "there was no deadlock");
}

async fn touch(connection: &mut PgConnection, key: DeviceKey) {
    sqlx::query("UPDATE messages SET hub = hub WHERE device_key = $1")
        .bind(key.0)
        .execute(connection)
        .await
        .unwrap();
}

/// Waits until another session waits for that of `pid`.
async fn until_blocked_by(watch: &mut PgConnection, pid: i32) {
    loop {
        let blocked: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))",
        )
        .bind(pid)
        .fetch_one(&mut *watch)
        .await
        .unwrap();
        if blocked > 0 {
            return;
        }
    }
}

/// Ends all sessions of a store, again and again.
async fn kill_sessions(url: &str, times: usize, progress: &AtomicU64) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for _ in 0..times {
        let before = progress.load(Ordering::Relaxed);
        while progress.load(Ordering::Relaxed) < before + 20 {
            tokio::task::yield_now().await;
        }
        let _: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'victim'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "senders, receivers and the count are one story"
)]
async fn sessions_killed_under_load_cost_no_acknowledged_message() {
    const DEVICES: usize = 8;
    let url = fresh::database().await;
    let options = PostgresOptions {
        application_name: "victim".to_owned(),
        ..fresh::options(&url)
    };
    let store = fresh::open(options).await;
    let keys = register(&store, DEVICES).await;
    let (progress, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let accepted = Mutex::new(HashSet::new());
    let completed = Mutex::new(HashSet::new());
    // Settlements whose outcome nobody knows.
    let unknown = Mutex::new(HashSet::new());
    let failures = AtomicU64::new(0);
    let senders = (0..4).map(|sender| {
        let (store, accepted, is_over) = (Arc::clone(&store), &accepted, &is_over);
        let (progress, failures) = (&progress, &failures);
        async move {
            let mut number = sender;
            while !is_over.load(Ordering::Acquire) {
                number += 4;
                let messages = (0..DEVICES).map(|device| message(device, number, AckMode::Full));
                match store.enqueue(messages.collect(), DEEP, noon()).await {
                    Ok(answers) => {
                        let sequences = answers.into_iter().map(|answer| answer.unwrap().sequence);
                        accepted.lock().extend(sequences);
                    }
                    Err(StoreError::Unavailable(_)) => {
                        failures.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => panic!("{error}"),
                }
                progress.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let receivers = (0..2).map(|_| {
        let (store, keys, is_over) = (Arc::clone(&store), &keys, &is_over);
        let (completed, unknown) = (&completed, &unknown);
        async move {
            while !is_over.load(Ordering::Acquire) {
                let wanted = requests(keys, 4, noon() + Duration::from_mins(1));
                let received = store.receive(wanted, queue_rules(), noon()).await;
                let held: Vec<_> = received.unwrap_or_default().into_iter().flatten().collect();
                let settlements = held.iter().map(complete).collect();
                let sequences = held.iter().map(|held| held.message.sequence);
                match store.settle(settlements, queue_rules(), noon()).await {
                    Ok(answers) => {
                        for (sequence, answer) in sequences.zip(answers) {
                            answer.unwrap();
                            assert!(completed.lock().insert(sequence), "completed twice");
                        }
                    }
                    Err(_) => unknown.lock().extend(sequences),
                }
            }
        }
    });
    let killing = async {
        kill_sessions(&url, 25, &progress).await;
        is_over.store(true, Ordering::Release);
    };
    tokio::join!(join_all(senders), join_all(receivers), killing);
    assert!(
        failures.load(Ordering::Relaxed) > 0,
        "nothing was in the way"
    );
    // What is left, with lapsed locks, is handed out now, by a node with sessions that live.
    let store = fresh::open(fresh::options(&url)).await;
    let later = noon() + Duration::from_mins(2);
    let mut left = HashSet::new();
    loop {
        let wanted = requests(&keys, 500, later + Duration::from_mins(1));
        let received = store.receive(wanted, queue_rules(), later).await.unwrap();
        let before = left.len();
        left.extend(received.iter().flatten().map(|held| held.message.sequence));
        if left.len() == before {
            break;
        }
    }
    let (accepted, completed, unknown) = (
        accepted.into_inner(),
        completed.into_inner(),
        unknown.into_inner(),
    );
    assert!(
        left.is_disjoint(&completed),
        "came back after it was completed"
    );
    let lost: Vec<_> = accepted
        .iter()
        .filter(|it| !left.contains(*it) && !completed.contains(*it) && !unknown.contains(*it))
        .collect();
    assert!(lost.is_empty(), "{} of {} lost", lost.len(), accepted.len());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_neither_stops_nor_spins_the_sweep() {
    let url = fresh::database().await;
    let store = fresh::open(fresh::options(&url)).await;
    register(&store, 1).await;
    let messages = (0..6).map(|n| message(0, n, AckMode::None)).collect();
    let answers = store.enqueue(messages, DEEP, noon()).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for enqueued in answers.iter().take(3) {
        let sequence = i64::try_from(enqueued.as_ref().unwrap().sequence.0).unwrap();
        let break_it = "UPDATE messages SET ack = 9 WHERE sequence = $1";
        let query = sqlx::query(break_it).bind(sequence);
        query.execute(&mut connection).await.unwrap();
    }
    let end = noon() + Duration::from_hours(1);
    let mut expired = 0;
    for _ in 0..6 {
        let swept = store.sweep(1, queue_rules(), end).await.unwrap();
        expired += swept.expired;
    }
    assert_eq!(expired, 3);
    let swept = store.sweep(10, queue_rules(), end).await.unwrap();
    assert!(!swept.more);
    let left = store
        .sweep(10, queue_rules(), end + Duration::from_hours(1))
        .await;
    assert_eq!(left.unwrap().expired, 0, "they are looked at again later");
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_passed_over_by_a_receive() {
    let url = fresh::database().await;
    let store = fresh::open(fresh::options(&url)).await;
    let keys = register(&store, 1).await;
    let messages = (0..3).map(|n| message(0, n, AckMode::None)).collect();
    let answers = store.enqueue(messages, DEEP, noon()).await.unwrap();
    let first = i64::try_from(answers[0].as_ref().unwrap().sequence.0).unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE messages SET properties = 'no JSON' WHERE sequence = $1")
        .bind(first)
        .execute(&mut connection)
        .await
        .unwrap();
    let wanted = requests(&keys, 3, noon() + Duration::from_mins(1));
    let received = store.receive(wanted, queue_rules(), noon()).await.unwrap();
    let numbers: Vec<_> = received[0].iter().map(number).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn a_deep_queue_is_bounded_without_being_counted_for_every_message() {
    let url = fresh::database().await;
    let store = fresh::open(fresh::options(&url)).await;
    let keys = register(&store, 1).await;
    let rules = EnqueueRules { max_depth: 3_000 };
    let batch = |count: u64| {
        (0..count)
            .map(|n| message(0, n, AckMode::None))
            .collect::<Vec<_>>()
    };
    let accepted =
        |answers: &[Result<_, EnqueueError>]| answers.iter().filter(|it| it.is_ok()).count();
    let mut total = 0;
    for _ in 0..7 {
        let answers = store.enqueue(batch(500), rules, noon()).await.unwrap();
        total += accepted(&answers);
    }
    assert_eq!(total, 3_000);
    assert_eq!(store.count(keys.clone(), noon()).await.unwrap(), [3_000]);
    let wanted = requests(&keys, 100, noon() + Duration::from_mins(1));
    let held = store
        .receive(wanted, queue_rules(), noon())
        .await
        .unwrap()
        .remove(0);
    let settlements = held.iter().map(complete).collect();
    let settled = store
        .settle(settlements, queue_rules(), noon())
        .await
        .unwrap();
    assert!(settled.iter().all(Result::is_ok));
    let answers = store.enqueue(batch(200), rules, noon()).await.unwrap();
    assert_eq!(accepted(&answers), 100, "what was settled made room");
}

#[tokio::test]
async fn a_message_id_that_cannot_be_stored_is_refused_alone() {
    let url = fresh::database().await;
    let store = fresh::open(fresh::options(&url)).await;
    register(&store, 1).await;
    let mut bad = message(0, 1, AckMode::None);
    bad.properties.message_id = Some("a\0b".to_owned());
    let mut odd = message(0, 2, AckMode::None);
    odd.properties.user_id = Some("a\0b".to_owned());
    let answers = store.enqueue(vec![bad, odd], DEEP, noon()).await.unwrap();
    assert!(matches!(answers[0], Err(EnqueueError::InvalidProperty(_))));
    assert!(answers[1].is_ok());
}

#[tokio::test]
async fn a_crowd_beyond_the_bound_is_refused_and_one_within_it_waits() {
    let url = fresh::database().await;
    let options = PostgresOptions {
        max_connections: 1,
        max_waiting: 3,
        ..fresh::options(&url)
    };
    let store = fresh::open(options).await;
    let calls = (0..10).map(|_| store.count(vec![DeviceKey(1)], noon()));
    let answers = join_all(calls).await;
    let refused = answers
        .iter()
        .filter(|answer| **answer == Err(StoreError::Overloaded));
    assert_eq!(refused.count(), 6);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 4);
}

#[tokio::test]
async fn a_settlement_after_another_node_took_the_message_over_is_lost() {
    let url = fresh::database().await;
    let stores = [
        fresh::open(fresh::options(&url)).await,
        fresh::open(fresh::options(&url)).await,
    ];
    let keys = register(&stores[0], 1).await;
    let answers = stores[0].enqueue(vec![message(0, 1, AckMode::Full)], DEEP, noon());
    answers.await.unwrap().remove(0).unwrap();
    let lapse = noon() + Duration::from_mins(1);
    let wanted = requests(&keys, 1, lapse);
    let first = stores[0]
        .receive(wanted, queue_rules(), noon())
        .await
        .unwrap();
    // This node's clock is ahead: for it the lock has lapsed.
    let wanted = requests(&keys, 1, lapse + Duration::from_mins(1));
    let second = stores[1]
        .receive(wanted, queue_rules(), lapse)
        .await
        .unwrap();
    for now in [noon(), lapse] {
        let late = stores[0].settle(vec![complete(&first[0][0])], queue_rules(), now);
        assert_eq!(late.await.unwrap(), [Err(SettleError::LockLost)]);
    }
    let settled = stores[1].settle(vec![complete(&second[0][0])], queue_rules(), lapse);
    assert_eq!(settled.await.unwrap(), [Ok(())]);
}

#[tokio::test]
async fn expired_messages_that_are_swept_make_no_room_for_a_second_time() {
    let url = fresh::database().await;
    let store = fresh::open(fresh::options(&url)).await;
    let keys = register(&store, 1).await;
    let rules = EnqueueRules { max_depth: 3_000 };
    let later = noon() + Duration::from_secs(20);
    let batch = |count: u64, expiry: Timestamp| {
        let message = |n| NewMessage {
            expiry: Some(expiry),
            ..message(0, n, AckMode::None)
        };
        (0..count).map(message).collect::<Vec<_>>()
    };
    let short = batch(1_500, noon() + Duration::from_secs(10));
    store.enqueue(short, rules, noon()).await.unwrap();
    let long = || batch(3_000, later + Duration::from_hours(1));
    // Counted without the expired ones, which are there still.
    let answers = store.enqueue(long(), rules, later).await.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    let swept = store.sweep(10_000, queue_rules(), later).await.unwrap();
    assert_eq!(swept.expired, 1_500);
    let answers = store.enqueue(long(), rules, later).await.unwrap();
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(store.count(keys, later).await.unwrap(), [3_000]);
}

#[tokio::test]
async fn administrators_at_several_nodes_take_turns_and_readers_miss_nothing() {
    let url = fresh::database().await;
    let nodes = join_all((0..3).map(|_| fresh::open(fresh::options(&url)))).await;
    let ensured = nodes[0].ensure_hub(a_hub(), vec![an_owner()], noon());
    ensured.await.unwrap();

    // Sixty more than there is room for.
    let writers = (0..MAX_POLICIES + 59).map(|number| {
        let (node, policy) = (&nodes[number % 2], a_policy(&format!("p-{number}")));
        async move {
            let put = node.put_policy(a_hub(), policy, IfMatch::Absent, somebody(), noon());
            put.await.unwrap()
        }
    });
    let is_done = AtomicBool::new(false);
    let reader = async {
        let mut latest = nodes[2].access(a_hub(), None).await.unwrap().unwrap();
        loop {
            let is_last = is_done.load(Ordering::SeqCst);
            let new = nodes[2].access(a_hub(), Some(latest.version)).await;
            if let Some(new) = new.unwrap() {
                assert!(new.version > latest.version);
                // Every write makes one policy; none of a version that was told is missing.
                assert!(new.policies.len() as u64 >= new.version);
                assert!(new.policies.starts_with(&latest.policies));
                latest = new;
            } else if is_last {
                return latest;
            }
            tokio::task::yield_now().await;
        }
    };
    let writers = async {
        let written = join_all(writers).await;
        is_done.store(true, Ordering::SeqCst);
        written
    };
    let (written, latest) = futures::future::join(writers, reader).await;
    let refused = written.iter().filter(|result| result.is_err());
    assert!(refused.clone().count() == 60);
    for refused in refused {
        assert!(*refused == Err(AccessError::TooMany(MAX_POLICIES)));
    }
    assert_eq!(latest.policies.len(), MAX_POLICIES);
    assert_eq!(latest.version, MAX_POLICIES as u64);
    let events = nodes[2].read_after(0, 1_000).await.unwrap();
    let ids: HashSet<_> = events.iter().map(|(_, event)| event.id).collect();
    assert_eq!(ids.len(), MAX_POLICIES - 1);
}
