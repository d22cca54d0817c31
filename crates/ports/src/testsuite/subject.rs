//! What the suite is run on, and short ways to use it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::device::Device;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceKey, LockToken};
use downlink_domain::message::feedback::{FeedbackBatch, FeedbackRecord, FeedbackStatus};
use downlink_domain::message::{NewMessage, QueueRules, Settlement, Verdict};

use super::given;
use crate::{
    AccessStore, ConnectionStore, DeviceRegistry, EnqueueError, EnqueueRules, Enqueued,
    EventOutbox, EventRelay, FeedbackReceive, FeedbackStore, JobStore, LimitsStore, LockedMessage,
    MessageStore, PolicyStore, Receive, SessionStore, SettleError, Swept, TwinQueries, TwinStore,
};

/// Fresh, empty stores of one adapter that share one truth.
pub struct Subject {
    /// Messages.
    pub messages: Arc<dyn MessageStore>,
    /// Feedback of those messages.
    pub feedback: Arc<dyn FeedbackStore>,
    /// Identities.
    pub registry: Arc<dyn DeviceRegistry>,
    /// Connections of those identities.
    pub connections: Arc<dyn ConnectionStore>,
    /// Twins of those identities.
    pub twins: Arc<dyn TwinStore>,
    /// Those twins, found by what is in them.
    pub queries: Arc<dyn TwinQueries>,
    /// Sessions of those identities.
    pub sessions: Arc<dyn SessionStore>,
    /// Hubs.
    pub policies: Arc<dyn PolicyStore>,
    /// Policies and certificate authorities.
    pub access: Arc<dyn AccessStore>,
    /// Limits.
    pub limits: Arc<dyn LimitsStore>,
    /// Jobs.
    pub jobs: Arc<dyn JobStore>,
    /// Events of all of them.
    pub outbox: Arc<dyn EventOutbox>,
    /// The way out for those events.
    pub relay: Arc<dyn EventRelay>,
    tokens: AtomicU64,
    _guard: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// Wraps a store that implements every port; `guard` lives as long as the subject.
    pub fn of<S>(store: Arc<S>, guard: impl Any + Send + Sync) -> Self
    where
        S: MessageStore + FeedbackStore + DeviceRegistry + ConnectionStore + TwinStore,
        S: LimitsStore + TwinQueries,
        S: JobStore + SessionStore + PolicyStore + AccessStore + EventOutbox + EventRelay + 'static,
    {
        Self {
            messages: Arc::clone(&store) as _,
            feedback: Arc::clone(&store) as _,
            registry: Arc::clone(&store) as _,
            connections: Arc::clone(&store) as _,
            twins: Arc::clone(&store) as _,
            queries: Arc::clone(&store) as _,
            sessions: Arc::clone(&store) as _,
            policies: Arc::clone(&store) as _,
            access: Arc::clone(&store) as _,
            limits: Arc::clone(&store) as _,
            jobs: Arc::clone(&store) as _,
            outbox: Arc::clone(&store) as _,
            relay: store,
            tokens: AtomicU64::new(1),
            _guard: Box::new(guard),
        }
    }

    /// A token that was not given before.
    pub fn token(&self) -> LockToken {
        let number = self.tokens.fetch_add(1, Ordering::Relaxed);
        LockToken(u128::from(number).to_be_bytes())
    }

    /// Registers a device of the usual hub at noon.
    pub async fn register(&self, device: &str) -> Device {
        let name = given::an_identity(device);
        self.registry
            .create(
                given::a_hub(),
                name,
                given::a_device_spec(),
                given::somebody(),
                given::noon(),
            )
            .await
            .expect("a store that works")
            .expect("a name that is free")
    }

    /// Enqueues one message at `now` in a queue of the usual depth.
    pub async fn enqueue(
        &self,
        message: NewMessage,
        now: Timestamp,
    ) -> Result<Enqueued, EnqueueError> {
        self.enqueue_all(vec![message], 50, now).await.remove(0)
    }

    /// Enqueues messages in queues of at most `max_depth`.
    pub async fn enqueue_all(
        &self,
        messages: Vec<NewMessage>,
        max_depth: u32,
        now: Timestamp,
    ) -> Vec<Result<Enqueued, EnqueueError>> {
        self.messages
            .enqueue(messages, EnqueueRules { max_depth }, now)
            .await
            .expect("a store that works")
    }

    /// Receives up to `limit` messages by the usual rules, locked for a minute.
    pub async fn receive(
        &self,
        device: DeviceKey,
        limit: usize,
        now: Timestamp,
    ) -> Vec<LockedMessage> {
        self.receive_by(given::queue_rules(), device, limit, now)
            .await
    }

    /// Receives up to `limit` messages by `rules`, locked for a minute.
    pub async fn receive_by(
        &self,
        rules: QueueRules,
        device: DeviceKey,
        limit: usize,
        now: Timestamp,
    ) -> Vec<LockedMessage> {
        let request = self.request(device, limit, now);
        self.messages
            .receive(vec![request], rules, now)
            .await
            .expect("a store that works")
            .remove(0)
    }

    /// A request for up to `limit` messages, locked for a minute.
    pub fn request(&self, device: DeviceKey, limit: usize, now: Timestamp) -> Receive {
        Receive {
            device,
            tokens: (0..limit).map(|_| self.token()).collect(),
            locked_until: now + Duration::from_mins(1),
        }
    }

    /// Settles one held message by the usual rules.
    pub async fn settle(
        &self,
        held: &LockedMessage,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<(), SettleError> {
        self.settle_by(given::queue_rules(), held, verdict, now)
            .await
    }

    /// Settles one held message by `rules`.
    pub async fn settle_by(
        &self,
        rules: QueueRules,
        held: &LockedMessage,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<(), SettleError> {
        self.messages
            .settle(vec![settlement(held, verdict)], rules, now)
            .await
            .expect("a store that works")
            .remove(0)
    }

    /// Sweeps at most `limit` messages by the usual rules.
    pub async fn sweep(&self, limit: u32, now: Timestamp) -> Swept {
        self.messages
            .sweep(limit, given::queue_rules(), now)
            .await
            .expect("a store that works")
    }

    /// How many messages wait for the device.
    pub async fn count(&self, device: DeviceKey, now: Timestamp) -> u64 {
        let counts = self.messages.count(vec![device], now).await;
        counts.expect("a store that works")[0]
    }

    /// Asks for a feedback batch of the usual hub: two records, or one that waited 15 seconds.
    pub async fn receive_feedback(&self, now: Timestamp) -> Option<FeedbackBatch> {
        let request = self.feedback_request(2, now);
        self.feedback
            .receive_feedback(given::a_hub(), request, now)
            .await
            .expect("a store that works")
    }

    /// A request for a batch of at most `flush_count`, held for a minute, three deliveries.
    pub fn feedback_request(&self, flush_count: u32, now: Timestamp) -> FeedbackReceive {
        FeedbackReceive {
            token: self.token(),
            locked_until: now + Duration::from_mins(1),
            flush_count,
            flush_interval: Duration::from_secs(15),
            max_delivery_count: 3,
        }
    }

    /// Settles a feedback batch of the usual hub.
    pub async fn settle_feedback(
        &self,
        token: LockToken,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<(), SettleError> {
        self.feedback
            .settle_feedback(given::a_hub(), token, verdict, now)
            .await
            .expect("a store that works")
    }

    /// Takes all feedback of the usual hub out of its queue; what the batches say.
    pub async fn take_feedback(&self, now: Timestamp) -> Vec<FeedbackRecord> {
        let later = now + Duration::from_secs(15);
        let mut records = Vec::new();
        while let Some(batch) = self.receive_feedback(later).await {
            records.extend(batch.records);
            let settled = self
                .settle_feedback(batch.token, Verdict::Complete, later)
                .await;
            assert_eq!(settled, Ok(()));
        }
        records
    }

    /// As [`Self::take_feedback`], the outcomes alone.
    pub async fn take_outcomes(&self, now: Timestamp) -> Vec<FeedbackStatus> {
        let records = self.take_feedback(now).await;
        records.into_iter().map(|record| record.status).collect()
    }

    /// All events of a kind, oldest first.
    pub async fn events(&self, kind: EventKind) -> Vec<Event> {
        let events = self.outbox.read_after(0, 10_000).await;
        let events = events.expect("a store that works").into_iter();
        events
            .map(|(_, event)| event)
            .filter(|event| event.kind == kind)
            .collect()
    }
}

/// The settlement of a held message.
pub(super) fn settlement(held: &LockedMessage, verdict: Verdict) -> Settlement {
    Settlement {
        device: held.message.device,
        sequence: held.message.sequence,
        token: held.lock.token,
        verdict,
    }
}
