//! Versions, etags and metadata (twins.md §3).

use super::*;

#[test]
fn a_new_twin_has_etag_one_version_two_and_no_version_in_its_metadata() {
    let twin = fresh();
    assert_eq!(twin.etag_text(), "AAAAAAAAAAE=");
    assert_eq!(twin.version, 2);
    assert_eq!((twin.desired.version, twin.reported.version), (1, 1));
    assert_eq!(
        Value::Object(twin.desired.service_view()),
        json!({"$metadata": {"$lastUpdated": "2026-01-05T09:12:31.4120000Z"}, "$version": 1})
    );
}

#[test]
fn a_desired_patch_raises_etag_version_and_desired_version() {
    let twin = written(&fresh(), desired(json!({"rate": 5}))).twin;
    assert_eq!(twin.etag_text(), "AAAAAAAAAAI=");
    assert_eq!(
        (twin.version, twin.desired.version, twin.reported.version),
        (3, 2, 1)
    );
    let touched = json!({
        "$lastUpdated": "2026-01-05T09:12:32.4120000Z",
        "$lastUpdatedVersion": 2,
        "rate": {"$lastUpdated": "2026-01-05T09:12:32.4120000Z", "$lastUpdatedVersion": 2}
    });
    assert_eq!(Value::Object(twin.desired.metadata), touched);
}

#[test]
fn a_tag_write_raises_etag_and_version_alone() {
    let twin = written(&fresh(), tags(json!({"site": "zrh"}))).twin;
    assert_eq!((twin.etag, twin.version), (2, 3));
    assert_eq!((twin.desired.version, twin.reported.version), (1, 1));
}

#[test]
fn a_write_of_both_parts_counts_once() {
    let change = TwinChange::Patch {
        tags: Some(object(json!({"a": 1}))),
        desired: Some(object(json!({"b": 2}))),
        if_match: IfMatch::Absent,
    };
    let twin = written(&fresh(), change).twin;
    assert_eq!((twin.etag, twin.version, twin.desired.version), (2, 3, 2));
}

#[test]
fn a_report_raises_version_and_reported_version_and_leaves_the_etag() {
    let twin = written(&fresh(), reported(json!({"on": true}))).twin;
    assert_eq!((twin.etag, twin.version), (1, 3));
    assert_eq!((twin.desired.version, twin.reported.version), (1, 2));
    assert_eq!(
        Value::Object(twin.reported.metadata),
        json!({
            "$lastUpdated": "2026-01-05T09:12:32.4120000Z",
            "on": {"$lastUpdated": "2026-01-05T09:12:32.4120000Z"}
        })
    );
}

#[test]
fn an_empty_patch_or_report_changes_nothing_and_tells_nobody() {
    for change in [
        desired(json!({})),
        desired(json!({"$version": 7, "$metadata": {}})),
        tags(json!({})),
        reported(json!({})),
    ] {
        let outcome = written(&fresh(), change);
        assert_eq!(outcome.twin, fresh());
        assert_eq!(outcome.notification, None);
        assert_eq!(outcome.event, None);
    }
}

#[test]
fn an_untouched_sibling_keeps_its_stamp_and_a_deleted_one_loses_it() {
    let first = written(
        &fresh(),
        desired(json!({"kept": {"x": 1}, "gone": 1, "deep": {"a": 1, "b": 2}})),
    )
    .twin;
    let change = desired(json!({"gone": null, "deep": {"a": 3}}));
    let second = apply(&first, change, RULES, at(2)).unwrap().twin;
    let before = &first.desired.metadata;
    let after = &second.desired.metadata;
    assert_eq!(after["kept"], before["kept"]);
    assert_eq!(after["deep"]["b"], before["deep"]["b"]);
    assert_eq!(after["deep"]["a"]["$lastUpdatedVersion"], json!(3));
    assert_eq!(after["deep"]["$lastUpdatedVersion"], json!(3));
    assert_eq!(after["$lastUpdatedVersion"], json!(3));
    assert!(!after.contains_key("gone"));
}

#[test]
fn an_equal_value_written_again_counts_as_a_write() {
    let first = written(&fresh(), desired(json!({"a": 1}))).twin;
    let second = apply(&first, desired(json!({"a": 1})), RULES, at(9)).unwrap();
    assert_eq!(second.twin.desired.version, 3);
    assert_ne!(second.twin.desired.metadata, first.desired.metadata);
}

#[test]
fn an_array_has_one_metadata_node() {
    let twin = written(&fresh(), desired(json!({"list": [{"a": 1}, 2]}))).twin;
    let node = &twin.desired.metadata["list"];
    assert_eq!(node.as_object().map(Object::len), Some(2));
}

#[test]
fn a_stale_etag_is_refused_even_for_an_empty_patch() {
    let twin = written(&fresh(), desired(json!({"a": 1}))).twin;
    let with = |etag: &str, patch: Value| TwinChange::Patch {
        tags: None,
        desired: Some(object(patch)),
        if_match: IfMatch::Etag(etag.to_owned()),
    };
    for patch in [json!({"a": 2}), json!({})] {
        let refused = apply(&twin, with("AAAAAAAAAAE=", patch.clone()), RULES, at(2));
        assert_eq!(refused, Err(TwinError::PreconditionFailed));
        assert!(apply(&twin, with("AAAAAAAAAAI=", patch), RULES, at(2)).is_ok());
    }
}

#[test]
fn a_report_may_name_the_version_it_builds_on() {
    let with = |version| TwinChange::Report {
        patch: object(json!({"a": 1})),
        expected_version: Some(version),
    };
    assert!(apply(&fresh(), with(1), RULES, at(1)).is_ok());
    assert_eq!(
        apply(&fresh(), with(2), RULES, at(1)),
        Err(TwinError::PreconditionFailed)
    );
}

#[test]
fn a_replacement_continues_the_versions_and_leaves_reported() {
    let twin = written(&fresh(), reported(json!({"on": true}))).twin;
    let twin = written(&twin, desired(json!({"a": 1, "b": {"c": 1}}))).twin;
    let twin = written(&twin, tags(json!({"site": "zrh"}))).twin;
    let change = replacement(
        json!({"floor": 2, "none": null}),
        json!({"b": {"d": 1, "e": null}, "$version": 99}),
    );
    let next = apply(&twin, change, RULES, at(5)).unwrap().twin;
    assert_eq!(Value::Object(next.tags.clone()), json!({"floor": 2}));
    assert_eq!(
        Value::Object(next.desired.values.clone()),
        json!({"b": {"d": 1}})
    );
    assert_eq!(next.desired.version, twin.desired.version + 1);
    assert_eq!(next.reported, twin.reported);
    assert!(next.keeps_the_sum_rule());
}
