//! Reads, plans and evaluates a query as a hostile back-end may send it: errors point into the text, filters keep their
//! bounds, and a filter agrees with the evaluator on what it says exactly.
#![no_main]

use std::sync::LazyLock;

use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device, DeviceStatus};
use downlink_domain::id::{DeviceKey, GenerationId, IdentityName};
use downlink_domain::query::MAX_FILTER_NODES;
use downlink_domain::twin::Twin;
use downlink_ports::ScanRow;
use downlink_ports::twin_queries::holds;
use downlink_query::{Condition, Groups, Query, Source};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static ROWS: LazyLock<Vec<ScanRow>> = LazyLock::new(|| {
    let tags = [
        json!({}),
        json!({"a": 1, "b": "x", "c": true, "d": {"e": [1, "x", null]}}),
        json!({"a": "2026-01-05T09:12:31.412Z", "b": 1.5, "c": "é\u{0}"}),
    ];
    tags.into_iter().map(row).collect()
});

fn row(tags: Value) -> ScanRow {
    let mut twin = Twin::new(Timestamp::from_millis(1_767_604_351_412));
    twin.tags = tags.as_object().expect("an object").clone();
    twin.reported.values = twin.tags.clone();
    let device: IdentityName =
        IdentityName { device: "dev-1".parse().expect("an id"), module: None };
    ScanRow {
        device: Device {
            key: DeviceKey(1),
            hub: "hub".parse().expect("a name"),
            name: device,
            generation: GenerationId(1),
            etag: 1,
            status: DeviceStatus::Enabled,
            status_reason: None,
            status_updated_at: Timestamp::UNSET,
            authentication: Authentication::CertificateAuthority,
            is_edge: false,
            connection_state_updated_at: Timestamp::UNSET,
            last_activity_at: Timestamp::from_millis(1_767_604_351_412),
            is_connected: false,
            model_id: String::new(),
            managed_by: None,
            device_scope: None,
            parent_scopes: Vec::new(),
        },
        twin,
        configurations: serde_json::Map::new(),
        waiting: Some(0),
    }
}

fuzz_target!(|text: &str| {
    assert!(downlink_query::shape(text).chars().count() <= 512);
    if let Ok(condition) = Condition::parse(text) {
        let _ = condition.plan();
        let _ = condition.matches(&ROWS[1]);
    }
    let query = match Query::parse(text) {
        Ok(query) => query,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.position));
            return;
        }
    };
    if query.source == Source::Jobs {
        return;
    }
    let plan = query.plan();
    assert!(plan.filter.nodes() <= MAX_FILTER_NODES);
    let mut groups = query.is_grouped().then(|| Groups::new(&query, 16, 1 << 20));
    for row in ROWS.iter() {
        let matches = query.matches(row);
        let is_in = holds(&plan.filter, row);
        assert!(is_in || !matches, "the filter loses a row");
        assert!(!plan.is_exact || is_in == matches, "an exact filter gains a row");
        if let Some(groups) = &mut groups {
            let _ = groups.add_row(row);
        } else if matches {
            let _ = query.project(row);
        }
    }
    if let Some(groups) = groups {
        let _ = groups.finish();
    }
});
