use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::device::{Authentication, Device, DeviceSpec, DeviceStatus, IfMatch};
use downlink_domain::id::{DeviceId, HubName};
use downlink_ports::{
    ItemChange, ItemOutcome, MAX_REGISTRY_ITEMS, PeerError, RegistryApi, RegistryItem, RotatedKeys,
};
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;

use crate::testing::{device, hub, keys, module_name, object};
use crate::{GrpcTwinClient, MuxOptions, Services, in_process};

/// Remembers what it was asked, and refuses every second item.
#[derive(Default)]
struct Desk {
    asked: Mutex<Vec<(HubName, Vec<RegistryItem>, Actor)>>,
}

fn refusal() -> PeerError {
    PeerError::refused(ErrorCode::ModuleAlreadyExistsOnDevice, &"it is there")
}

#[async_trait]
impl RegistryApi for Desk {
    async fn list_modules(&self, _: HubName, id: DeviceId) -> Result<Vec<Device>, PeerError> {
        let mut module = device(Authentication::None);
        module.name.device = id;
        Ok(vec![module, device(Authentication::Sas(keys()))])
    }

    async fn write_identities(
        &self,
        hub: HubName,
        items: Vec<RegistryItem>,
        by: Actor,
    ) -> Result<Vec<ItemOutcome>, PeerError> {
        let outcome = |position: usize| match position % 2 {
            0 => Ok(device(Authentication::Sas(keys()))),
            _ => Err(refusal()),
        };
        let outcomes = (0..items.len()).map(outcome).collect();
        self.asked.lock().push((hub, items, by));
        Ok(outcomes)
    }
}

fn connected() -> (Arc<Desk>, GrpcTwinClient) {
    let lifecycle = Lifecycle::new();
    let desk = Arc::new(Desk::default());
    let (endpoint, acceptor) = in_process();
    Services::new(&lifecycle)
        .with_registry(Arc::clone(&desk) as _)
        .serve(acceptor);
    let client = GrpcTwinClient::new(&endpoint, MuxOptions::default(), &lifecycle);
    (desk, client)
}

fn somebody() -> Actor {
    Actor {
        credential: "policy registryReadWrite".to_owned(),
        address: "203.0.113.7:50123".to_owned(),
        door: "grpc".to_owned(),
    }
}

fn spec() -> DeviceSpec {
    DeviceSpec {
        status: DeviceStatus::Disabled,
        status_reason: Some("im Keller".to_owned()),
        is_edge: true,
        managed_by: Some("jemand".to_owned()),
        device_scope: Some("ms-azure-iot-edge://gw-1".to_owned()),
        parent_scopes: vec!["ms-azure-iot-edge://gw-2".to_owned()],
        ..DeviceSpec::of(Authentication::Sas(keys()))
    }
}

fn items() -> Vec<RegistryItem> {
    let rotate = |which| ItemChange::RotateKeys {
        keys: which,
        fresh: keys(),
    };
    let changes = [
        ItemChange::Create {
            spec: spec(),
            tags: object(r#"{"b":1.50,"a":null}"#),
            desired: object("{}"),
        },
        ItemChange::Replace {
            spec: DeviceSpec::of(Authentication::CertificateAuthority),
            if_match: IfMatch::Etag("MQ==".to_owned()),
        },
        ItemChange::Delete {
            if_match: IfMatch::Any,
        },
        rotate(RotatedKeys::Primary),
        rotate(RotatedKeys::Secondary),
        rotate(RotatedKeys::Both),
        ItemChange::PatchTwin {
            tags: Some(object("{}")),
            desired: None,
            if_match: IfMatch::Absent,
        },
    ];
    let item = |change| RegistryItem {
        name: module_name(),
        change,
    };
    changes.map(item).to_vec()
}

#[tokio::test]
async fn every_change_crosses_the_wire_and_outcomes_come_back_by_position() {
    let (desk, client) = connected();
    let outcomes = client.write_identities(hub(), items(), somebody()).await;
    let outcomes = outcomes.unwrap();
    assert_eq!(desk.asked.lock().pop(), Some((hub(), items(), somebody())));
    assert_eq!(outcomes.len(), items().len());
    assert_eq!(outcomes[0], Ok(device(Authentication::Sas(keys()))));
    assert_eq!(outcomes[1], Err(refusal()));
}

#[tokio::test]
async fn more_items_than_a_call_may_have_are_refused_whole() {
    let (desk, client) = connected();
    let many = vec![items().remove(2); MAX_REGISTRY_ITEMS + 1];
    let refused = client.write_identities(hub(), many, somebody()).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::ArgumentInvalid);
    assert!(desk.asked.lock().is_empty());
}

#[tokio::test]
async fn modules_of_a_device_are_listed() {
    let (_desk, client) = connected();
    let id: DeviceId = "dev-7".parse().unwrap();
    let listed = client.list_modules(hub(), id.clone()).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].name.device, id);
    assert_eq!(listed[0].authentication, Authentication::None);
}
