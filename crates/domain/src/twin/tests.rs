use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::caps;

const RULES: TwinRules = TwinRules {
    max_tags_bytes: caps::MAX_TAGS_BYTES,
    max_desired_bytes: caps::MAX_DESIRED_BYTES,
    max_reported_bytes: caps::MAX_REPORTED_BYTES,
    replaced_keys: ReplacedKeys::Omitted,
    kept_changes: caps::KEPT_CHANGES,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(1_767_604_351_412 + second * 1000)
}

#[track_caller]
fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is not an object"),
    }
}

fn desired(patch: Value) -> TwinChange {
    TwinChange::Patch {
        tags: None,
        desired: Some(object(patch)),
        if_match: IfMatch::Any,
    }
}

fn tags(patch: Value) -> TwinChange {
    TwinChange::Patch {
        tags: Some(object(patch)),
        desired: None,
        if_match: IfMatch::Any,
    }
}

fn reported(patch: Value) -> TwinChange {
    TwinChange::Report {
        patch: object(patch),
        expected_version: None,
    }
}

fn replacement(tags: Value, desired: Value) -> TwinChange {
    TwinChange::Replace {
        tags: object(tags),
        desired: object(desired),
        if_match: IfMatch::Any,
    }
}

#[track_caller]
fn written(twin: &Twin, change: TwinChange) -> TwinWritten {
    apply(twin, change, RULES, at(1)).expect("the write holds")
}

fn fresh() -> Twin {
    Twin::new(at(0))
}

mod events;
mod laws;
mod rules;
mod versions;
