//! Whom the queue wakes, and that nobody waits for it.

use std::time::Duration;

use downlink_domain::id::DeviceKey;
use downlink_domain::message::Verdict;
use downlink_domain::presence::Subscriptions;
use downlink_ports::{PresenceDirectory, QueueApi};
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
