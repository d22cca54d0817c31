//! registry.md §2.2, §2.3.

use std::time::Duration;

use downlink_domain::device::{Authentication, DeviceStatus, SymmetricKeys};
use downlink_domain::presence::DisconnectReason;

use super::*;

fn stale() -> IfMatch {
    IfMatch::Etag("c3RhbGU=".into())
}

fn disabled() -> DeviceSpec {
    DeviceSpec {
        status: DeviceStatus::Disabled,
        ..a_device_spec()
    }
}

fn rotated() -> DeviceSpec {
    DeviceSpec {
        authentication: Authentication::Sas(SymmetricKeys {
            primary: vec![1; 32],
            secondary: vec![9; 32],
        }),
        ..a_device_spec()
    }
}

#[tokio::test]
async fn a_put_without_condition_creates_once() {
    let world = World::new();
    let device = world.create("dev-1").await;
    assert_eq!(device.status, DeviceStatus::Enabled);
    let again = world.put("dev-1", a_device_spec(), IfMatch::Absent).await;
    assert_eq!(code(again), ErrorCode::DeviceAlreadyExists);
}

#[tokio::test]
async fn a_put_with_star_or_the_current_etag_replaces() {
    let world = World::new();
    let device = world.create("dev-1").await;
    let next = world.put("dev-1", disabled(), IfMatch::Any).await.unwrap();
    assert_eq!(
        (next.etag, next.status),
        (device.etag + 1, DeviceStatus::Disabled)
    );
    let current = IfMatch::Etag(next.etag_text());
    let last = world.put("dev-1", a_device_spec(), current).await.unwrap();
    assert_eq!(
        (last.etag, last.status),
        (device.etag + 2, DeviceStatus::Enabled)
    );
    assert_eq!(last.key, device.key);
}

#[tokio::test]
async fn a_put_with_a_stale_etag_is_refused() {
    let world = World::new();
    world.create("dev-1").await;
    let refused = world.put("dev-1", disabled(), stale()).await;
    assert_eq!(code(refused), ErrorCode::PreconditionFailed);
}

#[tokio::test]
async fn a_conditional_put_of_a_missing_device_finds_none() {
    let world = World::new();
    for condition in [IfMatch::Any, stale()] {
        let refused = world.put("nobody", a_device_spec(), condition).await;
        assert_eq!(code(refused), ErrorCode::DeviceNotFound);
    }
}

#[tokio::test]
async fn a_delete_needs_a_condition_that_holds() {
    let world = World::new();
    let device = world.create("dev-1").await;
    let delete = |name: &str, if_match: IfMatch| {
        world
            .service
            .delete_device(a_hub(), an_identity(name), if_match, somebody())
    };
    assert_eq!(
        code(delete("dev-1", IfMatch::Absent).await),
        ErrorCode::PreconditionFailed
    );
    assert_eq!(
        code(delete("dev-1", stale()).await),
        ErrorCode::PreconditionFailed
    );
    for condition in [IfMatch::Absent, IfMatch::Any, stale()] {
        assert_eq!(
            code(delete("nobody", condition).await),
            ErrorCode::DeviceNotFound
        );
    }
    delete("dev-1", IfMatch::Etag(device.etag_text()))
        .await
        .unwrap();
    let found = world
        .service
        .find_device(a_hub(), an_identity("dev-1"))
        .await
        .unwrap();
    assert_eq!(found, None);
}

#[tokio::test]
async fn a_device_created_again_has_a_new_key_and_a_fresh_twin() {
    let world = World::new();
    let first = world.create("dev-1").await;
    world.patch("dev-1", serde_json::json!({"a": 1})).await;
    let name = an_identity("dev-1");
    world
        .service
        .delete_device(a_hub(), name.clone(), IfMatch::Any, somebody())
        .await
        .unwrap();
    let second = world.create("dev-1").await;
    assert_ne!(
        (second.key, second.generation),
        (first.key, first.generation)
    );
    let twin = world.service.get_twin(a_hub(), name).await.unwrap().twin;
    assert_eq!(twin.version, 2);
    let old = world.service.get_own_twin(first.key).await;
    assert_eq!(code(old), ErrorCode::DeviceNotFound);
}

#[tokio::test]
async fn fields_outside_their_rules_are_refused() {
    let world = World::new();
    let spec = DeviceSpec {
        status_reason: Some("x".repeat(129)),
        ..a_device_spec()
    };
    let refused = world.put("dev-1", spec, IfMatch::Absent).await;
    assert_eq!(code(refused), ErrorCode::ArgumentInvalid);
}

#[tokio::test]
async fn disabling_deleting_and_rotating_end_the_connection() {
    let mut world = World::new();
    for (name, reason) in [
        ("dev-1", DisconnectReason::Disabled),
        ("dev-2", DisconnectReason::KeysChanged),
        ("dev-3", DisconnectReason::Deleted),
    ] {
        let device = world.create(name).await;
        let epoch = world.connect(&device, "gateway-1").await;
        match reason {
            DisconnectReason::Disabled => drop(world.put(name, disabled(), IfMatch::Any).await),
            DisconnectReason::KeysChanged => drop(world.put(name, rotated(), IfMatch::Any).await),
            _ => {
                let name = an_identity(name);
                world
                    .service
                    .delete_device(a_hub(), name, IfMatch::Any, somebody())
                    .await
                    .unwrap();
            }
        }
        let expected = Disconnect {
            device: device.key,
            up_to: epoch,
            reason,
        };
        assert_eq!(world.orders.recv().await, Some(expected));
    }
}

#[tokio::test]
async fn a_write_that_takes_nothing_away_leaves_the_connection() {
    let mut world = World::new();
    let device = world.create("dev-1").await;
    world.connect(&device, "gateway-1").await;
    world
        .put("dev-1", a_device_spec(), IfMatch::Any)
        .await
        .unwrap();
    world.put("dev-1", disabled(), IfMatch::Any).await.unwrap();
    // The first order is the one of the second write.
    let order = world.orders.recv().await.unwrap();
    assert_eq!(order.reason, DisconnectReason::Disabled);
}

#[tokio::test(start_paused = true)]
async fn an_order_is_given_again_when_the_gateway_fails() {
    let mut world = World::new();
    let device = world.create("dev-1").await;
    world.connect(&device, "gateway-1").await;
    *world.gateway.failures_left.lock() = 2;
    world.put("dev-1", disabled(), IfMatch::Any).await.unwrap();
    let order = tokio::time::timeout(Duration::from_mins(1), world.orders.recv()).await;
    assert_eq!(order.unwrap().unwrap().device, device.key);
}

#[tokio::test]
async fn devices_are_listed_in_order_and_counted() {
    let world = World::new();
    for name in ["b", "a", "c"] {
        world.create(name).await;
    }
    world.put("b", disabled(), IfMatch::Any).await.unwrap();
    let listed = world.service.list_devices(a_hub(), 2).await.unwrap();
    let names: Vec<String> = listed
        .iter()
        .map(|device| device.name.to_string())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        world.service.list_devices(a_hub(), 0).await.unwrap().len(),
        1
    );
    let counts = world.service.count_devices(a_hub()).await.unwrap();
    assert_eq!((counts.total, counts.enabled), (3, 2));
}
