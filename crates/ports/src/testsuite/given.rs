//! Valid values with few words; a test spells out only what it is about.

#![expect(
    clippy::missing_panics_doc,
    reason = "fixed values are valid, and a bad id should end its test"
)]

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::authority::{CertificateAuthority, Possession};
use downlink_domain::caps;
use downlink_domain::device::{Authentication, DeviceSpec, SymmetricKeys};
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceId, DeviceKey, HubName, IdentityName, LockToken};
use downlink_domain::message::{AckMode, DeliveryCounting, NewMessage, Properties, QueueRules};
use downlink_domain::policy::{Permission, Permissions, Policy};
use downlink_domain::twin::{ReplacedKeys, TwinRules};

use crate::Receive;

/// Noon of 5 January 2026.
pub fn noon() -> Timestamp {
    Timestamp::from_millis(1_767_614_400_000)
}

/// The hub `hub.downlink.test`.
pub fn a_hub() -> HubName {
    "hub.downlink.test".parse().expect("a valid host name")
}

/// A device's name.
#[track_caller]
pub fn an_identity(device: &str) -> IdentityName {
    device_id(device).into()
}

#[track_caller]
fn device_id(device: &str) -> DeviceId {
    device.parse().expect("a valid device id")
}

/// A pair of keys.
pub fn sas_keys() -> SymmetricKeys {
    SymmetricKeys {
        primary: vec![1; 32],
        secondary: vec![2; 32],
    }
}

/// An enabled device with a pair of keys.
pub fn a_device_spec() -> DeviceSpec {
    DeviceSpec::of(Authentication::Sas(sas_keys()))
}

/// A message to `dev-1` of [`a_hub`] that wants no feedback and lives until an hour after
/// [`noon`].
pub fn a_message() -> NewMessage {
    a_message_to("dev-1", "open the valve")
}

/// As [`a_message`], to `device` with `body`.
#[track_caller]
pub fn a_message_to(device: &str, body: &'static str) -> NewMessage {
    NewMessage {
        hub: a_hub(),
        device: device_id(device),
        properties: Properties {
            message_id: Some(format!("id-of-{}", body.replace(' ', "-"))),
            ..Properties::default()
        },
        ack: AckMode::None,
        expiry: Some(noon() + Duration::from_hours(1)),
        body: Bytes::from_static(body.as_bytes()),
    }
}

/// The default rules of a queue: every delivery counts, ten of them, feedback lives an hour.
pub fn queue_rules() -> QueueRules {
    QueueRules {
        counting: DeliveryCounting::Deliveries,
        max_delivery_count: caps::MAX_DELIVERY_COUNT,
        feedback_ttl: Duration::from_hours(1),
    }
}

/// The default rules of twins.
pub fn twin_rules() -> TwinRules {
    TwinRules {
        max_tags_bytes: caps::MAX_TAGS_BYTES,
        max_desired_bytes: caps::MAX_DESIRED_BYTES,
        max_reported_bytes: caps::MAX_REPORTED_BYTES,
        replaced_keys: ReplacedKeys::Omitted,
        kept_changes: 4,
    }
}

/// A receive of as many messages as `tokens` has numbers, locked for a minute from `now`.
pub fn a_receive(
    device: DeviceKey,
    tokens: impl IntoIterator<Item = u8>,
    now: Timestamp,
) -> Receive {
    Receive {
        device,
        tokens: tokens.into_iter().map(|n| LockToken([n; 16])).collect(),
        locked_until: now + Duration::from_mins(1),
    }
}

/// A telemetry event of `device` whose id is made of `number`.
#[track_caller]
pub fn an_event(device: &str, number: u8) -> Event {
    Event {
        id: [number; 16],
        hub: a_hub(),
        device_key: DeviceKey(1),
        device: Some(device_id(device)),
        module: None,
        kind: EventKind::Telemetry,
        at: noon(),
        properties: vec![("level".to_owned(), "warm".to_owned())],
        body: Bytes::from_static(b"21.5"),
    }
}

/// A policy with the right to act as a service.
pub fn a_policy(name: &str) -> Policy {
    Policy::new(
        name,
        [vec![3; 32], vec![4; 32]],
        Permissions::of(&[Permission::ServiceConnect]),
    )
}

/// A policy that administers the hub.
pub fn an_owner() -> Policy {
    Policy::new(
        "iothubowner",
        [vec![5; 32], vec![6; 32]],
        Permissions::of(&Permission::ALL),
    )
}

/// An authority that nothing was asked of, with a certificate of its own, alive for a year around
/// [`noon`].
pub fn an_authority(name: &str) -> CertificateAuthority {
    let digits: Vec<String> = name
        .bytes()
        .cycle()
        .take(32)
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let half = Duration::from_hours(24 * 182);
    CertificateAuthority {
        name: name.to_owned(),
        certificate: Bytes::copy_from_slice(name.as_bytes()),
        subject: format!("CN={name}"),
        thumbprint: digits.concat(),
        not_before: noon() - half,
        not_after: noon() + half,
        possession: Possession::Unverified,
        etag: 1,
        created_at: noon(),
        updated_at: noon(),
    }
}

/// Somebody with the owner's policy at the HTTPS door.
pub fn somebody() -> Actor {
    Actor {
        credential: "policy iothubowner".to_owned(),
        address: "203.0.113.7:50123".to_owned(),
        door: "https".to_owned(),
    }
}
