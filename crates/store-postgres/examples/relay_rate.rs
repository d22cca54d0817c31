//! How many events a second the outbox takes and a relay carries, on a fresh server of this machine.
//!
//! `cargo run --release -p downlink-store-postgres --example relay_rate`
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use downlink_domain::event::Event;
use downlink_domain::id::DeviceKey;
use downlink_ports::{EventOutbox, EventRelay, OutboxBounds};
use downlink_runtime::Lifecycle;
use downlink_stack::Postgres;
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use downlink_testkit::{an_event, noon};
use futures::future::join_all;
use sqlx::{Connection, PgConnection};

const DEVICES: u64 = 5_000;
const BATCH: u64 = 500;

fn event(number: u64) -> Event {
    let device = number % DEVICES;
    let mut event = an_event(&format!("sensor-{device}"), 0);
    event.device_key = DeviceKey(i64::try_from(device).expect("few devices"));
    event.id[8..].copy_from_slice(&number.to_be_bytes());
    event.body = Bytes::from(vec![7; 200]);
    event
}

async fn append(store: &PostgresStore, from: u64, count: u64) {
    let writers = (0..8).map(async |writer| {
        let mut at = from + writer * BATCH;
        while at < from + count {
            let batch = (at..at + BATCH).map(event).collect();
            store.append(batch).await.expect("a store that works");
            at += 8 * BATCH;
        }
    });
    join_all(writers).await;
}

/// Claims and removes up to `most` events, in claims of `limit` by `relays` at once.
async fn relay(store: &PostgresStore, relays: usize, limit: u32, most: usize) -> usize {
    let relays = (0..relays).map(async |_| {
        let mut sent = 0;
        while sent < most {
            let claimed = store.claim(limit, Duration::from_mins(1)).await;
            let Some(claimed) = claimed.expect("a store that works") else {
                break;
            };
            let events = claimed.events().len();
            claimed.finish(events).await.expect("a store that works");
            sent += events;
        }
        sent
    });
    join_all(relays).await.into_iter().sum()
}

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let done = work.await;
    println!(
        "{what}: {:.1} ms",
        started.elapsed().as_secs_f64() * 1_000.0
    );
    done
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let url = Postgres::shared().create_database();
    let lifecycle = Lifecycle::new();
    let options = PostgresOptions {
        url: url.clone(),
        migrate: true,
        ..PostgresOptions::default()
    };
    let opened = PostgresStore::open(options, &lifecycle).await;
    let store: Arc<PostgresStore> = opened.expect("a server that works");
    timed("100,000 events appended", append(&store, 0, 100_000)).await;
    timed("relayed by 1", relay(&store, 1, 1_000, usize::MAX)).await;
    timed("100,000 more appended", append(&store, 0, 100_000)).await;
    timed("relayed by 3", relay(&store, 3, 1_000, usize::MAX)).await;

    let mut reader = PgConnection::connect(&url).await.expect("a connection");
    let long = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM outbox";
    let begun = sqlx::raw_sql(long).execute(&mut reader).await;
    begun.expect("a transaction");
    append(&store, 0, 300_000).await;
    timed(
        "300,000 relayed beside a long reader",
        relay(&store, 2, 1_000, usize::MAX),
    )
    .await;
    append(&store, 0, 20_000).await;
    timed(
        "20,000 relayed behind 300,000 dead",
        relay(&store, 2, 1_000, usize::MAX),
    )
    .await;
    timed("one look at nothing", relay(&store, 1, 1_000, 1)).await;
    reader.close().await.expect("a connection");

    append(&store, 0, 1_000_000).await;
    println!("1,000,000 wait");
    timed("backlog", store.backlog())
        .await
        .expect("a store that works");
    timed("one claim of 1,000", relay(&store, 1, 1_000, 1)).await;
    for max_events in [2_000_000, 500_000, 500_000] {
        let bounds = OutboxBounds {
            retention: Duration::from_hours(1),
            max_events,
        };
        let shed = timed("trim", store.trim(bounds, noon())).await;
        println!("  shed {}", shed.expect("a store that works"));
    }
}
