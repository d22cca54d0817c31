//! twins.md §3–§5.

use futures::future::join_all;
use serde_json::json;

use super::*;

fn report(values: Value, expected_version: Option<u64>) -> TwinChange {
    TwinChange::Report {
        patch: object(values),
        expected_version,
    }
}

#[tokio::test]
async fn a_twin_is_read_with_its_identity() {
    let world = World::new();
    let device = world.create("dev-1").await;
    let view = world
        .service
        .get_twin(a_hub(), an_identity("dev-1"))
        .await
        .unwrap();
    assert_eq!(view.device, device);
    assert_eq!(view.twin.etag_text(), "AAAAAAAAAAE=");
    let missing = world.service.get_twin(a_hub(), an_identity("nobody")).await;
    assert_eq!(code(missing), ErrorCode::DeviceNotFound);
}

#[tokio::test]
async fn versions_are_read_by_position_and_rise_with_every_write() {
    let world = World::new();
    let first = world.create("dev-1").await.key;
    let second = world.create("dev-2").await.key;
    world.patch("dev-2", json!({"a": 1})).await;
    let devices = vec![second, DeviceKey(i64::MAX), first];
    let versions = world.service.find_twin_versions(devices).await.unwrap();
    assert_eq!(versions, [Some(3), None, Some(2)]);
}

#[tokio::test]
async fn a_stale_etag_is_refused_with_the_recorded_text() {
    let world = World::new();
    world.create("dev-1").await;
    world.patch("dev-1", json!({"a": 1})).await;
    let change = patch(json!({"a": 2}), IfMatch::Etag("AAAAAAAAAAE=".into()));
    let refused = world
        .service
        .update_twin(a_hub(), an_identity("dev-1"), change)
        .await;
    let error = refused.unwrap_err();
    assert_eq!(error.code(), ErrorCode::PreconditionFailed);
    assert_eq!(error.to_string(), "ETag mismatch for device ID 'dev-1'");
}

#[tokio::test]
async fn a_broken_rule_is_refused_and_nothing_is_written() {
    let world = World::new();
    world.create("dev-1").await;
    let change = patch(json!({"fine": 1, "not.fine": 2}), IfMatch::Any);
    let refused = world
        .service
        .update_twin(a_hub(), an_identity("dev-1"), change)
        .await;
    assert_eq!(code(refused), ErrorCode::ArgumentInvalid);
    let view = world
        .service
        .get_twin(a_hub(), an_identity("dev-1"))
        .await
        .unwrap();
    assert_eq!(view.twin.version, 2);
}

#[tokio::test]
async fn a_report_is_answered_with_its_version_and_seen_at_once() {
    let world = World::new();
    let device = world.create("dev-1").await;
    let version = world
        .service
        .report(device.key, report(json!({"on": true}), None))
        .await;
    assert_eq!(version, Ok(2));
    let view = world
        .service
        .get_twin(a_hub(), an_identity("dev-1"))
        .await
        .unwrap();
    assert_eq!(view.twin.reported.values["on"], json!(true));
    assert_eq!(view.twin.etag, 1);
    let own = world.service.get_own_twin(device.key).await.unwrap();
    assert_eq!(own, view.twin);
}

#[tokio::test]
async fn a_report_on_another_version_or_of_nobody_is_refused() {
    let world = World::new();
    let device = world.create("dev-1").await;
    let stale = world
        .service
        .report(device.key, report(json!({"a": 1}), Some(7)))
        .await;
    assert_eq!(code(stale), ErrorCode::PreconditionFailed);
    let gone = world
        .service
        .report(DeviceKey(999), report(json!({"a": 1}), None))
        .await;
    assert_eq!(code(gone), ErrorCode::DeviceNotFound);
}

#[tokio::test]
async fn neither_side_writes_what_is_the_other_s() {
    let world = World::new();
    let device = world.create("dev-1").await;
    let by_service = report(json!({"a": 1}), None);
    let refused = world
        .service
        .update_twin(a_hub(), an_identity("dev-1"), by_service)
        .await;
    assert_eq!(code(refused), ErrorCode::InvalidOperation);
    let by_device = patch(json!({"a": 1}), IfMatch::Any);
    assert_eq!(
        code(world.service.report(device.key, by_device).await),
        ErrorCode::InvalidOperation
    );
}

#[tokio::test]
async fn thirty_parallel_writers_with_star_all_succeed() {
    let world = World::new();
    world.create("dev-1").await;
    let key = |index: u32| format!("k{index}");
    let writes = (0..30).map(|index| world.patch("dev-1", json!({key(index): index})));
    let mut versions = join_all(writes).await;
    versions.sort_unstable();
    assert_eq!(versions, (2..=31).collect::<Vec<u64>>());
    let view = world
        .service
        .get_twin(a_hub(), an_identity("dev-1"))
        .await
        .unwrap();
    assert_eq!(view.twin.desired.values.len(), 30);
}
