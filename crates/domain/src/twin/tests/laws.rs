//! Laws that hold for every sequence of writes.

use super::*;

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")].prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-100_i64..100).prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
        Just(json!([1, {"x": "y"}])),
    ]
}

fn patch_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![3 => scalar(), 1 => Just(Value::Null)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop::collection::vec((key(), inner), 0..4)
            .prop_map(|m| Value::Object(Object::from_iter(m)))
    })
}

fn patch() -> impl Strategy<Value = Object> {
    prop::collection::vec((key(), patch_value()), 0..4).prop_map(Object::from_iter)
}

fn change() -> impl Strategy<Value = TwinChange> {
    let if_match =
        || prop_oneof![4 => Just(IfMatch::Any), 1 => Just(IfMatch::Etag("AAAAAAAAAAI=".into()))];
    prop_oneof![
        (
            prop::option::of(patch()),
            prop::option::of(patch()),
            if_match()
        )
            .prop_map(|(tags, desired, if_match)| TwinChange::Patch {
                tags,
                desired,
                if_match
            }),
        (patch(), patch(), if_match()).prop_map(|(tags, desired, if_match)| {
            TwinChange::Replace {
                tags,
                desired,
                if_match,
            }
        }),
        (patch(), prop::option::weighted(0.2, 1_u64..4)).prop_map(|(patch, expected_version)| {
            TwinChange::Report {
                patch,
                expected_version,
            }
        }),
    ]
}

/// The merge as RFC 7396 words it, independent of the code under test.
fn reference_merge(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut merged = match target {
        Value::Object(members) => members,
        _ => Object::new(),
    };
    for (key, value) in patch {
        if value.is_null() {
            merged.shift_remove(key);
        } else {
            let old = merged.get(key).cloned().unwrap_or(Value::Null);
            merged.insert(key.clone(), reference_merge(old, value));
        }
    }
    Value::Object(merged)
}

fn mirrors(values: &Object, metadata: &Object) -> bool {
    let nodes = metadata.iter().filter(|(key, _)| !key.starts_with('$'));
    let mirrored = nodes
        .clone()
        .all(|(key, node)| match (values.get(key), node) {
            (Some(Value::Object(values)), Value::Object(node)) => mirrors(values, node),
            (Some(_), Value::Object(node)) => node.keys().all(|key| key.starts_with('$')),
            _ => false,
        });
    mirrored && nodes.count() == values.len() && metadata.contains_key("$lastUpdated")
}

fn stamps_are_at_most(metadata: &Object, version: u64) -> bool {
    metadata.iter().all(|(key, node)| match node {
        Value::Object(node) => stamps_are_at_most(node, version),
        value if key == "$lastUpdatedVersion" => value.as_u64().is_some_and(|v| v <= version),
        _ => true,
    })
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().any(holds_null),
        _ => false,
    }
}

fn run(changes: Vec<TwinChange>) -> Twin {
    changes
        .into_iter()
        .zip(1..)
        .fold(fresh(), |twin, (change, second)| {
            match apply(&twin, change, RULES, at(second)) {
                Ok(written) => written.twin,
                Err(_) => twin,
            }
        })
}

fn changes() -> impl Strategy<Value = Vec<TwinChange>> {
    prop::collection::vec(change(), 0..12)
}

proptest! {
    #[test]
    fn a_patch_merges_as_the_standard_says(history in changes(), patch in patch()) {
        let twin = run(history);
        let expected = reference_merge(
            Value::Object(twin.desired.values.clone()),
            &Value::Object(patch.clone()),
        );
        let next = written(&twin, desired(Value::Object(patch.clone()))).twin;
        prop_assert_eq!(Value::Object(next.desired.values), expected);
        let expected = reference_merge(
            Value::Object(twin.tags.clone()),
            &Value::Object(patch.clone()),
        );
        let next = written(&twin, tags(Value::Object(patch))).twin;
        prop_assert_eq!(Value::Object(next.tags), expected);
    }

    #[test]
    fn a_patch_applied_twice_leaves_the_values_of_once(history in changes(), patch in patch()) {
        let once = written(&run(history), reported(Value::Object(patch.clone()))).twin;
        let twice = written(&once, reported(Value::Object(patch))).twin;
        prop_assert_eq!(twice.reported.values, once.reported.values);
    }

    #[test]
    fn a_replacement_does_not_depend_on_what_was_there(history in changes(), patch in patch()) {
        let twin = run(history);
        let next = written(&twin, replacement(json!({}), Value::Object(patch.clone()))).twin;
        let anew = written(&fresh(), replacement(json!({}), Value::Object(patch))).twin;
        prop_assert_eq!(next.desired.values, anew.desired.values);
        prop_assert!(next.tags.is_empty());
    }

    #[test]
    fn metadata_mirrors_values_and_no_null_is_kept(history in changes()) {
        let twin = run(history);
        for section in [&twin.desired, &twin.reported] {
            prop_assert!(mirrors(&section.values, &section.metadata), "{:?}", section);
            prop_assert!(!section.values.values().any(holds_null));
            prop_assert!(stamps_are_at_most(&section.metadata, section.version));
        }
        prop_assert!(!twin.tags.values().any(holds_null));
    }

    #[test]
    fn versions_only_rise_and_keep_the_sum_rule(history in changes(), last in change()) {
        let twin = run(history);
        prop_assert!(twin.keeps_the_sum_rule());
        if let Ok(outcome) = apply(&twin, last, RULES, at(99)) {
            let next = outcome.twin;
            prop_assert!(next.keeps_the_sum_rule());
            let rises = [
                next.etag - twin.etag,
                next.version - twin.version,
                next.desired.version - twin.desired.version,
                next.reported.version - twin.reported.version,
            ];
            prop_assert!(rises.iter().all(|rise| *rise <= 1));
            prop_assert_eq!(outcome.event.is_some(), next.version > twin.version);
            prop_assert_eq!(
                outcome.notification.map(|n| n.version),
                (next.desired.version > twin.desired.version).then_some(next.desired.version)
            );
            prop_assert_eq!(next == twin, next.version == twin.version);
        }
    }

    #[test]
    fn a_device_that_merges_every_notification_holds_the_desired_section(history in changes()) {
        let rules = TwinRules { replaced_keys: ReplacedKeys::Nulls, ..RULES };
        let mut twin = fresh();
        let mut held = Value::Object(twin.desired.device_view());
        for change in history {
            if let Ok(outcome) = apply(&twin, change, rules, at(1)) {
                if let Some(notification) = outcome.notification {
                    held = reference_merge(held, &Value::Object(notification.body));
                }
                twin = outcome.twin;
            }
        }
        prop_assert_eq!(held, Value::Object(twin.desired.device_view()));
    }
}
