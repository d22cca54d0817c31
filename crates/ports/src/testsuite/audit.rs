//! Who changed what, stored with the change.

use downlink_domain::device::{DeviceSpec, DeviceStatus, IfMatch, SymmetricKeys};
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::IdentityName;
use serde_json::Value;

use super::Subject;
use super::given::{a_device_spec, a_hub, a_message, an_identity, noon, queue_rules, somebody};
use crate::{PurgeOrder, RegistryError};

fn a_module() -> IdentityName {
    IdentityName {
        module: Some("probe".parse().expect("a valid id")),
        ..an_identity("dev-1")
    }
}

async fn create(subject: &Subject, name: IdentityName) -> Result<(), RegistryError> {
    let spec = a_device_spec();
    let created = subject
        .registry
        .create(a_hub(), name, spec, somebody(), noon());
    created.await.expect("a store that works").map(drop)
}

async fn replace(
    subject: &Subject,
    name: IdentityName,
    spec: DeviceSpec,
    if_match: IfMatch,
) -> Result<(), RegistryError> {
    let replaced = subject
        .registry
        .replace(a_hub(), name, spec, if_match, somebody(), noon());
    replaced.await.expect("a store that works").map(drop)
}

async fn delete(
    subject: &Subject,
    name: IdentityName,
    if_match: IfMatch,
) -> Result<(), RegistryError> {
    let deleted = subject
        .registry
        .delete(a_hub(), name, if_match, somebody(), noon());
    deleted.await.expect("a store that works").map(drop)
}

fn purge_of(device: &str, number: u8) -> PurgeOrder {
    PurgeOrder {
        hub: a_hub(),
        device: device.parse().expect("a valid id"),
        by: somebody(),
        audit_id: [number; 16],
        at: noon(),
    }
}

fn body(event: &Event) -> Value {
    serde_json::from_slice(&event.body).expect("JSON")
}

fn details(event: &Event) -> Value {
    let text = body(event)["properties"].as_str().map(ToOwned::to_owned);
    serde_json::from_str(&text.expect("a text")).expect("JSON")
}

async fn operations(subject: &Subject) -> Vec<String> {
    let events = subject.events(EventKind::Audit).await;
    let names = events.iter().map(|event| {
        let body = body(event);
        body["operationName"].as_str().expect("a text").to_owned()
    });
    names.collect()
}

#[doc(hidden)]
pub async fn every_write_of_an_identity_names_who_made_it(subject: Subject) {
    create(&subject, an_identity("dev-1")).await.unwrap();
    create(&subject, a_module()).await.unwrap();
    let disabled = DeviceSpec {
        status: DeviceStatus::Disabled,
        ..a_device_spec()
    };
    replace(&subject, an_identity("dev-1"), disabled, IfMatch::Any)
        .await
        .unwrap();
    delete(&subject, a_module(), IfMatch::Any).await.unwrap();
    delete(&subject, an_identity("dev-1"), IfMatch::Any)
        .await
        .unwrap();
    let expected = [
        "createDeviceIdentity",
        "createModuleIdentity",
        "updateDeviceIdentity",
        "deleteModuleIdentity",
        "deleteDeviceIdentity",
    ];
    assert_eq!(operations(&subject).await, expected);
    let events = subject.events(EventKind::Audit).await;
    for event in &events {
        assert_eq!(event.device, Some("dev-1".parse().unwrap()));
        assert_ne!(event.device_key, Event::HUB_KEY);
        let body = body(event);
        assert_eq!(body["who"], somebody().credential);
        assert_eq!(body["callerIpAddress"], "203.0.113.7");
        assert_eq!(body["door"], "https");
        assert_eq!(body["resultType"], "Success");
        assert_eq!(body["time"], noon().to_string());
    }
    assert_eq!(events[1].module, a_module().module);
    assert_eq!(details(&events[2])["status"], "disabled");
    assert_eq!(details(&events[3])["target"], "devices/dev-1/modules/probe");
}

#[doc(hidden)]
pub async fn a_refused_write_leaves_no_record(subject: Subject) {
    create(&subject, an_identity("dev-1")).await.unwrap();
    let other = || IfMatch::Etag("AAAA".to_owned());
    let spec = a_device_spec;
    let invalid = DeviceSpec {
        status_reason: Some("x".repeat(1_000)),
        ..spec()
    };
    let name = || an_identity("dev-1");
    assert!(create(&subject, name()).await.is_err());
    assert!(replace(&subject, name(), spec(), other()).await.is_err());
    let replaced = replace(&subject, name(), invalid, IfMatch::Any).await;
    assert!(replaced.is_err());
    let unknown = replace(&subject, an_identity("dev-2"), spec(), IfMatch::Any).await;
    assert!(unknown.is_err());
    assert!(delete(&subject, name(), other()).await.is_err());
    let purged = subject.messages.purge(purge_of("dev-2", 1), queue_rules());
    assert_eq!(purged.await, Ok(None));
    assert_eq!(operations(&subject).await, ["createDeviceIdentity"]);
}

#[doc(hidden)]
pub async fn a_purge_names_who_asked_for_it(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(a_message(), noon()).await.unwrap();
    for number in [1, 2] {
        let purged = subject
            .messages
            .purge(purge_of("dev-1", number), queue_rules());
        purged.await.unwrap().unwrap();
    }
    let events = subject.events(EventKind::Audit).await;
    let purges: Vec<_> = events.iter().skip(1).collect();
    let removed: Vec<_> = purges.iter().map(|event| details(event)).collect();
    assert_eq!(removed.len(), 2);
    assert_eq!(removed[0]["removed"], "1");
    assert_eq!(removed[1]["removed"], "0");
    for (event, number) in purges.into_iter().zip(1..) {
        assert_eq!(event.id, [number; 16]);
        assert_eq!(event.device_key, device.key);
        assert_eq!(body(event)["operationName"], "purgeQueue");
        assert_eq!(body(event)["who"], somebody().credential);
    }
}

#[doc(hidden)]
pub async fn a_record_holds_no_key(subject: Subject) {
    let spec = DeviceSpec {
        authentication: downlink_domain::device::Authentication::Sas(SymmetricKeys {
            primary: b"first-secret-of-the-device-------".to_vec(),
            secondary: b"second-secret-of-the-device------".to_vec(),
        }),
        ..a_device_spec()
    };
    create(&subject, an_identity("dev-1")).await.unwrap();
    replace(&subject, an_identity("dev-1"), spec, IfMatch::Any)
        .await
        .unwrap();
    let events = subject.events(EventKind::Audit).await;
    assert_eq!(events.len(), 2);
    for event in events {
        let text = String::from_utf8(event.body.to_vec()).unwrap();
        // As they are, and the beginnings of their base64.
        for secret in ["secret", "Zmlyc3Qtc2Vj", "c2Vjb25kLXNl"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}
