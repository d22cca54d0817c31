//! Laws that hold for any condition over any row.

use downlink_ports::twin_queries::holds as filter_holds;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{parse, row};
use crate::Query;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3..3_i32).prop_map(Value::from),
        (-3..3_i32).prop_map(|n| Value::from(f64::from(n) / 2.0)),
        "[ab\u{0}é]{0,2}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => scalar(),
        1 => proptest::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => scalar().prop_map(|value| json!({ "x": value })),
    ]
}

fn tags() -> impl Strategy<Value = Value> {
    (proptest::option::of(value()), proptest::option::of(value())).prop_map(|(a, b)| {
        let mut tags = serde_json::Map::new();
        tags.extend(a.map(|a| ("a".to_owned(), a)));
        tags.extend(b.map(|b| ("b".to_owned(), b)));
        Value::Object(tags)
    })
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        scalar().prop_map(|value| value.to_string()),
        Just("undefined".to_owned()),
        Just("'2026-01-05T09:12:31.412Z'".to_owned()),
        Just("'2026-01-05T09:12:31.4125Z'".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let paths = [
        "tags.a",
        "tags.b",
        "tags.a.x",
        "tags",
        "tags.a[0]",
        "properties.reported.r",
        "properties.desired.$version",
        "deviceId",
        "moduleId",
        "statusReason",
        "lastActivityTime",
        "statusUpdateTime",
        "capabilities.iotEdge",
        "configurations.[[cfg-1]].status",
        "version",
        "connectionState",
        "nothing",
    ];
    proptest::sample::select(paths.to_vec()).prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    let comparison = proptest::sample::select(vec!["=", "!=", "<>", "<", "<=", ">", ">="]);
    let kinds = vec![
        "IS_ARRAY",
        "IS_BOOL",
        "IS_DEFINED",
        "IS_NULL",
        "IS_NUMBER",
        "IS_OBJECT",
        "IS_PRIMITIVE",
        "IS_STRING",
    ];
    let texts = vec!["STARTS_WITH", "ENDS_WITH", "CONTAINS", "ARRAY_CONTAINS"];
    let side = prop_oneof![path(), literal()];
    let listed = proptest::collection::vec(literal(), 1..4).prop_map(|list| list.join(", "));
    let leaf = prop_oneof![
        (side.clone(), comparison, side).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        (path(), proptest::sample::select(vec!["IN", "NIN"]), listed)
            .prop_map(|(path, op, list)| format!("{path} {op} [{list}]")),
        (proptest::sample::select(kinds), path()).prop_map(|(f, path)| format!("{f}({path})")),
        (proptest::sample::select(texts), path(), literal())
            .prop_map(|(f, path, literal)| format!("{f}({path}, {literal})")),
        path(),
        path().prop_map(|path| format!("LENGTH({path}) > 0")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| format!("NOT ({part})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) AND ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) OR ({b})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_loses_no_row_and_an_exact_one_gains_none(
        condition in condition(), tags in tags(), reported in scalar(), is_edge: bool,
    ) {
        let mut row = row(tags, json!({ "r": reported }));
        row.device.is_edge = is_edge;
        let query = parse(&format!("SELECT * FROM devices WHERE {condition}"));
        let plan = query.plan();
        let is_in = filter_holds(&plan.filter, &row);
        let matches = query.matches(&row);
        prop_assert!(is_in || !matches, "{} loses the row: {:?}", condition, plan);
        prop_assert!(!plan.is_exact || is_in == matches, "{} gains the row: {:?}", condition, plan);
    }

    #[test]
    fn no_text_makes_the_parser_fail_otherwise_than_with_a_position_within_it(text in ".{0,80}") {
        if let Err(error) = Query::parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.position));
        }
    }

    #[test]
    fn any_text_between_quotes_is_data(text in ".{0,40}") {
        let quoted = text.replace('\\', r"\\").replace('\'', r"\'");
        let query = parse(&format!("SELECT * FROM devices WHERE tags.a = '{quoted}'"));
        let same = row(json!({ "a": text }), json!({}));
        prop_assert!(query.matches(&same));
        let other = row(json!({ "a": format!("{text}x") }), json!({}));
        prop_assert!(!query.matches(&other));
    }
}
