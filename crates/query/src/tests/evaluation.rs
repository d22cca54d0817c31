//! What expressions yield.

use serde_json::json;

use super::support::{matches, row, selected};
use crate::document;

#[test]
fn undefined_and_values_of_different_kinds_are_neither_true_nor_false() {
    let row = row(json!({"a": 1, "s": "x", "t": true}), json!({}));
    for condition in [
        "tags.missing = 1",
        "tags.missing != 1",
        "NOT tags.missing = 1",
        "tags.a = '1'",
        "tags.a != '1'",
        "NOT (tags.a = '1')",
        "tags.t < true",
        "tags = tags",
        "tags.missing",
        "tags.a",
        "tags.missing IN [1]",
        "tags.missing NIN [1]",
        "tags NIN [1]",
        "NOT undefined",
        "tags.a / 0 > 0",
    ] {
        assert!(!matches(condition, &row), "{condition}");
    }
    for condition in [
        "tags.missing = 1 OR tags.a = 1",
        "NOT (tags.missing = 1 AND tags.a = 2)",
        "tags.t",
        "NOT (NOT tags.t)",
        "tags.a IN ['x', 1]",
        "tags.a NIN ['1', 2]",
        "tags.a NOT IN ['1', 2]",
        "'Y' < tags.s",
        "tags.a = 1.0",
        "null = null",
    ] {
        assert!(matches(condition, &row), "{condition}");
    }
}

#[test]
fn text_is_ordered_by_code_points_and_numbers_as_doubles() {
    let row = row(
        json!({"e": "é", "high": "\u{10000}", "low": "\u{ffff}", "big": 4_503_599_627_370_495_i64}),
        json!({}),
    );
    for condition in [
        "tags.e > 'z'",
        "tags.high > tags.low",
        "tags.big = 4503599627370495",
        "tags.big < 4503599627370495.5",
    ] {
        assert!(matches(condition, &row), "{condition}");
    }
}

#[test]
fn times_of_the_system_compare_as_instants_however_they_are_written() {
    let row = row(json!({}), json!({}));
    for condition in [
        "lastActivityTime = '2026-01-05T09:12:31.412Z'",
        "lastActivityTime = '2026-01-05T10:12:31.4120000+01:00'",
        "lastActivityTime > '2026-01-05T09:12:31Z'",
        "lastActivityTime < '2026-01-05T09:12:31.4120001Z'",
        "lastActivityTime >= '2026-01-05'",
        "lastActivityTime < '2026-01-05T09:12:32'",
        "'2026-01-06' > lastActivityTime",
        "lastActivityTime IN ['x', '2026-01-05T09:12:31.412Z']",
        "statusUpdateTime = '0001-01-01T00:00:00Z'",
        "STARTS_WITH(lastActivityTime, '2026-01-05T09')",
        "IS_STRING(lastActivityTime)",
    ] {
        assert!(matches(condition, &row), "{condition}");
    }
    assert!(!matches("lastActivityTime > 'yesterday'", &row));
    assert!(!matches("lastActivityTime != 'yesterday'", &row));
}

#[test]
fn paths_lead_through_objects_arrays_and_names_of_any_kind() {
    let row = row(
        json!({"list": [1, {"x": 2}], "odd.name": {"a b": 1}}),
        json!({"fw": "1.0"}),
    );
    assert_eq!(
        selected(
            "tags.list[1].x, tags.[[odd.name]].[[a b]], tags.list[7], tags.list.x AS gone, \
             configurations.[[cfg-1]].status, properties.desired.$version, \
             properties.reported.$metadata.$lastUpdated AS since, cloudToDeviceMessageCount",
            &row
        ),
        json!({
            "x": 2, "a b": 1, "status": "Applied", "$version": 1,
            "since": "2026-01-05T09:12:31.4120000Z", "cloudToDeviceMessageCount": 3,
        })
    );
}

#[test]
fn numbers_come_back_as_they_were_written_and_computed_ones_without_an_idle_fraction() {
    let tags: serde_json::Value = serde_json::from_str(r#"{"a": 1.0, "b": 1e2}"#).unwrap();
    let row = row(tags, json!({}));
    let out = selected("tags.a, tags.b, tags.a + 1 AS c, tags.a / 4 AS d", &row);
    assert_eq!(out.to_string(), r#"{"a":1.0,"b":1e+2,"c":2,"d":0.25}"#);
}

#[test]
fn functions_yield_what_their_names_say() {
    let row = row(
        json!({"s": "Aéz", "n": -2.5, "l": [1, "x"], "o": {}}),
        json!({}),
    );
    for (expr, expected) in [
        ("ABS(tags.n)", json!(2.5)),
        ("EXP(0)", json!(1)),
        ("POWER(2, 10)", json!(1024)),
        ("SQUARE(tags.n)", json!(6.25)),
        ("CEILING(tags.n)", json!(-2)),
        ("FLOOR(tags.n)", json!(-3)),
        ("SIGN(tags.n)", json!(-1)),
        ("SQRT(9)", json!(3)),
        ("AS_NUMBER(' 1.5e1 ')", json!(15)),
        ("IS_ARRAY(tags.l)", json!(true)),
        ("IS_BOOL(tags.l)", json!(false)),
        ("IS_DEFINED(tags.gone)", json!(false)),
        ("IS_NULL(null)", json!(true)),
        ("IS_NUMBER(tags.n)", json!(true)),
        ("IS_OBJECT(tags.o)", json!(true)),
        ("IS_PRIMITIVE(tags.o)", json!(false)),
        ("IS_STRING(tags.s)", json!(true)),
        ("CONCAT(tags.s, '-', deviceId)", json!("Aéz-dev-1")),
        ("LENGTH(tags.s)", json!(3)),
        ("LOWER(tags.s)", json!("aéz")),
        ("UPPER(tags.s)", json!("AÉZ")),
        ("SUBSTRING(tags.s, 1, 1)", json!("é")),
        ("INDEX_OF(tags.s, 'z')", json!(2)),
        ("INDEX_OF(tags.s, 'q')", json!(-1)),
        ("STARTS_WITH(tags.s, 'Aé')", json!(true)),
        ("STARTSWITH(tags.s, 'b')", json!(false)),
        ("ENDS_WITH(tags.s, 'z')", json!(true)),
        ("CONTAINS(tags.s, 'é')", json!(true)),
        ("ARRAY_LENGTH(tags.l)", json!(2)),
        ("ARRAY_CONTAINS(tags.l, 'x')", json!(true)),
        ("7 % 4", json!(3)),
    ] {
        assert_eq!(
            selected(&format!("{expr} AS v"), &row),
            json!({"v": expected}),
            "{expr}"
        );
    }
    for undefined in [
        "SQRT(-1)",
        "LENGTH(1)",
        "CONCAT('a', 1)",
        "AS_NUMBER('inf')",
        "EXP(1000)",
    ] {
        assert_eq!(
            selected(&format!("{undefined} AS v"), &row),
            json!({}),
            "{undefined}"
        );
    }
}

#[test]
fn a_whole_twin_has_the_members_of_the_contract_in_their_order() {
    let twin = document::twin(&row(json!({"site": "zrh"}), json!({})));
    let names: Vec<_> = twin
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        [
            "deviceId",
            "etag",
            "deviceEtag",
            "status",
            "statusUpdateTime",
            "connectionState",
            "lastActivityTime",
            "cloudToDeviceMessageCount",
            "authenticationType",
            "x509Thumbprint",
            "modelId",
            "version",
            "tags",
            "properties",
            "configurations",
            "capabilities",
        ]
    );
}

#[test]
fn every_member_of_a_whole_twin_is_found_by_its_path() {
    let row = row(json!({"site": "zrh"}), json!({"a": 1}));
    for (name, value) in document::twin(&row).as_object().unwrap() {
        assert_eq!(selected(name, &row)[name], *value, "{name}");
    }
}
