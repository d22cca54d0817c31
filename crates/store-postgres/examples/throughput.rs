//! Prints how many messages a second pass through the store, beside the same row writes done raw
//! on the same database, at several batch sizes.
//!
//! `cargo run --release --example throughput -p downlink-store-postgres -- [URL] [callers]`; without
//! a URL on a server of its own, which runs without `fsync`. Each caller works on one batch after
//! another, each message of a batch for another device. About twenty seconds.
#![expect(
    clippy::print_stdout,
    reason = "what it finds is for whoever started it"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::device::{Authentication, DeviceSpec};
use downlink_domain::id::{DeviceId, DeviceKey, HubName, IdentityName};
use downlink_domain::message::{
    AckMode, DeliveryCounting, NewMessage, Properties, QueueRules, Settlement, Verdict,
};
use downlink_ports::{Clock, DeviceRegistry, EnqueueRules, IdSource, MessageStore, Receive};
use downlink_runtime::{Lifecycle, RandomIds, SystemClock};
use downlink_stack::Postgres;
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::task::JoinSet;

/// How long each measurement takes.
const ROUND: Duration = Duration::from_millis(1_500);
const BODY_BYTES: usize = 100;
/// Devices of one caller, as many as the largest batch.
const DEVICES: usize = 100;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let url = match arguments.next() {
        Some(url) => url,
        None => Postgres::shared().create_database(),
    };
    let callers = arguments.next().map_or(Ok(8), |text| text.parse())?;
    let options = PostgresOptions {
        url: url.clone(),
        migrate: true,
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(options, &Lifecycle::new()).await?;
    let mut watch = PgConnection::connect(&url).await?;
    let raw = PgPool::connect(&url).await?;
    let callers: Vec<_> = register(&store, callers).await?;
    println!("{} callers, {BODY_BYTES} bytes each", callers.len());
    println!(
        "batch    store msg/s    raw msg/s    store/raw    calls, writes, WAL bytes/msg (raw WAL)"
    );
    for batch in [1, 10, 100] {
        let before = Counters::read(&mut watch).await?;
        let through = measure(&callers, |caller| caller.through_store(batch)).await?;
        let between = Counters::read(&mut watch).await?;
        let plain = measure(&callers, |caller| caller.raw(raw.clone(), batch)).await?;
        let after = Counters::read(&mut watch).await?;
        let (used, raw_used) = (between.since(&before), after.since(&between));
        println!(
            "{batch:>5}    {:>11.0}    {:>9.0}    {:>9.2}    {:.2}, {:.2}, {:.0} ({:.0})",
            through.rate,
            plain.rate,
            through.rate / plain.rate,
            used.statements / through.messages,
            used.writes / through.messages,
            used.wal_bytes / through.messages,
            raw_used.wal_bytes / plain.messages,
        );
    }
    Ok(())
}

struct Measured {
    rate: f64,
    messages: f64,
}

async fn measure<F>(callers: &[Arc<Caller>], run: impl Fn(Arc<Caller>) -> F) -> Outcome<Measured>
where
    F: Future<Output = Outcome<u32>> + Send + 'static,
{
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(run(Arc::clone(caller)));
    }
    let mut messages = 0;
    while let Some(done) = tasks.join_next().await {
        messages += done??;
    }
    let messages = f64::from(messages);
    Ok(Measured {
        rate: messages / started.elapsed().as_secs_f64(),
        messages,
    })
}

/// What the server counted.
struct Counters {
    statements: f64,
    writes: f64,
    wal_bytes: f64,
}

impl Counters {
    async fn read(watch: &mut PgConnection) -> Outcome<Self> {
        // Sessions report what they did when they are idle for a moment.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let (statements, writes, wal_bytes) = sqlx::query_as(
            "SELECT xact_commit::float8,
                (tup_inserted + tup_updated + tup_deleted)::float8,
                (pg_current_wal_lsn() - '0/0')::float8
             FROM pg_stat_database, pg_stat_clear_snapshot()
             WHERE datname = current_database()",
        )
        .fetch_one(watch)
        .await?;
        Ok(Self {
            statements,
            writes,
            wal_bytes,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            statements: self.statements - before.statements,
            writes: self.writes - before.writes,
            wal_bytes: self.wal_bytes - before.wal_bytes,
        }
    }
}

/// One sender and receiver with its devices.
struct Caller {
    store: Arc<PostgresStore>,
    hub: HubName,
    devices: Vec<(DeviceId, DeviceKey)>,
}

async fn register(store: &Arc<PostgresStore>, callers: usize) -> Outcome<Vec<Arc<Caller>>> {
    let hub: HubName = "hub.downlink.test".parse()?;
    let run = SystemClock.now().as_millis();
    let mut registered = Vec::with_capacity(callers);
    for caller in 0..callers {
        let created = (0..DEVICES).map(|device| {
            let name = format!("dev-{run}-{caller}-{device}");
            let hub = hub.clone();
            async move {
                let id: DeviceId = name.parse()?;
                let spec = DeviceSpec::of(Authentication::CertificateAuthority);
                let identity = IdentityName::from(id.clone());
                let created = store
                    .create(hub, identity, spec, Actor::operator(), SystemClock.now())
                    .await??;
                Outcome::Ok((id, created.key))
            }
        });
        registered.push(Arc::new(Caller {
            store: Arc::clone(store),
            hub: hub.clone(),
            devices: futures::future::try_join_all(created).await?,
        }));
    }
    Ok(registered)
}

impl Caller {
    async fn through_store(self: Arc<Self>, batch: usize) -> Outcome<u32> {
        let until = Instant::now() + ROUND;
        let mut messages = 0;
        while Instant::now() < until {
            self.pass(batch).await?;
            messages += u32::try_from(batch)?;
        }
        Ok(messages)
    }

    /// A batch enqueued, received and completed.
    async fn pass(&self, batch: usize) -> Outcome<()> {
        let now = SystemClock.now();
        let devices = &self.devices[..batch];
        let messages = devices.iter().map(|(device, _)| NewMessage {
            hub: self.hub.clone(),
            device: device.clone(),
            properties: Properties {
                message_id: Some("0123456789abcdef".to_owned()),
                ..Properties::default()
            },
            ack: AckMode::None,
            expiry: Some(now + Duration::from_hours(1)),
            body: Bytes::from_static(&[b'x'; BODY_BYTES]),
        });
        let depth = EnqueueRules { max_depth: 50 };
        let answers = self.store.enqueue(messages.collect(), depth, now).await?;
        for answer in answers {
            answer?;
        }
        let requests = devices.iter().map(|(_, key)| Receive {
            device: *key,
            tokens: vec![RandomIds.lock_token()],
            locked_until: now + Duration::from_mins(1),
        });
        let held = self.store.receive(requests.collect(), rules(), now).await?;
        let settlements = held.iter().flatten().map(|held| Settlement {
            device: held.message.device,
            sequence: held.message.sequence,
            token: held.lock.token,
            verdict: Verdict::Complete,
        });
        let settled = self
            .store
            .settle(settlements.collect(), rules(), now)
            .await?;
        assert_eq!(settled.len(), batch, "every message was handed out");
        for answer in settled {
            answer?;
        }
        Ok(())
    }

    /// The same rows written without looking at anything: what the database gives at most.
    async fn raw(self: Arc<Self>, pool: PgPool, batch: usize) -> Outcome<u32> {
        const UPDATE: &str = "UPDATE messages SET delivery_count = 1, lock_token = $3,
                locked_until = $4, due_at = $4
             FROM unnest($1::bigint[], $2::bigint[]) AS item (device_key, sequence)
             WHERE messages.device_key = item.device_key AND messages.sequence = item.sequence";
        const DELETE: &str = "DELETE FROM messages
             USING unnest($1::bigint[], $2::bigint[]) AS item (device_key, sequence)
             WHERE messages.device_key = item.device_key AND messages.sequence = item.sequence";
        const INSERT: &str = "INSERT INTO messages (device_key, sequence, hub, enqueued_at, expiry,
                due_at, ack, message_id, body)
             SELECT device_key, nextval('message_numbers'), $2, $3, $4, $4, 0, '0123456789abcdef',
                $5 FROM unnest($1::bigint[]) AS item (device_key)
             RETURNING sequence";
        let mut connection = pool.acquire().await?;
        let settings = "SET enable_seqscan = off; SET enable_hashjoin = off;
            SET enable_mergejoin = off; SET enable_bitmapscan = off; SET jit = off;
            SET plan_cache_mode = force_generic_plan";
        sqlx::raw_sql(AssertSqlSafe(settings))
            .execute(&mut *connection)
            .await?;
        let keys: Vec<i64> = self.devices[..batch].iter().map(|(_, key)| key.0).collect();
        let until = Instant::now() + ROUND;
        let mut messages = 0;
        while Instant::now() < until {
            let now = SystemClock.now();
            let sequences: Vec<i64> = sqlx::query_scalar(INSERT)
                .bind(&keys)
                .bind(self.hub.as_str())
                .bind(now.as_millis())
                .bind((now + Duration::from_hours(1)).as_millis())
                .bind(&[b'x'; BODY_BYTES][..])
                .fetch_all(&mut *connection)
                .await?;
            sqlx::query(UPDATE)
                .bind(&keys)
                .bind(&sequences)
                .bind(&[7_u8; 16][..])
                .bind((now + Duration::from_mins(1)).as_millis())
                .execute(&mut *connection)
                .await?;
            sqlx::query(DELETE)
                .bind(&keys)
                .bind(&sequences)
                .execute(&mut *connection)
                .await?;
            messages += u32::try_from(batch)?;
        }
        Ok(messages)
    }
}

fn rules() -> QueueRules {
    QueueRules {
        counting: DeliveryCounting::Deliveries,
        max_delivery_count: 10,
        feedback_ttl: Duration::from_hours(1),
    }
}
