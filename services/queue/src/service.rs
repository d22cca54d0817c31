//! The service as one object: what its use cases share, and the API they make up.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, DeviceKey, HubName, LockToken};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{NewMessage, Settlement, Verdict};
use downlink_ports::{
    Clock, EnqueueError, Enqueued, EventOutbox, FeedbackStore, Gateways, IdSource, LockedMessage,
    MessageStore, PeerError, PresenceDirectory, PurgeOutcome, QueueApi, Receive, ReceiveCall,
    SettleError, StoreError,
};
use downlink_runtime::{Batcher, Lifecycle, OnError};
use opentelemetry::metrics::Meter;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::batching::{CallError, Lanes};
use crate::config::QueueOptions;
use crate::error::{no_answer, store_failed};
use crate::feedback::FeedbackWaiters;
use crate::metrics::QueueMetrics;
use crate::relay::{Arrivals, RelayDeps};
use crate::wake::{self, Wakes};
use crate::{enqueue, events, expire, feedback, purge, receive, relay, settle};

/// What the service calls.
#[derive(Clone)]
pub struct QueueDeps {
    /// Messages.
    pub messages: Arc<dyn MessageStore>,
    /// Feedback queues of the hubs.
    pub feedback: Arc<dyn FeedbackStore>,
    /// Events.
    pub outbox: Arc<dyn EventOutbox>,
    /// Where events go, if anywhere; without it they stay in the outbox, within its bounds.
    pub relay: Option<RelayDeps>,
    /// Who is connected where.
    pub presence: Arc<dyn PresenceDirectory>,
    /// Whom to wake.
    pub gateways: Arc<dyn Gateways>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Lock tokens, and the jitter of the sweeper.
    pub ids: Arc<dyn IdSource>,
    /// Where metrics are declared.
    pub meter: Meter,
}

/// What the use cases share.
pub(crate) struct Shared {
    pub(crate) options: QueueOptions,
    pub(crate) deps: QueueDeps,
    pub(crate) metrics: QueueMetrics,
    pub(crate) wakes: Wakes,
    pub(crate) feedback: FeedbackWaiters,
    pub(crate) arrivals: Arrivals,
    /// Asks the sweeper for a sweep before its time.
    pub(crate) sweep_now: Notify,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) drain: CancellationToken,
}

/// The queue service. Clones are the same service.
#[derive(Clone)]
pub struct QueueService {
    shared: Arc<Shared>,
    enqueues: Lanes<NewMessage, Result<Enqueued, EnqueueError>>,
    receives: Lanes<Receive, Vec<LockedMessage>>,
    settlements: Lanes<Settlement, Result<(), SettleError>>,
}

impl QueueService {
    /// Starts the lanes, the sweeper and the waker in the scope `lifecycle`.
    ///
    /// When the scope drains, calls that are under way finish, waiting feedback receivers are
    /// answered with nothing, and later calls are refused as unavailable.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(options: QueueOptions, deps: QueueDeps, lifecycle: &Lifecycle) -> Self {
        let batches = options.batches;
        let shared = Arc::new(Shared {
            metrics: QueueMetrics::declare(&deps.meter),
            wakes: Wakes::new(options.wake.max_pending, options.wake.max_calls),
            feedback: FeedbackWaiters::new(options.feedback.max_waiting),
            arrivals: Arrivals::default(),
            sweep_now: Notify::new(),
            lifecycle: lifecycle.clone(),
            drain: lifecycle.drain_token(),
            options,
            deps,
        });
        let of = |shared: &Arc<Shared>| Arc::clone(shared);
        let own = of(&shared);
        let enqueues = Batcher::start(lifecycle, "queue enqueue lane", batches, move |groups| {
            enqueue::commit(Arc::clone(&own), groups)
        });
        let own = of(&shared);
        let receives = Batcher::start(lifecycle, "queue receive lane", batches, move |groups| {
            receive::lock(Arc::clone(&own), groups)
        });
        let own = of(&shared);
        let settlements = Batcher::start(lifecycle, "queue settle lane", batches, move |groups| {
            settle::commit(Arc::clone(&own), groups)
        });
        lifecycle.spawn("queue waker", OnError::Shutdown, wake::run(of(&shared)));
        lifecycle.spawn("queue sweeper", OnError::Shutdown, expire::run(of(&shared)));
        lifecycle.spawn(
            "outbox trimmer",
            OnError::Shutdown,
            events::run_trimmer(of(&shared)),
        );
        if let Some(deps) = shared.deps.relay.clone() {
            relay::start(&shared, deps, lifecycle);
        }
        Self {
            shared,
            enqueues,
            receives,
            settlements,
        }
    }

    /// Asks for a sweep now instead of at the next tick; returns at once.
    pub fn trigger_sweep(&self) {
        self.shared.sweep_now.notify_one();
    }
}

impl Shared {
    /// Takes note of `count` messages that ended, each perhaps with a record and its event: tells
    /// those who wait for feedback, and the relay.
    pub(crate) fn on_outcomes(&self, count: usize) {
        if count == 0 {
            return;
        }
        let flush_count = self.options.feedback.flush_count;
        self.feedback.on_outcomes(count, flush_count);
        self.arrivals.announce();
    }

    /// Turns a failed call into what its caller is told.
    pub(crate) fn call_failed(&self, operation: &'static str, error: CallError) -> PeerError {
        match error {
            CallError::Submit(error) => no_answer(error),
            CallError::Store(error) => self.store_failed(operation, error),
        }
    }

    /// Counts and logs a store failure and turns it into what the caller is told.
    pub(crate) fn store_failed(&self, operation: &'static str, error: StoreError) -> PeerError {
        self.metrics.store_failures.increment();
        store_failed(operation, error)
    }
}

#[async_trait]
impl QueueApi for QueueService {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, PeerError> {
        enqueue::accept(&self.shared, &self.enqueues, messages).await
    }

    async fn receive(&self, calls: Vec<ReceiveCall>) -> Result<Vec<Vec<LockedMessage>>, PeerError> {
        receive::receive(&self.shared, &self.receives, calls).await
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(), SettleError>>, PeerError> {
        settle::settle(&self.shared, &self.settlements, settlements).await
    }

    async fn record_events(&self, events: Vec<Event>) -> Result<(), PeerError> {
        events::record(&self.shared, events).await
    }

    async fn purge(
        &self,
        hub: HubName,
        device: DeviceId,
        by: Actor,
    ) -> Result<PurgeOutcome, PeerError> {
        purge::purge(&self.shared, hub, device, by).await
    }

    async fn count(&self, devices: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError> {
        purge::count(&self.shared, devices).await
    }

    async fn receive_feedback(
        &self,
        hub: HubName,
        wait: Duration,
    ) -> Result<Option<FeedbackBatch>, PeerError> {
        feedback::receive(&self.shared, hub, wait).await
    }

    async fn settle_feedback(
        &self,
        hub: HubName,
        token: LockToken,
        verdict: Verdict,
    ) -> Result<Result<(), SettleError>, PeerError> {
        feedback::settle(&self.shared, hub, token, verdict).await
    }
}
