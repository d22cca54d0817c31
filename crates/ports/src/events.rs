//! What adapters write to the outbox with a write of their own (errors-limits.md §6).
//!
//! Every store builds these events with the functions below, so that a consumer sees the same
//! event whichever store wrote it. Their ids follow from what they report: the same write never
//! makes two.

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::device::Device;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceKey, HubName, IdentityName, SequenceNumber};
use downlink_domain::message::feedback::FeedbackRecord;
use downlink_domain::presence::{ChangeNumber, ConnectionEvent};
use downlink_domain::twin::{Object, Twin};
use serde_json::{Value, json};

pub use audit::{
    AuditOperation, AuditOutcome, AuditRecord, IdentityWrite, audit_event, identity_target,
};

mod audit;

/// What happened to an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// It was created.
    Created,
    /// It was deleted.
    Deleted,
}

impl Lifecycle {
    fn op_type(self, name: &IdentityName) -> &'static str {
        match (self, &name.module) {
            (Self::Created, None) => "createDeviceIdentity",
            (Self::Deleted, None) => "deleteDeviceIdentity",
            (Self::Created, Some(_)) => "createModuleIdentity",
            (Self::Deleted, Some(_)) => "deleteModuleIdentity",
        }
    }
}

/// The JSON object of one feedback record, in the order of the contract (c2d.md §6.2).
pub fn feedback_json(record: &FeedbackRecord) -> Value {
    json!({
        "originalMessageId": record.original_message_id,
        "enqueuedTimeUtc": record.at.to_string(),
        "statusCode": record.status.as_str(),
        "description": record.status.as_str(),
        "deviceId": record.device.as_str(),
        "deviceGenerationId": record.generation.to_string(),
    })
}

/// The event of a feedback record; `sequence` is the place of the message it reports.
pub fn feedback_event(record: &FeedbackRecord, sequence: SequenceNumber) -> Event {
    Event {
        id: event_id(EventKind::Feedback, record.device_key, sequence.0),
        hub: record.hub.clone(),
        device_key: record.device_key,
        device: Some(record.device.clone()),
        module: None,
        kind: EventKind::Feedback,
        at: record.at,
        properties: wrapper(&record.hub, Some(&record.device.clone().into()), record.at),
        body: to_bytes(&feedback_json(record)),
    }
}

/// The event of an identity that was created or deleted; its body is the twin.
pub fn lifecycle_event(change: Lifecycle, device: &Device, twin: &Twin, at: Timestamp) -> Event {
    let counter = match change {
        Lifecycle::Created => 0,
        Lifecycle::Deleted => 1,
    };
    let source = Source {
        kind: EventKind::DeviceLifecycle,
        counter,
        name: "deviceLifecycleEvents",
        schema: "deviceLifecycleNotification",
        op_type: change.op_type(&device.name),
    };
    source.event(device, at, &Value::Object(lifecycle_body(device, twin)))
}

/// The event of a written twin: `body` is `TwinWritten::event`, `op_type` that of the change.
pub fn twin_event(
    device: &Device,
    twin: &Twin,
    op_type: &'static str,
    body: Object,
    at: Timestamp,
) -> Event {
    let source = Source {
        kind: EventKind::TwinChange,
        counter: twin.version,
        name: "twinChangeEvents",
        schema: "twinChangeNotification",
        op_type,
    };
    source.event(device, at, &Value::Object(body))
}

/// Why a connection ended, as a property of its event: one of `ConnectionEnd::as_str`.
pub const END_PROPERTY: &str = "downlink-reason";

/// The event of a connect or a disconnect of the identity `device`.
pub fn connection_event(
    hub: &HubName,
    device: (DeviceKey, &IdentityName),
    change: ConnectionEvent,
    at: Timestamp,
) -> Event {
    let (key, name) = device;
    let op_type = match change.ended {
        None => "deviceConnected",
        Some(_) => "deviceDisconnected",
    };
    let mut properties = wrapper(hub, Some(name), at);
    properties.extend(described(
        "deviceConnectionStateEvents",
        "deviceConnectionStateNotification",
        op_type,
    ));
    properties.extend(change.ended.map(|end| pair(END_PROPERTY, end.as_str())));
    let ChangeNumber { epoch, turn } = change.number;
    let mut id = event_id(EventKind::Connection, key, epoch.0);
    id[7] = turn.to_le_bytes()[0];
    Event {
        id,
        hub: hub.clone(),
        device_key: key,
        device: Some(name.device.clone()),
        module: name.module.clone(),
        kind: EventKind::Connection,
        at,
        properties,
        body: to_bytes(&json!({ "sequenceNumber": change.number.to_string() })),
    }
}

/// An id in the layout of a version-8 UUID: 48 bits of the key, the kind, 62 bits of `counter`.
fn event_id(kind: EventKind, device: DeviceKey, counter: u64) -> [u8; 16] {
    let kind_tag: u8 = match kind {
        EventKind::Telemetry => 1,
        EventKind::Feedback => 2,
        EventKind::TwinChange => 3,
        EventKind::DeviceLifecycle => 4,
        EventKind::Connection => 5,
        EventKind::Audit => 6,
    };
    let mut id = [0; 16];
    id[..6].copy_from_slice(&device.0.to_be_bytes()[2..]);
    id[6] = 0x80 | kind_tag;
    id[8..].copy_from_slice(&counter.to_be_bytes());
    id[8] = 0x80 | (id[8] & 0x3f);
    id
}

/// What sets one kind of identity event apart from another.
struct Source {
    kind: EventKind,
    counter: u64,
    name: &'static str,
    schema: &'static str,
    op_type: &'static str,
}

impl Source {
    fn event(&self, device: &Device, at: Timestamp, body: &Value) -> Event {
        let mut properties = wrapper(&device.hub, Some(&device.name), at);
        properties.extend(described(self.name, self.schema, self.op_type));
        Event {
            id: event_id(self.kind, device.key, self.counter),
            hub: device.hub.clone(),
            device_key: device.key,
            device: Some(device.name.device.clone()),
            module: device.name.module.clone(),
            kind: self.kind,
            at,
            properties,
            body: to_bytes(body),
        }
    }
}

/// The properties that every event carries (errors-limits.md §6.1).
fn wrapper(hub: &HubName, name: Option<&IdentityName>, at: Timestamp) -> Vec<(String, String)> {
    let at = at.to_string();
    let mut properties = vec![
        pair("content-type", "application/json"),
        pair("content-encoding", "utf-8"),
        pair("user-id", hub.as_str()),
    ];
    if let Some(name) = name {
        let device = name.device.as_str();
        properties.push(pair("iothub-connection-device-id", device));
    }
    properties.push(pair("iothub-enqueuedtime", &at));
    properties.push(pair("hubName", hub.first_label()));
    if let Some(name) = name {
        properties.push(pair("deviceId", name.device.as_str()));
    }
    properties.push(pair("operationTimestamp", &at));
    if let Some(module) = name.and_then(|name| name.module.as_ref()) {
        properties.push(pair("iothub-connection-module-id", module.as_str()));
        properties.push(pair("moduleId", module.as_str()));
    }
    properties
}

fn described(source: &str, schema: &str, op_type: &str) -> [(String, String); 3] {
    [
        pair("iothub-message-source", source),
        pair("iothub-message-schema", schema),
        pair("opType", op_type),
    ]
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn lifecycle_body(device: &Device, twin: &Twin) -> Object {
    let mut body = Object::new();
    body.insert("deviceId".into(), device.name.device.as_str().into());
    if let Some(module) = &device.name.module {
        body.insert("moduleId".into(), module.as_str().into());
    }
    body.insert("etag".into(), twin.etag_text().into());
    body.insert("version".into(), twin.version.into());
    if !twin.tags.is_empty() {
        body.insert("tags".into(), twin.tags.clone().into());
    }
    body.insert("properties".into(), twin.properties().into());
    body
}

fn to_bytes(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}

#[cfg(test)]
mod tests {
    use downlink_domain::id::GenerationId;
    use downlink_domain::message::feedback::FeedbackStatus;

    use super::*;

    #[test]
    fn a_feedback_record_reads_as_in_the_contract() {
        let record = FeedbackRecord {
            hub: "hub.example".parse().unwrap(),
            device_key: DeviceKey(7),
            device: "dev-1".parse().unwrap(),
            generation: GenerationId(637_345_907_161_634_714),
            original_message_id: Some("cmd-17".to_owned()),
            at: Timestamp::from_millis(1_767_604_351_412),
            status: FeedbackStatus::Success,
        };
        assert_eq!(
            feedback_json(&record).to_string(),
            "{\"originalMessageId\":\"cmd-17\",\
             \"enqueuedTimeUtc\":\"2026-01-05T09:12:31.4120000Z\",\
             \"statusCode\":\"Success\",\"description\":\"Success\",\
             \"deviceId\":\"dev-1\",\"deviceGenerationId\":\"637345907161634714\"}"
        );
    }

    #[test]
    fn ids_of_different_reports_differ_and_are_version_8() {
        let ids = [
            event_id(EventKind::Feedback, DeviceKey(1), 2),
            event_id(EventKind::Feedback, DeviceKey(2), 1),
            event_id(EventKind::TwinChange, DeviceKey(1), 2),
            event_id(EventKind::Feedback, DeviceKey(1), 3),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(id[6] >> 4, 8);
            assert_eq!(id[8] >> 6, 0b10);
            assert!(!ids[index + 1..].contains(id));
        }
    }
}
