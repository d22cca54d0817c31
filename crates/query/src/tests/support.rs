//! Rows and queries for tests.

use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device, DeviceStatus};
use downlink_domain::id::{DeviceKey, GenerationId, IdentityName};
use downlink_domain::twin::Twin;
use downlink_ports::ScanRow;
use serde_json::{Value, json};

use crate::Query;

/// A row of the device `dev-1` with these tags and reported properties.
pub(super) fn row(tags: Value, reported: Value) -> ScanRow {
    let name: IdentityName = IdentityName {
        device: "dev-1".parse().unwrap(),
        module: None,
    };
    let mut twin = Twin::new(Timestamp::from_millis(1_767_604_351_412));
    let object = |value: Value| match value {
        Value::Object(object) => object,
        _ => panic!("an object"),
    };
    twin.tags = object(tags);
    twin.reported.values = object(reported);
    twin.desired.values = object(json!({"rate": 5}));
    ScanRow {
        device: Device {
            key: DeviceKey(1),
            hub: "hub.example".parse().unwrap(),
            name,
            generation: GenerationId(1),
            etag: 7,
            status: DeviceStatus::Enabled,
            status_reason: None,
            status_updated_at: Timestamp::UNSET,
            authentication: Authentication::CertificateAuthority,
            is_edge: false,
            connection_state_updated_at: Timestamp::UNSET,
            last_activity_at: Timestamp::from_millis(1_767_604_351_412),
            is_connected: true,
            model_id: String::new(),
            managed_by: None,
            device_scope: None,
            parent_scopes: Vec::new(),
        },
        twin,
        configurations: object(json!({"cfg-1": {"status": "Applied"}})),
        waiting: Some(3),
    }
}

/// What `SELECT <items> FROM devices` selects of the row.
#[track_caller]
pub(super) fn selected(items: &str, row: &ScanRow) -> Value {
    let query = parse(&format!("SELECT {items} FROM devices"));
    Value::Object(query.project(row).expect("items"))
}

/// Whether the row matches the condition.
#[track_caller]
pub(super) fn matches(condition: &str, row: &ScanRow) -> bool {
    parse(&format!("SELECT * FROM devices WHERE {condition}")).matches(row)
}

#[track_caller]
pub(super) fn parse(text: &str) -> Query {
    match Query::parse(text) {
        Ok(query) => query,
        Err(error) => panic!("{text}: {error}"),
    }
}
