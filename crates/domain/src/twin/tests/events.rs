//! What the device and the event consumers are told (twins.md §5, errors-limits.md §6.2).

use super::*;

fn told(twin: &Twin, change: TwinChange) -> Value {
    let notification = written(twin, change)
        .notification
        .expect("the device is told");
    assert_eq!(
        notification.body.get("$version"),
        Some(&json!(notification.version))
    );
    Value::Object(notification.body)
}

#[test]
fn the_device_gets_the_patch_as_sent_with_the_new_version_last() {
    let patch = json!({"a": {"b": null}, "c": [1.0], "$metadata": {}, "$version": 1});
    let body = told(&fresh(), desired(patch));
    assert_eq!(
        body.to_string(),
        r#"{"a":{"b":null},"c":[1.0],"$version":2}"#
    );
}

#[test]
fn tags_and_reported_are_never_told_to_the_device() {
    for change in [tags(json!({"a": 1})), reported(json!({"a": 1}))] {
        assert_eq!(written(&fresh(), change).notification, None);
    }
    let twin = written(&fresh(), tags(json!({"secret": 1}))).twin;
    let view = Value::Object(twin.device_view());
    assert_eq!(
        view,
        json!({"desired": {"$version": 1}, "reported": {"$version": 1}})
    );
}

#[test]
fn after_a_replacement_the_device_gets_the_whole_section() {
    let twin = written(&fresh(), desired(json!({"a": 1, "b": {"c": 1}}))).twin;
    let change = replacement(json!({}), json!({"b": {"d": 1}, "e": null}));
    assert_eq!(told(&twin, change), json!({"b": {"d": 1}, "$version": 3}));
}

#[test]
fn a_replacement_can_name_what_it_removed() {
    let rules = TwinRules {
        replaced_keys: ReplacedKeys::Nulls,
        ..RULES
    };
    let twin = written(
        &fresh(),
        desired(json!({"a": 1, "b": {"c": 1}, "s": {"t": 1}})),
    )
    .twin;
    let change = replacement(json!({}), json!({"b": {"d": 1}, "s": 5}));
    let body = apply(&twin, change, rules, at(2))
        .unwrap()
        .notification
        .unwrap()
        .body;
    assert_eq!(
        Value::Object(body),
        json!({"b": {"d": 1, "c": null}, "s": 5, "a": null, "$version": 3})
    );
}

#[test]
fn the_event_of_a_patch_holds_what_changed() {
    let twin = written(&fresh(), desired(json!({"old": 1, "gone": 1}))).twin;
    let event = written(&twin, desired(json!({"new": 2, "gone": null}))).event;
    let stamp = "2026-01-05T09:12:32.4120000Z";
    assert_eq!(
        event.map(Value::Object),
        Some(json!({
            "version": 4,
            "properties": {"desired": {
                "new": 2,
                "gone": null,
                "$metadata": {
                    "$lastUpdated": stamp,
                    "$lastUpdatedVersion": 3,
                    "new": {"$lastUpdated": stamp, "$lastUpdatedVersion": 3}
                },
                "$version": 3
            }}
        }))
    );
}

#[test]
fn the_event_of_a_tag_write_holds_the_tags_alone() {
    let event = written(&fresh(), tags(json!({"a": 1}))).event;
    assert_eq!(
        event.map(Value::Object),
        Some(json!({"version": 3, "tags": {"a": 1}}))
    );
}

#[test]
fn the_event_of_a_replacement_holds_the_whole_twin() {
    let twin = written(&fresh(), reported(json!({"r": 1}))).twin;
    let outcome = written(&twin, replacement(json!({"t": 1}), json!({"d": 1})));
    let event = outcome.event.unwrap();
    assert_eq!(event["version"], json!(4));
    assert_eq!(event["tags"], json!({"t": 1}));
    assert_eq!(
        event["properties"],
        Value::Object(outcome.twin.properties())
    );
    assert_eq!(event["properties"]["reported"]["r"], json!(1));
}

#[test]
fn only_a_replacement_is_called_one() {
    assert_eq!(desired(json!({})).op_type(), "updateTwin");
    assert_eq!(reported(json!({})).op_type(), "updateTwin");
    assert_eq!(replacement(json!({}), json!({})).op_type(), "replaceTwin");
}
