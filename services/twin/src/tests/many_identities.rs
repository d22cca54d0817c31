//! Modules, parents, limits, and many identities at once.

use downlink_domain::device::DeviceStatus;
use downlink_domain::id::IdentityName;
use downlink_domain::presence::DisconnectReason;
use downlink_ports::{ItemChange, ItemOutcome, RegistryApi, RegistryItem, RotatedKeys};

use downlink_domain::device::SymmetricKeys;

use super::*;

fn a_module(device: &str, module: &str) -> IdentityName {
    IdentityName {
        module: Some(module.parse().expect("a valid id")),
        ..an_identity(device)
    }
}

fn created(name: IdentityName) -> RegistryItem {
    created_with(name, a_device_spec())
}

fn created_with(name: IdentityName, spec: DeviceSpec) -> RegistryItem {
    let change = ItemChange::Create {
        spec,
        tags: Object::new(),
        desired: Object::new(),
    };
    RegistryItem { name, change }
}

async fn write(world: &World, items: Vec<RegistryItem>) -> Vec<ItemOutcome> {
    let written = world.service.write_identities(a_hub(), items, somebody());
    written.await.expect("a store that works")
}

fn codes(outcomes: &[ItemOutcome]) -> Vec<Option<ErrorCode>> {
    let code = |outcome: &ItemOutcome| outcome.as_ref().err().map(PeerError::code);
    outcomes.iter().map(code).collect()
}

async fn module(world: &World, device: &str, module: &str) -> Device {
    let name = a_module(device, module);
    let put = world
        .service
        .put_device(a_hub(), name, a_device_spec(), IfMatch::Absent, somebody());
    put.await.expect("it is new")
}

#[tokio::test]
async fn a_module_follows_the_status_of_its_device() {
    let mut world = World::new();
    world.create("dev-1").await;
    let module = module(&world, "dev-1", "m1").await;
    let open = async || {
        let opened = world
            .service
            .open_device(a_hub(), module.name.clone())
            .await;
        opened
            .expect("a store that works")
            .map(|opened| opened.device.status)
    };
    assert_eq!(open().await, Some(DeviceStatus::Enabled));
    world.connect(&module, "gateway-1").await;
    let disabled = DeviceSpec {
        status: DeviceStatus::Disabled,
        ..a_device_spec()
    };
    world
        .put("dev-1", disabled, IfMatch::Any)
        .await
        .expect("it is there");
    assert_eq!(open().await, Some(DeviceStatus::Disabled));
    let found = world
        .service
        .find_device(a_hub(), module.name.clone())
        .await;
    assert_eq!(
        found.map(|found| found.map(|found| found.status)),
        Ok(Some(DeviceStatus::Disabled))
    );
    let order = world.orders.recv().await.expect("an order");
    assert_eq!(
        (order.device, order.reason),
        (module.key, DisconnectReason::Disabled)
    );
}

#[tokio::test]
async fn a_module_is_disconnected_when_its_device_is_deleted() {
    let mut world = World::new();
    world.create("dev-1").await;
    let module = module(&world, "dev-1", "m1").await;
    world.connect(&module, "gateway-1").await;
    let gone = world
        .service
        .delete_device(a_hub(), an_identity("dev-1"), IfMatch::Any, somebody());
    gone.await.expect("it is there");
    let order = world.orders.recv().await.expect("an order");
    assert_eq!(
        (order.device, order.reason),
        (module.key, DisconnectReason::Deleted)
    );
}

#[tokio::test]
async fn an_identity_that_items_name_twice_is_refused_each_time() {
    let world = World::new();
    let twin = ItemChange::PatchTwin {
        tags: None,
        desired: None,
        if_match: IfMatch::Any,
    };
    let patch = RegistryItem {
        name: an_identity("dev-2"),
        change: twin,
    };
    let items = vec![
        created(an_identity("dev-1")),
        created(an_identity("dev-2")),
        patch,
    ];
    let twice = Some(ErrorCode::DeviceDefinedMultipleTimes);
    assert_eq!(codes(&write(&world, items).await), [None, twice, twice]);
}

#[tokio::test]
async fn new_keys_end_the_connections_of_the_old_ones() {
    let mut world = World::new();
    let device = world.create("dev-1").await;
    world.connect(&device, "gateway-1").await;
    let change = ItemChange::RotateKeys {
        keys: RotatedKeys::Secondary,
        fresh: SymmetricKeys {
            primary: vec![8; 32],
            secondary: vec![9; 32],
        },
    };
    let name = device.name.clone();
    let outcomes = write(&world, vec![RegistryItem { name, change }]).await;
    assert_eq!(codes(&outcomes), [None]);
    let order = world.orders.recv().await.expect("an order");
    assert_eq!(
        (order.device, order.reason),
        (device.key, DisconnectReason::KeysChanged)
    );
}

#[tokio::test]
async fn a_parent_must_be_there_unless_it_was_named_before() {
    let world = World::new();
    let edge = DeviceSpec {
        is_edge: true,
        ..a_device_spec()
    };
    let gateway = world
        .put("gw", edge, IfMatch::Absent)
        .await
        .expect("it is new");
    let child = DeviceSpec {
        device_scope: gateway.device_scope.clone(),
        ..a_device_spec()
    };
    let plain = world.create("plain").await;
    let of_plain = downlink_domain::device::edge_scope(&plain.name, plain.generation);
    let outcomes = write(
        &world,
        vec![
            created_with(an_identity("leaf"), child.clone()),
            created_with(
                an_identity("orphan"),
                DeviceSpec {
                    device_scope: Some(of_plain),
                    ..a_device_spec()
                },
            ),
        ],
    )
    .await;
    let nobody = Some(ErrorCode::InvalidDeviceScope);
    assert_eq!(codes(&outcomes), [None, nobody]);
    let gone = world
        .service
        .delete_device(a_hub(), an_identity("gw"), IfMatch::Any, somebody());
    gone.await.expect("it is there");
    world
        .put("leaf", child.clone(), IfMatch::Any)
        .await
        .expect("it stays as it was");
    let refused = world.put("late", child, IfMatch::Absent).await;
    assert_eq!(
        refused.map_err(|error| error.code()),
        Err(ErrorCode::InvalidDeviceScope)
    );
}

#[tokio::test]
async fn a_hub_is_as_full_as_its_setting_says_and_no_fuller() {
    let world = World::with(&TwinOptions {
        max_identities: 12,
        max_modules: 2,
        ..TwinOptions::default()
    });
    let devices = (0..20).map(|number| created(an_identity(&format!("dev-{number}"))));
    let outcomes = write(&world, devices.collect()).await;
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(accepted, 12);
    assert_eq!(codes(&outcomes)[12], Some(ErrorCode::IotHubQuotaExceeded));
    let refused = world
        .put("one-more", a_device_spec(), IfMatch::Absent)
        .await;
    assert_eq!(
        refused.map_err(|error| error.code()),
        Err(ErrorCode::IotHubQuotaExceeded)
    );
    let delete = |device: &str| RegistryItem {
        name: an_identity(device),
        change: ItemChange::Delete {
            if_match: IfMatch::Any,
        },
    };
    write(
        &world,
        (0..5)
            .map(|number| delete(&format!("dev-{number}")))
            .collect(),
    )
    .await;
    let modules = ["a", "b", "c"].map(|module| created(a_module("dev-9", module)));
    let outcomes = write(&world, modules.to_vec()).await;
    assert_eq!(
        codes(&outcomes),
        [None, None, Some(ErrorCode::TooManyModulesOnDevice)]
    );
}

#[tokio::test]
async fn a_first_twin_outside_its_rules_is_refused_with_its_item_alone() {
    let world = World::new();
    let mut tags = Object::new();
    tags.insert("x".to_owned(), "y".repeat(10_000).into());
    let change = ItemChange::Create {
        spec: a_device_spec(),
        tags,
        desired: Object::new(),
    };
    let name = an_identity("dev-1");
    let items = vec![RegistryItem { name, change }, created(an_identity("dev-2"))];
    let outcomes = write(&world, items).await;
    assert_eq!(codes(&outcomes), [Some(ErrorCode::ArgumentInvalid), None]);
}
