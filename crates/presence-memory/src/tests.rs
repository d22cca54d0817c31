use std::collections::HashMap;

use downlink_domain::Timestamp;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Subscriptions};
use downlink_ports::{Connected, PresenceDirectory, PresenceWatch, StoreError};
use futures::FutureExt;
use proptest::prelude::*;

use crate::{MAX_WATCHES, MemoryPresence};

const DEVICE: DeviceKey = DeviceKey(7);

fn presence() -> MemoryPresence {
    MemoryPresence::new(Timestamp::from_millis(1_767_604_351_412))
}

/// The answer of a method that never waits.
#[track_caller]
fn now<T>(future: impl Future<Output = Result<T, StoreError>>) -> T {
    future.now_or_never().expect("does not wait").unwrap()
}

fn connect(presence: &MemoryPresence, device: DeviceKey, connection: u64) -> Connected {
    let gateway: GatewayId = "gateway-1".parse().unwrap();
    now(presence.connect(device, gateway, ConnectionId(connection), Protocol::Mqtt))
}

#[test]
fn epochs_rise_across_disconnects_and_restarts() {
    let started_at = Timestamp::from_millis(1_767_604_351_412);
    let first_life = MemoryPresence::new(started_at);
    let first = connect(&first_life, DEVICE, 1).epoch;
    now(first_life.disconnect(vec![(DEVICE, first)]));
    let second = connect(&first_life, DEVICE, 2).epoch;
    let next_life = MemoryPresence::new(started_at + std::time::Duration::from_millis(1));
    let third = connect(&next_life, DEVICE, 1).epoch;
    assert!(first < second && second < third);
}

#[test]
fn a_watch_sees_the_change_that_came_after_it_was_made() {
    let presence = presence();
    let mut watch = now(presence.watch(DEVICE));
    let connected = connect(&presence, DEVICE, 1);
    let route = watch.changed().now_or_never().expect("a change waits");
    assert_eq!(route.unwrap().epoch, connected.epoch);
    assert!(
        watch.changed().now_or_never().is_none(),
        "one change, one return"
    );

    let subscriptions = Subscriptions {
        methods: true,
        ..Subscriptions::default()
    };
    now(presence.subscribe(DEVICE, connected.epoch, subscriptions));
    let route = watch.changed().now_or_never().expect("a change waits");
    assert_eq!(route.unwrap().subscriptions, subscriptions);

    now(presence.disconnect(vec![(DEVICE, connected.epoch)]));
    let route = watch.changed().now_or_never().expect("a change waits");
    assert_eq!(route, None);
}

#[test]
fn a_watch_is_silent_about_what_was_before_it_and_about_other_devices() {
    let presence = presence();
    connect(&presence, DEVICE, 1);
    let mut watch = now(presence.watch(DEVICE));
    connect(&presence, DeviceKey(8), 2);
    assert!(watch.changed().now_or_never().is_none());
}

#[test]
fn the_entry_of_a_watched_device_ends_with_its_last_watch() {
    let presence = presence();
    let first = now(presence.watch(DEVICE));
    let mut second = now(presence.watch(DEVICE));
    drop(first);
    assert_eq!(presence.watched_device_count(), 1);
    connect(&presence, DEVICE, 1);
    assert!(second.changed().now_or_never().is_some());
    drop(second);
    assert_eq!(
        (presence.watched_device_count(), presence.watch_count()),
        (0, 0)
    );
}

#[test]
fn watches_beyond_the_bound_are_refused_until_one_is_dropped() {
    let presence = presence();
    let mut watches: Vec<Box<dyn PresenceWatch>> = (0..MAX_WATCHES)
        .map(|_| now(presence.watch(DEVICE)))
        .collect();
    let refused = presence
        .watch(DEVICE)
        .now_or_never()
        .expect("does not wait");
    assert!(matches!(refused, Err(StoreError::Overloaded)));
    watches.pop();
    now(presence.watch(DEVICE));
}

#[derive(Clone, Debug)]
enum Step {
    Connect(i64),
    /// Disconnects with the n-th epoch ever given to the device, counted from the newest.
    Disconnect(i64, usize),
    Subscribe(i64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let device = 0..4_i64;
    prop_oneof![
        device.clone().prop_map(Step::Connect),
        (device.clone(), 0..3_usize).prop_map(|(d, n)| Step::Disconnect(d, n)),
        (device, 0..3_usize).prop_map(|(d, n)| Step::Subscribe(d, n)),
    ]
}

/// What the directory must hold: all epochs ever given and the current one, if any.
#[derive(Default)]
struct Expected {
    epochs: Vec<LeaseEpoch>,
    current: Option<(LeaseEpoch, Subscriptions)>,
}

impl Expected {
    fn nth_newest(&self, n: usize) -> Option<LeaseEpoch> {
        self.epochs.iter().rev().nth(n).copied()
    }
}

fn take(step: &Step, presence: &MemoryPresence, model: &mut HashMap<i64, Expected>) {
    let wanted = Subscriptions {
        c2d: true,
        ..Subscriptions::default()
    };
    match *step {
        Step::Connect(device) => {
            let expected = model.entry(device).or_default();
            let connected = connect(presence, DeviceKey(device), 1);
            assert!(expected.epochs.iter().all(|epoch| *epoch < connected.epoch));
            let superseded = connected.superseded.map(|route| route.epoch);
            assert_eq!(superseded, expected.current.map(|(epoch, _)| epoch));
            expected.epochs.push(connected.epoch);
            expected.current = Some((connected.epoch, Subscriptions::default()));
        }
        Step::Disconnect(device, n) => {
            let expected = model.entry(device).or_default();
            let Some(epoch) = expected.nth_newest(n) else {
                return;
            };
            now(presence.disconnect(vec![(DeviceKey(device), epoch)]));
            expected.current = expected.current.filter(|(current, _)| *current != epoch);
        }
        Step::Subscribe(device, n) => {
            let expected = model.entry(device).or_default();
            let Some(epoch) = expected.nth_newest(n) else {
                return;
            };
            now(presence.subscribe(DeviceKey(device), epoch, wanted));
            if let Some((current, subscriptions)) = &mut expected.current
                && *current == epoch
            {
                *subscriptions = wanted;
            }
        }
    }
}

proptest! {
    #[test]
    fn the_highest_epoch_wins_whatever_the_order(steps in prop::collection::vec(step(), 1..60)) {
        let presence = presence();
        let mut model = HashMap::new();
        let mut watches: Vec<_> = (0..4).map(|d| now(presence.watch(DeviceKey(d)))).collect();
        let mut seen = vec![None; 4];
        for step in &steps {
            take(step, &presence, &mut model);
            let keys: Vec<_> = (0..4).map(DeviceKey).collect();
            let routes = now(presence.lookup(&keys));
            for (index, route) in routes.iter().enumerate() {
                let device = i64::try_from(index).unwrap();
                let held = route.as_ref().map(|route| (route.epoch, route.subscriptions));
                prop_assert_eq!(held, model.entry(device).or_default().current);
                // A watch returns exactly when the route differs from what it last told.
                let changed = watches[index].changed().now_or_never();
                prop_assert_eq!(changed.is_some(), *route != seen[index]);
                if let Some(told) = changed {
                    prop_assert_eq!(&told, route);
                    seen[index] = told;
                }
            }
            let connected = routes.iter().flatten().count();
            prop_assert_eq!(now(presence.connected_count()), u64::try_from(connected).unwrap());
        }
    }
}
