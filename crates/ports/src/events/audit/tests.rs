use downlink_domain::device::{Authentication, DeviceSpec};
use downlink_domain::id::DeviceId;

use super::*;
use crate::registered;

fn hub() -> HubName {
    "hub.example".parse().unwrap()
}

fn noon() -> Timestamp {
    Timestamp::from_millis(1_767_604_351_412)
}

fn caller() -> Actor {
    Actor {
        credential: "policy iothubowner".to_owned(),
        address: "[::ffff:203.0.113.7]:50123".to_owned(),
        door: "https".to_owned(),
    }
}

fn device(name: &str, key: i64) -> Device {
    let spec = DeviceSpec::of(Authentication::CertificateAuthority);
    let device: DeviceId = name.parse().unwrap();
    registered(DeviceKey(key), hub(), device.into(), spec, noon())
}

fn read(event: &Event) -> Value {
    serde_json::from_slice(&event.body).unwrap()
}

#[test]
fn a_record_of_an_identity_reads_as_documented() {
    let device = device("boiler-7", 42);
    let record = AuditRecord::of_identity(IdentityWrite::Created, &device, &caller(), noon());
    let event = audit_event(&record);
    assert_eq!(event.kind, EventKind::Audit);
    assert_eq!(event.device_key, DeviceKey(42));
    assert_eq!(event.device, Some("boiler-7".parse().unwrap()));
    assert_eq!(
        String::from_utf8(event.body.to_vec()).unwrap(),
        "{\"time\":\"2026-01-05T09:12:31.4120000Z\",\"resourceId\":\"hub.example\",\
         \"operationName\":\"createDeviceIdentity\",\"category\":\"Audit\",\
         \"level\":\"Information\",\"resultType\":\"Success\",\"resultDescription\":\"\",\
         \"callerIpAddress\":\"203.0.113.7\",\"who\":\"policy iothubowner\",\"door\":\"https\",\
         \"count\":1,\"properties\":\"{\\\"target\\\":\\\"devices/boiler-7\\\",\
         \\\"deviceId\\\":\\\"boiler-7\\\",\\\"callerPort\\\":\\\"50123\\\",\
         \\\"status\\\":\\\"enabled\\\"}\"}"
    );
    let op_type = ("opType".to_owned(), "createDeviceIdentity".to_owned());
    assert!(event.properties.contains(&op_type));
}

#[test]
fn a_record_of_the_hub_names_no_device() {
    let hub = hub();
    let record = AuditRecord::of_access(
        AuditOperation::DeletePolicy,
        &hub,
        "service",
        9,
        &Actor::operator(),
        noon(),
    );
    let event = audit_event(&record);
    assert_eq!((event.device_key, &event.device), (Event::HUB_KEY, &None));
    let body = read(&event);
    assert_eq!(body["who"], "operator");
    assert_eq!(body["callerIpAddress"], "");
    assert_eq!(body["properties"], "{\"target\":\"policies/service\"}");
    assert!(event.properties.iter().all(|(name, _)| name != "deviceId"));
}

#[test]
fn a_refusal_says_its_code_and_how_often() {
    let record = AuditRecord {
        id: [7; 16],
        hub: hub(),
        at: noon(),
        actor: caller(),
        operation: AuditOperation::Authenticate,
        target: "devices/x".to_owned(),
        device: None,
        outcome: AuditOutcome::Refused(ErrorCode::IotHubUnauthorized),
        detail: vec![("cause", "expired".to_owned())],
        count: 17,
    };
    let body = read(&audit_event(&record));
    assert_eq!(body["level"], "Warning");
    assert_eq!(body["resultType"], "Failure");
    assert_eq!(body["resultDescription"], "IotHubUnauthorized");
    assert_eq!(body["count"], 17);
}

#[test]
fn texts_of_any_length_make_a_bounded_record() {
    let record = AuditRecord {
        id: [7; 16],
        hub: hub(),
        at: noon(),
        actor: Actor {
            credential: "ä\u{1}".repeat(10_000),
            address: "\u{1}".repeat(10_000),
            door: "\u{1}".repeat(10_000),
        },
        operation: AuditOperation::Authorize,
        target: "\u{1f321}".repeat(10_000),
        device: None,
        outcome: AuditOutcome::Refused(ErrorCode::IotHubUnauthorizedAccess),
        detail: vec![("cause", "\"".repeat(10_000))],
        count: 1,
    };
    assert!(audit_event(&record).body.len() < 32 * 1024);
}

#[test]
fn every_write_has_an_id_of_its_own_and_the_same_write_the_same() {
    let first = device("boiler-7", 42);
    let mut second = first.clone();
    second.etag += 1;
    let other = device("boiler-8", 43);
    let of = |write, device: &Device| AuditRecord::of_identity(write, device, &caller(), noon()).id;
    let access = |hub: &str, version| {
        let hub = hub.parse().unwrap();
        let operation = AuditOperation::UpdatePolicy;
        AuditRecord::of_access(operation, &hub, "p", version, &caller(), noon()).id
    };
    let ids = [
        of(IdentityWrite::Created, &first),
        of(IdentityWrite::Replaced, &second),
        of(IdentityWrite::Deleted, &first),
        of(IdentityWrite::Deleted, &second),
        of(IdentityWrite::Created, &other),
        access("hub.example", 1),
        access("hub.example", 2),
        access("other.example", 1),
    ];
    for (index, id) in ids.iter().enumerate() {
        assert_eq!(id[6] >> 4, 8);
        assert_eq!(id[8] >> 6, 0b10);
        assert!(!ids[index + 1..].contains(id));
    }
    assert_eq!(of(IdentityWrite::Created, &first), ids[0]);
    assert_eq!(access("hub.example", 1), ids[5]);
}

#[test]
fn operations_have_names_of_their_own() {
    let all = AuditOperation::ALL;
    for (index, operation) in all.iter().enumerate() {
        let later = &all[index + 1..];
        assert!(later.iter().all(|later| later.name() != operation.name()));
    }
}
