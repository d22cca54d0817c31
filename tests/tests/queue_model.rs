//! Message stores against the reference model of the queue: random commands to both, answers and
//! reports compared after each.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::event::EventKind;
use downlink_domain::id::{DeviceKey, LockToken, SequenceNumber};
use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::model::{Answer, Command, DEVICES, Handed, QueueModel, commands};
use downlink_domain::message::{
    AckMode, DeliveryCounting, MessageState, NewMessage, Properties, QueueRules, Settlement,
    Verdict,
};
use downlink_ports::{
    DeviceRegistry, EnqueueError, EnqueueRules, EventOutbox, FeedbackReceive, FeedbackStore,
    MessageStore, PolicyStore, PurgeOrder, Receive, SettleError,
};
use downlink_runtime::Lifecycle;
use downlink_stack::Postgres;
use downlink_store_embedded::{Store, StoreOptions};
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use downlink_testkit::{MemoryStore, a_device_spec, a_hub, an_identity, noon};
use proptest::prelude::*;
use tokio::runtime::Runtime;

const MAX_DEPTH: u32 = 6;
const SWEEP_LIMIT: u32 = 10_000;

/// What a store must be to be driven.
trait Driven: MessageStore + FeedbackStore + EventOutbox + DeviceRegistry {}

impl<S: MessageStore + FeedbackStore + EventOutbox + DeviceRegistry> Driven for S {}

/// A real store, driven by the model's commands.
struct Driver<'a> {
    store: &'a dyn Driven,
    rules: QueueRules,
    now: Timestamp,
    keys: Vec<DeviceKey>,
    accepted: usize,
    holds: Vec<(DeviceKey, SequenceNumber, LockToken)>,
    next_token: u64,
    purges: u128,
    outbox_position: u64,
}

impl<'a> Driver<'a> {
    async fn start(store: &'a dyn Driven, rules: QueueRules, now: Timestamp) -> Self {
        let mut keys = Vec::new();
        for device in 0..DEVICES {
            let name = an_identity(&device_name(device));
            let created = store
                .create(a_hub(), name, a_device_spec(), Actor::operator(), now)
                .await;
            keys.push(created.unwrap().unwrap().key);
        }
        let mut driver = Self {
            store,
            rules,
            now,
            keys,
            accepted: 0,
            holds: Vec::new(),
            next_token: 0,
            purges: 0,
            outbox_position: 0,
        };
        assert_eq!(driver.take_events().await, Vec::new());
        driver
    }

    async fn run(&mut self, command: &Command) -> Answer {
        match *command {
            Command::Enqueue { device, ack, ttl } => self.enqueue(device, ack, ttl).await,
            Command::Receive {
                device,
                limit,
                lock,
            } => self.receive(device, limit, lock).await,
            Command::Settle { hold, verdict } => self.settle(hold, verdict).await,
            Command::Advance { by } => {
                self.now = self.now + by;
                Answer::Done
            }
            Command::Purge { device } => {
                self.purges += 1;
                let order = PurgeOrder {
                    hub: a_hub(),
                    device: an_identity(&device_name(device)).device,
                    by: Actor::operator(),
                    audit_id: self.purges.to_be_bytes(),
                    at: self.now,
                };
                let purged = self.store.purge(order, self.rules);
                Answer::Purged(purged.await.unwrap().unwrap().removed)
            }
            Command::Sweep => self.sweep().await,
            Command::Count { device } => {
                let counted = self.store.count(vec![self.keys[device]], self.now).await;
                Answer::Counted(counted.unwrap()[0])
            }
        }
    }

    /// The message id is the ticket that the message gets if it is accepted.
    async fn enqueue(&mut self, device: usize, ack: AckMode, ttl: Duration) -> Answer {
        let message = NewMessage {
            hub: a_hub(),
            device: an_identity(&device_name(device)).device,
            properties: Properties {
                message_id: Some(self.accepted.to_string()),
                ..Properties::default()
            },
            ack,
            expiry: Some(self.now + ttl),
            body: Bytes::from(self.accepted.to_string()),
        };
        let rules = EnqueueRules {
            max_depth: MAX_DEPTH,
        };
        let answers = self.store.enqueue(vec![message], rules, self.now).await;
        match answers.unwrap().remove(0) {
            Ok(enqueued) => {
                assert_eq!(enqueued.device, self.keys[device]);
                self.accepted += 1;
                Answer::Accepted(self.accepted - 1)
            }
            Err(EnqueueError::QueueFull { .. }) => Answer::QueueFull,
            Err(error) => panic!("a valid message was refused: {error}"),
        }
    }

    async fn receive(&mut self, device: usize, limit: usize, lock: Duration) -> Answer {
        let tokens: Vec<_> = (0..limit).map(|_| self.token()).collect();
        let until = self.now + lock;
        let request = Receive {
            device: self.keys[device],
            tokens: tokens.clone(),
            locked_until: until,
        };
        let answers = self.store.receive(vec![request], self.rules, self.now);
        let received = answers.await.unwrap().remove(0);
        let mut handed = Vec::new();
        for locked in received {
            let message = &locked.message;
            assert_eq!(message.device, self.keys[device]);
            assert_eq!(message.state, MessageState::Invisible { lock: locked.lock });
            assert_eq!(locked.lock.until, until);
            assert!(tokens.contains(&locked.lock.token));
            let id = message.properties.message_id.as_deref().unwrap();
            assert_eq!(message.body, id);
            handed.push(Handed {
                ticket: id.parse().unwrap(),
                hold: self.holds.len(),
                seen_delivery_count: message.delivery_count,
            });
            self.holds
                .push((message.device, message.sequence, locked.lock.token));
        }
        Answer::Received(handed)
    }

    async fn settle(&mut self, hold: usize, verdict: Verdict) -> Answer {
        if self.holds.is_empty() {
            return Answer::LockLost;
        }
        let (device, sequence, token) = self.holds[hold % self.holds.len()];
        let settlement = Settlement {
            device,
            sequence,
            token,
            verdict,
        };
        let settled = self.store.settle(vec![settlement], self.rules, self.now);
        match settled.await.unwrap().remove(0) {
            Ok(()) => Answer::Settled,
            Err(SettleError::LockLost) => Answer::LockLost,
        }
    }

    async fn sweep(&mut self) -> Answer {
        let swept = self.store.sweep(SWEEP_LIMIT, self.rules, self.now).await;
        let swept = swept.unwrap();
        assert!(!swept.more);
        let place = |key| self.keys.iter().position(|own| *own == key).unwrap();
        let mut lapsed: Vec<_> = swept.lapsed.into_iter().map(place).collect();
        lapsed.sort_unstable();
        Answer::Swept {
            expired: swept.expired,
            exhausted: swept.exhausted,
            lapsed,
        }
    }

    fn token(&mut self) -> LockToken {
        self.next_token += 1;
        LockToken(u128::from(self.next_token).to_be_bytes())
    }

    /// Takes the records that the feedback queue got since the last call, sorted.
    async fn take_reports(&mut self) -> Vec<(usize, FeedbackStatus)> {
        let request = FeedbackReceive {
            token: self.token(),
            locked_until: self.now + Duration::from_mins(1),
            flush_count: 1_000,
            flush_interval: Duration::ZERO,
            max_delivery_count: 10,
        };
        let batch = self.store.receive_feedback(a_hub(), request, self.now);
        let Some(batch) = batch.await.unwrap() else {
            return Vec::new();
        };
        let settled = self
            .store
            .settle_feedback(a_hub(), batch.token, Verdict::Complete, self.now);
        settled.await.unwrap().unwrap();
        let records = batch.records.into_iter().map(|record| {
            let ticket = record.original_message_id.unwrap();
            (ticket.parse().unwrap(), record.status)
        });
        let mut reports: Vec<_> = records.collect();
        reports.sort_by_key(|(ticket, _)| *ticket);
        reports
    }

    /// Takes the devices of the feedback events that the outbox got since the last call.
    async fn take_events(&mut self) -> Vec<DeviceKey> {
        let events = self.store.read_after(self.outbox_position, 1_000);
        let mut devices = Vec::new();
        for (position, event) in events.await.unwrap() {
            self.outbox_position = position;
            if event.kind == EventKind::Feedback {
                devices.push(event.device_key);
            }
        }
        devices
    }
}

fn device_name(device: usize) -> String {
    format!("device-{device}")
}

async fn check(
    store: &dyn Driven,
    counting: DeliveryCounting,
    commands: &[Command],
) -> Result<(), TestCaseError> {
    let rules = QueueRules {
        counting,
        max_delivery_count: 3,
        feedback_ttl: Duration::from_hours(1),
    };
    let mut model = QueueModel::new(rules, u64::from(MAX_DEPTH), noon());
    let mut driver = Driver::start(store, rules, noon()).await;
    for command in commands {
        let expected = model.run(command);
        prop_assert_eq!(driver.run(command).await, expected, "{:?}", command);
        let expected = model.take_reports();
        let reports = driver.take_reports().await;
        prop_assert_eq!(&reports, &expected, "{:?}", command);
        let events = driver.take_events().await;
        prop_assert_eq!(events.len(), expected.len(), "{:?}", command);
    }
    Ok(())
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #[test]
    fn the_store_in_memory_follows_the_model_when_deliveries_count(commands in commands(100)) {
        let store = MemoryStore::new();
        runtime().block_on(check(&store, DeliveryCounting::Deliveries, &commands))?;
    }

    #[test]
    fn the_store_in_memory_follows_the_model_when_abandons_count(commands in commands(100)) {
        let store = MemoryStore::new();
        runtime().block_on(check(&store, DeliveryCounting::Abandons, &commands))?;
    }
}

/// Drives an embedded store on a file of its own.
async fn check_embedded(
    counting: DeliveryCounting,
    commands: &[Command],
) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let lifecycle = Lifecycle::new();
    let path = folder.path().join("hub.db");
    let opened = Store::open(&path, StoreOptions::default(), &lifecycle).await;
    let store = opened.unwrap();
    let hub = store.ensure_hub(a_hub(), Vec::new(), noon()).await;
    hub.unwrap();
    let checked = check(&*store, counting, commands).await;
    store.close().await;
    checked
}

proptest! {
    // Fewer: each command of these waits for a disk.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_embedded_store_follows_the_model_when_deliveries_count(commands in commands(100)) {
        runtime().block_on(check_embedded(DeliveryCounting::Deliveries, &commands))?;
    }

    #[test]
    fn the_embedded_store_follows_the_model_when_abandons_count(commands in commands(100)) {
        runtime().block_on(check_embedded(DeliveryCounting::Abandons, &commands))?;
    }
}

/// Drives a store on a database of its own.
async fn check_postgres(
    counting: DeliveryCounting,
    commands: &[Command],
) -> Result<(), TestCaseError> {
    let lifecycle = Lifecycle::new();
    let options = PostgresOptions {
        url: Postgres::shared().create_database(),
        migrate: true,
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(options, &lifecycle).await.unwrap();
    let checked = check(&*store, counting, commands).await;
    lifecycle.shutdown(Duration::from_secs(10)).await;
    checked
}

proptest! {
    // Fewer: each case of these makes a database.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_postgres_store_follows_the_model_when_deliveries_count(commands in commands(100)) {
        runtime().block_on(check_postgres(DeliveryCounting::Deliveries, &commands))?;
    }

    #[test]
    fn the_postgres_store_follows_the_model_when_abandons_count(commands in commands(100)) {
        runtime().block_on(check_postgres(DeliveryCounting::Abandons, &commands))?;
    }
}
