use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::{GatewayId, HubName};
use downlink_domain::limits::{
    DeviceOperation, HubOperation, LimitKey, LimitOverrides, LimitsChange, LimitsSnapshot,
};
use downlink_ports::{LimitsApi, PeerError, RateShares, StoreError, Wants};
use downlink_presence_memory::MemoryPresence;
use downlink_runtime::telemetry::Metrics;
use downlink_runtime::{Lifecycle, OnError};
use tokio::time::{Instant, sleep};

use super::keeper::LimitsKeeper;
use super::{Limits, LimitsMetrics, LimitsOptions, Throttled};

const SECOND: Duration = Duration::from_secs(1);

fn options(rates: &[(HubOperation, &str)]) -> LimitsOptions {
    let mut options = LimitsOptions::default();
    for (operation, rate) in rates {
        options
            .plan
            .hub
            .set(*operation, Some(rate.parse().unwrap()));
    }
    options
}

fn limits(options: LimitsOptions) -> Arc<Limits> {
    let metrics = LimitsMetrics::new(&Metrics::new("test").unwrap().meter("test"));
    Arc::new(Limits::new(options, metrics))
}

fn telemetry(rate: &str) -> Arc<Limits> {
    limits(options(&[(HubOperation::Telemetry, rate)]))
}

async fn send(limits: &Limits) -> Result<(), Throttled> {
    limits.admit(HubOperation::Telemetry, 1).await
}

fn code(outcome: Result<(), Throttled>) -> ErrorCode {
    outcome.unwrap_err().code()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_limited_is_done_at_once_however_much_it_is() {
    let limits = telemetry("1/h");
    let start = Instant::now();
    for _ in 0..10_000 {
        limits.admit(HubOperation::Registry, 1).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(!limits.is_quiet());
    assert!(Limits::new(LimitsOptions::default(), limits.metrics.clone()).is_quiet());
}

/// What an operation costs for which nothing is stated: one look at a flag, in nanoseconds.
#[tokio::test]
#[ignore = "a measurement: run it in release, with --ignored --nocapture"]
async fn an_operation_without_limits_is_measured() {
    const COUNT: u32 = 10_000_000;
    let limits = limits(LimitsOptions::default());
    let start = std::time::Instant::now();
    for _ in 0..COUNT {
        std::hint::black_box(&limits)
            .admit(HubOperation::Telemetry, 1)
            .await
            .unwrap();
    }
    println!("{} ns", start.elapsed().as_nanos() / u128::from(COUNT));
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_done_at_once_and_what_follows_at_the_rate() {
    let limits = telemetry("10/s burst 20");
    let start = Instant::now();
    for _ in 0..20 {
        send(&limits).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    for _ in 0..30 {
        send(&limits).await.unwrap();
    }
    let elapsed = start.elapsed().as_secs_f64();
    assert!((2.9..=3.1).contains(&elapsed), "{elapsed}");
}

#[tokio::test(start_paused = true)]
async fn what_would_wait_too_long_is_refused_at_once_with_the_time_to_come_again() {
    let limits = telemetry("1/s burst 1");
    let waiting: Vec<_> = (0..6)
        .map(|_| limits.reserve(HubOperation::Telemetry, 1).unwrap())
        .collect();
    let refused = limits.reserve(HubOperation::Telemetry, 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::ThrottlingBacklogTimeout);
    assert_eq!(refused.seconds(), 6);
    drop(waiting);
    // Nothing was taken by the refusal: a turn that is freed by time goes to whoever asks then.
    sleep(SECOND).await;
    assert!(limits.reserve(HubOperation::Telemetry, 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn more_than_may_wait_are_refused_and_leaving_makes_room() {
    let limits = limits(LimitsOptions {
        max_backlog: 3,
        ..options(&[(HubOperation::Telemetry, "10/s burst 1")])
    });
    send(&limits).await.unwrap();
    let mut waiting: Vec<_> = (0..3)
        .map(|_| limits.reserve(HubOperation::Telemetry, 1).unwrap())
        .collect();
    let full = limits.reserve(HubOperation::Telemetry, 1).unwrap_err();
    assert_eq!(full.code(), ErrorCode::ThrottleBacklogLimitExceeded);
    waiting.pop();
    assert!(limits.reserve(HubOperation::Telemetry, 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn refusals_say_so_once_the_rate_was_exceeded_for_long() {
    let limits = telemetry("1/s burst 1");
    let mut codes = Vec::new();
    for _ in 0..90 {
        // Two a second.
        while limits.reserve(HubOperation::Telemetry, 1).is_ok() {}
        codes.push(code(send(&limits).await));
        sleep(SECOND).await;
    }
    assert_eq!(codes[10], ErrorCode::ThrottlingBacklogTimeout);
    assert_eq!(codes[80], ErrorCode::ThrottlingException);
    sleep(10 * SECOND).await;
    send(&limits).await.unwrap();
    while limits.reserve(HubOperation::Telemetry, 1).is_ok() {}
    let again = code(send(&limits).await);
    assert_eq!(again, ErrorCode::ThrottlingBacklogTimeout, "after a rest");
}

#[tokio::test(start_paused = true)]
async fn what_costs_more_than_a_burst_has_its_turn_and_the_next_waits_for_it() {
    let limits = limits(options(&[(HubOperation::MethodCall, "2/s burst 2")]));
    let start = Instant::now();
    let cost = Limits::cost_of_call(128 * 1024);
    assert_eq!((Limits::cost_of_call(0), cost), (1, 32));
    limits.admit(HubOperation::MethodCall, cost).await.unwrap();
    assert_eq!(start.elapsed(), 15 * SECOND);
    limits.admit(HubOperation::MethodCall, 1).await.unwrap();
    assert_eq!(start.elapsed(), 15 * SECOND + SECOND / 2);
}

fn stated(version: u64, rate: &str) -> LimitsSnapshot {
    let key = LimitKey::Hub(HubOperation::Telemetry);
    LimitsSnapshot {
        version,
        overrides: LimitOverrides::of([(key, rate.parse().unwrap())]).unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_stated_holds_at_once_and_an_older_answer_changes_nothing() {
    let limits = telemetry("1/h");
    send(&limits).await.unwrap();
    assert!(send(&limits).await.is_err());
    limits.take(Some(stated(2, "unlimited")));
    for _ in 0..100 {
        send(&limits).await.unwrap();
    }
    limits.take(Some(stated(1, "1/h")));
    send(&limits).await.unwrap();
    limits.take(Some(stated(3, "1/h")));
    send(&limits).await.unwrap();
    assert!(send(&limits).await.is_err());
}

/// States nothing.
struct Silent;

#[async_trait]
impl LimitsApi for Silent {
    async fn limits(
        &self,
        _: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, PeerError> {
        Ok(known.is_none().then(LimitsSnapshot::default))
    }

    async fn change_limits(
        &self,
        _: HubName,
        _: LimitsChange,
        _: IfMatch,
        _: Actor,
    ) -> Result<LimitsSnapshot, PeerError> {
        Err(PeerError::Unavailable { service: "twin" })
    }
}

/// A directory that can go away.
struct Frail {
    presence: MemoryPresence,
    is_away: AtomicBool,
}

#[async_trait]
impl RateShares for Frail {
    async fn exchange(
        &self,
        hub: &HubName,
        gateway: &GatewayId,
        wants: Wants,
        ttl: Duration,
    ) -> Result<Vec<(GatewayId, Wants)>, StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        self.presence.exchange(hub, gateway, wants, ttl).await
    }

    async fn leave(&self, hub: &HubName, gateway: &GatewayId) -> Result<(), StoreError> {
        self.presence.leave(hub, gateway).await
    }
}

/// Gateways of one hub that share its rates.
struct Gateways {
    shares: Arc<Frail>,
    lifecycle: Lifecycle,
    each: Vec<Arc<Limits>>,
}

impl Gateways {
    fn start(count: usize, rate: &str) -> Self {
        let shares = Arc::new(Frail {
            presence: MemoryPresence::new(Timestamp::from_millis(1_767_604_351_412)),
            is_away: AtomicBool::new(false),
        });
        let lifecycle = Lifecycle::new();
        let each = (0..count).map(|number| {
            let limits = telemetry(rate);
            let keeper = LimitsKeeper {
                limits: Arc::clone(&limits),
                api: Arc::new(Silent),
                rates: Arc::clone(&shares) as _,
                hub: "hub.test".parse().unwrap(),
                gateway: format!("gateway-{number}").parse().unwrap(),
            };
            let keeping = keeper.run(lifecycle.clone());
            lifecycle.spawn("keeper", OnError::Log, keeping);
            limits
        });
        let each = each.collect();
        Self {
            shares,
            lifecycle,
            each,
        }
    }

    /// How many operations a second each gateway does that is asked for `offered` a second, over 30 seconds.
    async fn rates(&self, offered: &[u32]) -> Vec<f64> {
        const TICK: Duration = Duration::from_millis(10);
        let mut done = vec![0_u32; offered.len()];
        let mut owed = vec![0_u32; offered.len()];
        for _ in 0..3_000 {
            for (place, offered) in offered.iter().enumerate() {
                owed[place] += offered;
                while owed[place] >= 100 {
                    owed[place] -= 100;
                    let reserved = self.each[place].reserve(HubOperation::Telemetry, 1);
                    // One that waits counts: it is done within a few seconds, as those were that wait at the start.
                    done[place] += u32::from(reserved.is_ok());
                }
            }
            sleep(TICK).await;
        }
        done.iter().map(|done| f64::from(*done) / 30.0).collect()
    }
}

#[track_caller]
fn assert_about(measured: f64, expected: f64) {
    let error = (measured - expected).abs() / expected;
    assert!(error < 0.1, "{measured} of {expected}");
}

#[tokio::test(start_paused = true)]
async fn gateways_together_keep_the_rate_whatever_each_of_them_is_asked_for() {
    for (offered, expected) in [
        // All of them want more than there is.
        (vec![500, 500], vec![50.0, 50.0]),
        // A greedy one takes nothing from one that wants less than its part.
        (vec![5_000, 20], vec![80.0, 20.0]),
        (vec![1_000, 10, 10], vec![80.0, 10.0, 10.0]),
        // One alone has all of it.
        (vec![1_000, 0, 0, 0], vec![100.0]),
        // Nobody is slowed below the rate.
        (vec![40, 40], vec![40.0, 40.0]),
    ] {
        let gateways = Gateways::start(offered.len(), "100/s burst 10");
        // What waits for five seconds is counted when it comes in, so the first are not.
        gateways.rates(&offered).await;
        let measured = gateways.rates(&offered).await;
        for (measured, expected) in measured.iter().zip(&expected) {
            assert_about(*measured, *expected);
        }
        let total: f64 = measured.iter().sum();
        assert_about(total, expected.iter().sum());
    }
}

#[tokio::test(start_paused = true)]
async fn shares_follow_those_who_come_and_go() {
    let gateways = Gateways::start(2, "100/s burst 10");
    for offered in [[1_000, 0], [0, 1_000], [1_000, 1_000]] {
        gateways.rates(&offered).await;
        let measured = gateways.rates(&offered).await;
        assert_about(measured.iter().sum(), 100.0);
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_directory_gateways_keep_their_shares_and_then_take_even_ones() {
    let gateways = Gateways::start(2, "100/s burst 10");
    gateways.rates(&[1_000, 10]).await;
    gateways.shares.is_away.store(true, Ordering::Relaxed);
    sleep(5 * SECOND).await;
    let share = |place: usize| gateways.each[place].lanes[HubOperation::Telemetry.place()].share();
    assert_about(share(0), 90.0);
    gateways.rates(&[1_000, 1_000]).await;
    let measured = gateways.rates(&[1_000, 1_000]).await;
    assert_about(measured[0], 50.0);
    assert_about(measured[1], 50.0);
    gateways.shares.is_away.store(false, Ordering::Relaxed);
    gateways.rates(&[1_000, 10]).await;
    assert_about(gateways.rates(&[1_000, 10]).await[0], 90.0);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_drains_leaves_its_part_to_the_others() {
    let gateways = Gateways::start(2, "100/s burst 10");
    gateways.rates(&[1_000, 1_000]).await;
    gateways.lifecycle.shutdown(SECOND).await;
    let hub: HubName = "hub.test".parse().unwrap();
    let other = "gateway-9".parse().unwrap();
    let wants = [0; HubOperation::COUNT];
    let heard = gateways.shares.exchange(&hub, &other, wants, SECOND).await;
    assert_eq!(heard.unwrap(), [(other, wants)]);
}

#[test]
fn every_class_of_devices_has_a_name_of_its_own() {
    for operation in DeviceOperation::ALL {
        assert_eq!(DeviceOperation::find(operation.name()), Some(*operation));
    }
}
