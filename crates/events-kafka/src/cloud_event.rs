//! An event as a `CloudEvent` 1.0 in its JSON form, with the type names and data that consumers of
//! Azure's Event Grid know (errors-limits.md §6.3).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::DeviceId;
use serde_json::{Map, Value, json};

/// The media type of the form (`CloudEvents` JSON format 3.2).
pub(crate) const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// Properties that the hub or the protocol knows, beside those whose names begin with `iothub-`.
const SYSTEM: [&str; 11] = [
    "absolute-expiry-time",
    "content-encoding",
    "content-type",
    "correlation-id",
    "diagnostic-correlation-context",
    "diagnostic-id",
    "dt-dataschema",
    "dt-subject",
    "message-id",
    "to",
    "user-id",
];

/// The text of the `CloudEvent`; `id` is the event's as text.
pub(crate) fn text(event: &Event, id: &str) -> String {
    let property = |name: &str| {
        let mut properties = event.properties.iter();
        let found = properties.find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let op_type = property("opType");
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("specversion", "1.0".into());
    put("id", id.into());
    put("source", format!("/hubs/{}", event.hub).into());
    put("type", kind(event.kind, op_type).into());
    put("subject", subject(event).into());
    put("time", event.at.to_string().into());
    let reason = property(downlink_ports::events::END_PROPERTY);
    if !reason.is_empty() {
        // Names of extensions are letters and digits alone.
        put("downlinkreason", reason.into());
    }
    put("datacontenttype", "application/json".into());
    put("data", data(event));
    Value::Object(members).to_string()
}

/// Azure's names where it has any.
fn kind(kind: EventKind, op_type: &str) -> &'static str {
    match kind {
        EventKind::Telemetry => "Microsoft.Devices.DeviceTelemetry",
        EventKind::DeviceLifecycle if op_type.starts_with("create") => {
            "Microsoft.Devices.DeviceCreated"
        }
        EventKind::DeviceLifecycle => "Microsoft.Devices.DeviceDeleted",
        EventKind::Connection if op_type == "deviceConnected" => {
            "Microsoft.Devices.DeviceConnected"
        }
        EventKind::Connection => "Microsoft.Devices.DeviceDisconnected",
        EventKind::TwinChange if op_type == "replaceTwin" => "Downlink.TwinReplaced",
        EventKind::TwinChange => "Downlink.TwinUpdated",
        EventKind::Feedback => "Downlink.Feedback",
        EventKind::Audit => "Downlink.Audit",
    }
}

fn subject(event: &Event) -> String {
    match (&event.device, &event.module) {
        (None, _) => format!("hubs/{}", event.hub),
        (Some(device), None) => format!("devices/{device}"),
        (Some(device), Some(module)) => format!("devices/{device}/modules/{module}"),
    }
}

fn data(event: &Event) -> Value {
    let body = || serde_json::from_slice(&event.body).unwrap_or(Value::Null);
    match event.kind {
        EventKind::Telemetry => telemetry(event),
        EventKind::DeviceLifecycle => about(event, "twin", body()),
        EventKind::Connection => about(event, "deviceConnectionStateEventInfo", body()),
        EventKind::TwinChange | EventKind::Feedback | EventKind::Audit => body(),
    }
}

fn about(event: &Event, member: &str, value: Value) -> Value {
    let mut data = json!({
        "hubName": event.hub.first_label(),
        "deviceId": event.device.as_ref().map(DeviceId::as_str),
    });
    if let Some(module) = &event.module {
        data["moduleId"] = module.as_str().into();
    }
    data[member] = value;
    data
}

/// The body is JSON where the device says that it is, and base64 otherwise.
fn telemetry(event: &Event) -> Value {
    let is_system = |name: &str| name.starts_with("iothub-") || SYSTEM.contains(&name);
    let members = |is_wanted: bool| -> Map<String, Value> {
        let wanted = event.properties.iter();
        let wanted = wanted.filter(|(name, _)| is_system(name) == is_wanted);
        wanted
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect()
    };
    let system = members(true);
    let is_json = system.get("content-type").and_then(Value::as_str) == Some("application/json");
    let body: Option<Option<Value>> = is_json.then(|| serde_json::from_slice(&event.body).ok());
    let body = body.flatten();
    json!({
        "properties": members(false),
        "systemProperties": system,
        "body": body.unwrap_or_else(|| STANDARD.encode(&event.body).into()),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use downlink_domain::Timestamp;
    use downlink_domain::id::DeviceKey;

    use super::*;

    fn event(kind: EventKind, properties: &[(&str, &str)], body: &'static str) -> Event {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Event {
            id: [7; 16],
            hub: "hub.example".parse().unwrap(),
            device_key: DeviceKey(1),
            device: Some("dev-1".parse().unwrap()),
            module: None,
            kind,
            at: Timestamp::from_millis(1_767_604_351_412),
            properties: properties.iter().map(owned).collect(),
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn read(event: &Event) -> Value {
        serde_json::from_str(&text(event, "id-1")).unwrap()
    }

    #[test]
    fn a_disconnect_reads_as_in_the_contract() {
        let properties = [
            ("opType", "deviceDisconnected"),
            ("downlink-reason", "gatewayLost"),
        ];
        let mut event = event(
            EventKind::Connection,
            &properties,
            r#"{"sequenceNumber":"0A"}"#,
        );
        event.module = Some("mod-1".parse().unwrap());
        let expected = json!({
            "specversion": "1.0",
            "id": "id-1",
            "source": "/hubs/hub.example",
            "type": "Microsoft.Devices.DeviceDisconnected",
            "subject": "devices/dev-1/modules/mod-1",
            "time": "2026-01-05T09:12:31.4120000Z",
            "downlinkreason": "gatewayLost",
            "datacontenttype": "application/json",
            "data": {
                "hubName": "hub",
                "deviceId": "dev-1",
                "moduleId": "mod-1",
                "deviceConnectionStateEventInfo": {"sequenceNumber": "0A"},
            },
        });
        assert_eq!(read(&event), expected);
    }

    #[test]
    fn every_kind_has_a_type_and_its_body() {
        let body = r#"{"a":1}"#;
        for (kind, op_type, expected, path) in [
            (
                EventKind::DeviceLifecycle,
                "createModuleIdentity",
                "Microsoft.Devices.DeviceCreated",
                "/data/twin/a",
            ),
            (
                EventKind::DeviceLifecycle,
                "deleteDeviceIdentity",
                "Microsoft.Devices.DeviceDeleted",
                "/data/twin/a",
            ),
            (
                EventKind::Connection,
                "deviceConnected",
                "Microsoft.Devices.DeviceConnected",
                "/data/deviceConnectionStateEventInfo/a",
            ),
            (
                EventKind::TwinChange,
                "updateTwin",
                "Downlink.TwinUpdated",
                "/data/a",
            ),
            (
                EventKind::TwinChange,
                "replaceTwin",
                "Downlink.TwinReplaced",
                "/data/a",
            ),
            (EventKind::Feedback, "", "Downlink.Feedback", "/data/a"),
            (EventKind::Audit, "", "Downlink.Audit", "/data/a"),
        ] {
            let read = read(&event(kind, &[("opType", op_type)], body));
            assert_eq!(read["type"], expected);
            assert_eq!(read.pointer(path), Some(&json!(1)), "{expected}");
        }
    }

    #[test]
    fn telemetry_is_json_where_its_device_says_so_and_base64_otherwise() {
        let said = [
            ("content-type", "application/json"),
            ("iothub-connection-device-id", "dev-1"),
            ("level", "high"),
        ];
        let json = read(&event(EventKind::Telemetry, &said, r#"{"t":21.5}"#));
        let expected = json!({
            "properties": {"level": "high"},
            "systemProperties": {
                "content-type": "application/json",
                "iothub-connection-device-id": "dev-1",
            },
            "body": {"t": 21.5},
        });
        assert_eq!(json["data"], expected);
        for (said, body) in [(&said[1..], "{}"), (&said[..], "no json")] {
            let plain = read(&event(EventKind::Telemetry, said, body));
            assert_eq!(plain["data"]["body"], STANDARD.encode(body));
        }
    }
}
