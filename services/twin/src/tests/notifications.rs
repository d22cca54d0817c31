//! twins.md §5.5.

use std::num::NonZeroUsize;

use downlink_runtime::BatcherOptions;
use futures::future::join_all;
use serde_json::json;

use super::*;
use crate::metrics::Passage;

/// Yields until the lanes have counted `count`; every step is ready without time passing.
async fn await_passages(world: &World, passage: Passage, count: u64) {
    while world.service.metrics.notifications(passage) < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_connected_device_is_told_of_the_patch_and_its_version() {
    let mut world = World::new();
    let device = world.create("dev-1").await;
    world.connect(&device, "gateway-1").await;
    world.patch("dev-1", json!({"rate": 5, "old": null})).await;
    let told = world.changes.recv().await.unwrap();
    assert_eq!((told.device, told.version), (device.key, 2));
    assert_eq!(&told.body[..], br#"{"rate":5,"old":null,"$version":2}"#);
}

#[tokio::test]
async fn versions_reach_the_gateway_in_their_order() {
    let mut world = World::new();
    let mut devices = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let device = world.create(name).await;
        world.connect(&device, "gateway-1").await;
        devices.push((name, device.key));
    }
    let writes = devices
        .iter()
        .flat_map(|(name, _)| (0..20).map(|n| world.patch(name, json!({"n": n}))));
    join_all(writes.collect::<Vec<_>>()).await;
    let mut seen = std::collections::HashMap::new();
    for _ in 0..devices.len() * 20 {
        let told = world.changes.recv().await.unwrap();
        let last = seen.insert(told.device, told.version);
        assert_eq!(told.version, last.unwrap_or(1) + 1);
    }
}

#[tokio::test]
async fn the_writer_does_not_wait_for_the_gateway() {
    let mut world = World::new();
    world.gateway.permits.forget_permits(usize::MAX);
    let device = world.create("dev-1").await;
    world.connect(&device, "gateway-1").await;
    assert_eq!(world.patch("dev-1", json!({"a": 1})).await, 2);
    assert!(world.changes.try_recv().is_err());
    world.gateway.permits.add_permits(1);
    assert_eq!(world.changes.recv().await.unwrap().version, 2);
}

#[tokio::test]
async fn a_full_lane_drops_and_the_writer_is_answered_all_the_same() {
    let one = NonZeroUsize::MIN;
    let mut world = World::with(&TwinOptions {
        notifications: BatcherOptions {
            lanes: one,
            max_items: one,
            queue_items: one,
            ..BatcherOptions::default()
        },
        ..TwinOptions::default()
    });
    world.gateway.permits.forget_permits(usize::MAX);
    let device = world.create("dev-1").await;
    world.connect(&device, "gateway-1").await;
    for n in 0..5 {
        assert_eq!(world.patch("dev-1", json!({"n": n})).await, n + 2);
    }
    await_passages(&world, Passage::Dropped, 1).await;
    world.gateway.permits.add_permits(5);
    let first = world.changes.recv().await.unwrap();
    assert_eq!(first.version, 2);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_not_known_yet_is_told_once_it_is() {
    let mut world = World::new();
    let device = world.create("dev-1").await;
    world.connect(&device, "gateway-1").await;
    *world.gateway.unknown_left.lock() = 3;
    world.patch("dev-1", json!({"a": 1})).await;
    world.patch("dev-1", json!({"a": 2})).await;
    assert_eq!(world.changes.recv().await.unwrap().version, 2);
    assert_eq!(world.changes.recv().await.unwrap().version, 3);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_when_the_device_is_away_or_its_gateway_is_gone() {
    let world = World::new();
    world.create("away").await;
    let lost = world.create("lost").await;
    world.connect(&lost, "gateway-2").await;
    world.patch("away", json!({"a": 1})).await;
    world.patch("lost", json!({"a": 1})).await;
    await_passages(&world, Passage::Absent, 1).await;
    while world.service.metrics.notifications(Passage::Failed) < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn tags_and_reports_tell_nobody() {
    let mut world = World::new();
    let device = world.create("dev-1").await;
    world.connect(&device, "gateway-1").await;
    let tags = TwinChange::Patch {
        tags: Some(object(json!({"site": "zrh"}))),
        desired: None,
        if_match: IfMatch::Any,
    };
    world
        .service
        .update_twin(a_hub(), an_identity("dev-1"), tags)
        .await
        .unwrap();
    let report = TwinChange::Report {
        patch: object(json!({"a": 1})),
        expected_version: None,
    };
    world.service.report(device.key, report).await.unwrap();
    world.patch("dev-1", json!({"a": 1})).await;
    // The first change told is that of the desired properties.
    let told = world.changes.recv().await.unwrap();
    assert_eq!(&told.body[..], br#"{"a":1,"$version":2}"#);
}
