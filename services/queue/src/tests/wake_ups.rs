//! Whom the queue wakes, and that nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::message::Verdict;
use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};
use downlink_ports::{
    Connected, Disconnect, GatewayApi, Gateways, MethodDelivery, Notify, PeerError,
    PresenceDirectory, PresenceWatch, QueueApi, Restored, StoreError,
};
use downlink_testkit::{a_message, a_message_to};

use super::support::{Bench, DEVICE, c2d, settle_down, watched};
use crate::{QueueOptions, WakeOptions};

#[tokio::test]
async fn the_gateway_of_a_listening_device_is_woken_after_the_commit() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.connect(device, c2d()).await;
    bench.send(a_message()).await;
    assert_eq!(bench.next_wake().await, [device]);
    assert_eq!(bench.count(device).await, 1);
}

#[tokio::test]
async fn a_batch_for_many_devices_of_one_gateway_makes_one_call() {
    let bench = Bench::start();
    let mut devices = Vec::new();
    let mut messages = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let device = bench.register(name).await;
        bench.connect(device, c2d()).await;
        devices.push(device);
        messages.push(a_message_to(name, "open"));
        messages.push(a_message_to(name, "close"));
    }
    bench.service.enqueue(messages).await.unwrap();
    let mut woken = bench.wakes_so_far().await;
    woken.sort_unstable();
    assert_eq!(woken, devices);
}

#[tokio::test]
async fn a_device_that_does_not_listen_is_not_woken() {
    let bench = Bench::start();
    let absent = bench.register("absent").await;
    let deaf = bench.register("deaf").await;
    let methods_only = Subscriptions {
        methods: true,
        ..Subscriptions::default()
    };
    bench.connect(deaf, methods_only).await;
    bench.send(a_message_to("absent", "open")).await;
    bench.send(a_message_to("deaf", "open")).await;
    assert_eq!(bench.wakes_so_far().await, Vec::<DeviceKey>::new());
    assert_eq!(
        bench.service.count(vec![absent, deaf]).await.unwrap(),
        [1, 1]
    );
    assert_eq!(
        bench.metric("downlink_queue_wakes_total{outcome=\"absent\"}"),
        2
    );
}

#[tokio::test]
async fn a_message_that_is_given_back_wakes_the_device() {
    for verdict in [
        Verdict::Abandon,
        Verdict::ReleaseDelivered,
        Verdict::ReleaseUndelivered,
    ] {
        let bench = Bench::start();
        let device = bench.register(DEVICE).await;
        bench.send(watched("open")).await;
        assert_eq!(bench.wakes_so_far().await, Vec::<DeviceKey>::new());
        let held = bench.receive_one(device).await;
        bench.connect(device, c2d()).await;
        bench.settle(&held, verdict).await.unwrap();
        assert_eq!(bench.next_wake().await, [device], "{verdict:?}");
    }
}

#[tokio::test]
async fn a_completed_message_wakes_nobody() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    settle_down().await;
    bench.connect(device, c2d()).await;
    let held = bench.receive_one(device).await;
    bench.settle(&held, Verdict::Complete).await.unwrap();
    assert_eq!(bench.wakes_so_far().await, Vec::<DeviceKey>::new());
}

#[tokio::test]
async fn a_sweep_wakes_the_devices_whose_locks_lapsed() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    bench.receive_one(device).await;
    bench.connect(device, c2d()).await;
    bench.clock.advance(Duration::from_mins(1));
    assert_eq!(bench.next_wake().await, [device]);
}

#[tokio::test]
async fn a_sweep_that_is_asked_for_does_not_wait_for_its_tick() {
    let mut options = QueueOptions::default();
    options.sweep.interval = Duration::from_hours(24);
    let bench = Bench::start_with(options);
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    bench.receive_one(device).await;
    bench.connect(device, c2d()).await;
    bench.clock.advance(Duration::from_mins(1));
    assert_eq!(bench.wakes_so_far().await, Vec::<DeviceKey>::new());
    bench.service.trigger_sweep();
    assert_eq!(bench.next_wake().await, [device]);
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_delays_no_sender() {
    let bench = Bench::start_with(QueueOptions {
        wake: WakeOptions {
            max_calls: 1,
            ..WakeOptions::default()
        },
        max_depth: 1_000,
        ..QueueOptions::default()
    });
    let device = bench.register(DEVICE).await;
    bench.connect(device, c2d()).await;
    // The gateway's mailbox holds one wake-up; nobody reads it.
    for _ in 0..100 {
        bench.send(a_message()).await;
        settle_down().await;
    }
    assert_eq!(bench.count(device).await, 100);
    // One call is in the mailbox, one on its way, and the rest folded into one that waits.
    assert_eq!(bench.wakes_so_far().await, [device; 3]);
}

#[tokio::test]
async fn a_wake_up_beyond_the_bound_on_calls_waits_for_one_to_end() {
    let bench = Bench::start_with(QueueOptions {
        wake: WakeOptions {
            max_calls: 1,
            ..WakeOptions::default()
        },
        ..QueueOptions::default()
    });
    let mut devices = Vec::new();
    // The first call ends, the second is on its way, for the third there is no call left.
    for name in ["a", "b", "c"] {
        let device = bench.register(name).await;
        bench.connect(device, c2d()).await;
        bench.send(a_message_to(name, "open")).await;
        settle_down().await;
        devices.push(device);
    }
    assert_eq!(bench.wakes_so_far().await, devices);
}

#[tokio::test]
async fn a_device_that_disconnected_is_not_looked_for_at_its_old_gateway() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    let epoch = bench.connect(device, c2d()).await;
    let gone = vec![(device, epoch)];
    bench.presence.disconnect(gone).await.unwrap();
    bench.send(a_message()).await;
    assert_eq!(bench.wakes_so_far().await, Vec::<DeviceKey>::new());
}

/// The bench's presence, which at first does not answer.
struct Mute {
    inner: Arc<dyn PresenceDirectory>,
    lookups_to_fail: AtomicU32,
}

#[async_trait]
impl PresenceDirectory for Mute {
    async fn connect(
        &self,
        device: DeviceKey,
        gateway: GatewayId,
        connection: ConnectionId,
        protocol: Protocol,
    ) -> Result<Connected, StoreError> {
        self.inner
            .connect(device, gateway, connection, protocol)
            .await
    }

    async fn subscribe(
        &self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        subscriptions: Subscriptions,
    ) -> Result<(), StoreError> {
        self.inner.subscribe(device, epoch, subscriptions).await
    }

    async fn disconnect(&self, devices: Vec<(DeviceKey, LeaseEpoch)>) -> Result<(), StoreError> {
        self.inner.disconnect(devices).await
    }

    async fn restore(&self, entries: Vec<(DeviceKey, Route)>) -> Result<Vec<Restored>, StoreError> {
        self.inner.restore(entries).await
    }

    async fn lookup(&self, devices: &[DeviceKey]) -> Result<Vec<Option<Route>>, StoreError> {
        let left = self.lookups_to_fail.load(Ordering::SeqCst);
        if left == 0 {
            return self.inner.lookup(devices).await;
        }
        self.lookups_to_fail.store(left - 1, Ordering::SeqCst);
        if left.is_multiple_of(2) {
            // Long enough to be given up.
            tokio::time::sleep(Duration::from_hours(1)).await;
        }
        Err(StoreError::Unavailable("away".to_owned()))
    }

    async fn watch(&self, device: DeviceKey) -> Result<Box<dyn PresenceWatch>, StoreError> {
        self.inner.watch(device).await
    }

    async fn connected_count(&self) -> Result<u64, StoreError> {
        self.inner.connected_count().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_fails_is_made_again_until_presence_answers() {
    let bench = Bench::start_changed(QueueOptions::default(), |deps| {
        deps.presence = Arc::new(Mute {
            inner: Arc::clone(&deps.presence),
            lookups_to_fail: AtomicU32::new(20),
        });
    });
    let device = bench.register(DEVICE).await;
    bench.connect(device, c2d()).await;
    bench.send(a_message()).await;
    assert_eq!(bench.next_wake().await, [device]);
    assert_eq!(
        bench.metric("downlink_queue_wakes_total{outcome=\"retried\"}"),
        20
    );
}

/// Gateways of which one is not known at first, or refuses.
struct Late {
    inner: Arc<dyn Gateways>,
    finds_to_fail: AtomicU32,
    calls_to_fail: Arc<AtomicU32>,
}

impl Gateways for Late {
    fn find(&self, gateway: &GatewayId) -> Option<Arc<dyn GatewayApi>> {
        let left = self.finds_to_fail.load(Ordering::SeqCst);
        if left > 0 {
            self.finds_to_fail.store(left - 1, Ordering::SeqCst);
            return None;
        }
        Some(Arc::new(Refusing {
            inner: self.inner.find(gateway)?,
            calls_to_fail: Arc::clone(&self.calls_to_fail),
        }))
    }
}

struct Refusing {
    inner: Arc<dyn GatewayApi>,
    calls_to_fail: Arc<AtomicU32>,
}

#[async_trait]
impl GatewayApi for Refusing {
    async fn wake(&self, devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        let left = self.calls_to_fail.load(Ordering::SeqCst);
        if left > 0 {
            self.calls_to_fail.store(left - 1, Ordering::SeqCst);
            return Err(PeerError::Unavailable { service: "gateway" });
        }
        self.inner.wake(devices).await
    }

    async fn invoke(&self, delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        self.inner.invoke(delivery).await
    }

    async fn notify(&self, changes: Vec<Notify>) -> Result<(), PeerError> {
        self.inner.notify(changes).await
    }

    async fn disconnect(&self, orders: Vec<Disconnect>) -> Result<(), PeerError> {
        self.inner.disconnect(orders).await
    }
}

fn bench_with_late_gateway(finds: u32, calls: u32) -> Bench {
    Bench::start_changed(QueueOptions::default(), |deps| {
        deps.gateways = Arc::new(Late {
            inner: Arc::clone(&deps.gateways),
            finds_to_fail: AtomicU32::new(finds),
            calls_to_fail: Arc::new(AtomicU32::new(calls)),
        });
    })
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_not_known_yet_or_fails_is_tried_again() {
    for (finds, calls) in [(3, 0), (0, 3), (2, 3)] {
        let bench = bench_with_late_gateway(finds, calls);
        let device = bench.register(DEVICE).await;
        bench.connect(device, c2d()).await;
        bench.send(a_message()).await;
        assert_eq!(bench.next_wake().await, [device]);
        assert_eq!(
            bench.metric("downlink_queue_wakes_total{outcome=\"retried\"}"),
            u64::from(finds + calls)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stays_unknown_is_given_up_after_a_few_tries() {
    let bench = bench_with_late_gateway(u32::MAX, 0);
    let device = bench.register(DEVICE).await;
    bench.connect(device, c2d()).await;
    bench.send(a_message()).await;
    let failed = "downlink_queue_wakes_total{outcome=\"failed\"}";
    while bench.metric(failed) == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(
        bench.metric("downlink_queue_wakes_total{outcome=\"retried\"}"),
        5
    );
}
