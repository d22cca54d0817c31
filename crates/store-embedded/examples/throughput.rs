//! Prints how many messages a second pass through the store, at several batch sizes.
//!
//! `cargo run --release --example throughput -p downlink-store-embedded [callers]`: each caller
//! has a device of its own and sends, receives and settles batches one after another. Ten seconds
//! at most.
#![expect(
    clippy::print_stdout,
    reason = "what it finds is for whoever started it"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Authentication, DeviceSpec};
use downlink_domain::id::{DeviceKey, HubName, LockToken};
use downlink_domain::message::{
    AckMode, DeliveryCounting, NewMessage, Properties, QueueRules, Settlement, Verdict,
};
use downlink_ports::{
    Clock, DeviceRegistry, EnqueueRules, IdSource, LockedMessage, MessageStore, Receive,
};
use downlink_runtime::{Lifecycle, RandomIds, SystemClock};
use downlink_store_embedded::{Store, StoreOptions};
use tokio::task::JoinSet;

/// How long each of the three batch sizes is measured; enqueue alone takes the other third.
const ROUND: Duration = Duration::from_millis(1_500);
const BODY_BYTES: usize = 100;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let callers = std::env::args().nth(1).map_or(Ok(8), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let lifecycle = Lifecycle::new();
    let started = Instant::now();
    let path = folder.path().join("hub.db");
    let store = Store::open(&path, StoreOptions::default(), &lifecycle).await?;
    println!("opened in {:?}, {callers} callers", started.elapsed());
    for batch in [1, 10, 100] {
        let whole = measure(&store, callers, batch, Path::Whole).await;
        let enqueue = measure(&store, callers, batch, Path::EnqueueAlone).await;
        println!(
            "batch {batch:>3}: {whole:>7.0} messages/s enqueued, received and completed; \
             {enqueue:>7.0} messages/s enqueued alone"
        );
    }
    store.close().await;
    Ok(())
}

/// How much of a message's life is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    Whole,
    EnqueueAlone,
}

async fn measure(store: &Arc<Store>, callers: usize, batch: usize, path: Path) -> f64 {
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for caller in 0..callers {
        let caller = Caller::register(store, caller, batch, path).await;
        tasks.spawn(caller.run(started + ROUND));
    }
    let messages: usize = tasks.join_all().await.into_iter().sum();
    let messages = u32::try_from(messages).unwrap_or(u32::MAX);
    f64::from(messages) / started.elapsed().as_secs_f64()
}

/// One sender with its device.
struct Caller {
    store: Arc<Store>,
    hub: HubName,
    name: String,
    key: DeviceKey,
    batch: usize,
    path: Path,
}

impl Caller {
    async fn register(store: &Arc<Store>, number: usize, batch: usize, path: Path) -> Self {
        let hub: HubName = "hub.downlink.test".parse().expect("a valid host name");
        let half = if path == Path::Whole { "w" } else { "e" };
        let name = format!("dev-{half}-{batch}-{number}");
        let spec = DeviceSpec::of(Authentication::CertificateAuthority);
        let identity = name.parse::<downlink_domain::id::DeviceId>();
        let identity = identity.expect("a valid id").into();
        let created = store.create(
            hub.clone(),
            identity,
            spec,
            Actor::operator(),
            SystemClock.now(),
        );
        let created = created.await.expect("a store that works");
        Self {
            store: Arc::clone(store),
            hub,
            name,
            key: created.expect("a new name").key,
            batch,
            path,
        }
    }

    async fn run(self, until: Instant) -> usize {
        let mut messages = 0;
        while Instant::now() < until {
            self.enqueue().await;
            if self.path == Path::Whole {
                let held = self.receive().await;
                self.settle(held).await;
            }
            messages += self.batch;
        }
        messages
    }

    async fn enqueue(&self) {
        let now = SystemClock.now();
        let message = NewMessage {
            hub: self.hub.clone(),
            device: self.name.parse().expect("a valid id"),
            properties: Properties {
                message_id: Some("0123456789abcdef".to_owned()),
                ..Properties::default()
            },
            ack: AckMode::None,
            expiry: Some(now + Duration::from_hours(1)),
            body: Bytes::from_static(&[b'x'; BODY_BYTES]),
        };
        let rules = EnqueueRules {
            max_depth: u32::MAX,
        };
        let accepted = self.store.enqueue(vec![message; self.batch], rules, now);
        let accepted = accepted.await.expect("a store that works");
        assert!(accepted.iter().all(Result::is_ok), "every message has room");
    }

    async fn receive(&self) -> Vec<LockedMessage> {
        let now: Timestamp = SystemClock.now();
        let tokens: Vec<LockToken> = (0..self.batch).map(|_| RandomIds.lock_token()).collect();
        let request = Receive {
            device: self.key,
            tokens,
            locked_until: now + Duration::from_mins(1),
        };
        let received = self.store.receive(vec![request], rules(), now);
        let held = received.await.expect("a store that works").remove(0);
        assert_eq!(held.len(), self.batch, "every message is handed out");
        held
    }

    async fn settle(&self, held: Vec<LockedMessage>) {
        let settlements = held.into_iter().map(|held| Settlement {
            device: held.message.device,
            sequence: held.message.sequence,
            token: held.lock.token,
            verdict: Verdict::Complete,
        });
        let settled = self
            .store
            .settle(settlements.collect(), rules(), SystemClock.now());
        let settled = settled.await.expect("a store that works");
        assert!(settled.iter().all(Result::is_ok), "every lock holds");
    }
}

fn rules() -> QueueRules {
    QueueRules {
        counting: DeliveryCounting::Deliveries,
        max_delivery_count: 10,
        feedback_ttl: Duration::from_hours(1),
    }
}
