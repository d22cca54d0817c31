//! Aggregates and groups.

use downlink_domain::query::{Field, GroupValue, Scalar};
use serde_json::{Value, json};

use super::support::{parse, row};
use crate::{Groups, TooManyGroups};

#[track_caller]
fn grouped(text: &str, tags: &[Value]) -> Vec<Value> {
    let query = parse(text);
    let mut groups = Groups::new(&query, 100, 1 << 20);
    for tags in tags {
        groups.add_row(&row(tags.clone(), json!({}))).unwrap();
    }
    let finished = groups.finish().into_iter();
    let mut out: Vec<_> = finished
        .map(|group| Value::Object(group.selected))
        .collect();
    out.sort_by_key(Value::to_string);
    out
}

#[test]
fn aggregates_of_all_rows_are_one_group_even_when_there_are_none() {
    let text = "SELECT COUNT() AS n, COUNT(tags.a) AS a, SUM(tags.a) AS sum, AVG(tags.a) AS avg, \
                MIN(tags.a) AS min, MAX(tags.a) AS max FROM devices";
    assert_eq!(grouped(text, &[]), [json!({"n": 0, "a": 0, "sum": 0})]);
    let tags = [
        json!({"a": 1}),
        json!({"a": 2.5}),
        json!({"a": "x"}),
        json!({}),
    ];
    assert_eq!(
        grouped(text, &tags),
        [json!({"n": 4, "a": 3, "sum": 3.5, "avg": 1.75, "min": 1, "max": "x"})]
    );
}

#[test]
fn rows_are_grouped_by_values_that_are_equal_however_they_are_written() {
    let text =
        "SELECT tags.a AS a, COUNT() AS n, COUNT() * 2 AS twice FROM devices GROUP BY tags.a";
    let one: Value = serde_json::from_str(r#"{"a": 1.0}"#).unwrap();
    let tags = [
        json!({"a": 1}),
        one,
        json!({"a": "1"}),
        json!({}),
        json!({"a": {"x": 1, "y": 2}}),
        json!({"a": {"y": 2, "x": 1}}),
    ];
    assert_eq!(
        grouped(text, &tags),
        [
            json!({"a": "1", "n": 1, "twice": 2}),
            json!({"a": 1, "n": 2, "twice": 4}),
            json!({"a": {"x": 1, "y": 2}, "n": 2, "twice": 4}),
            json!({"n": 1, "twice": 2}),
        ]
    );
}

#[test]
fn counts_of_a_store_make_the_same_groups_as_rows() {
    let query = parse("SELECT tags.a, COUNT() AS n FROM devices GROUP BY tags.a");
    let Some(fields) = query.tally_fields() else {
        panic!("a store can count this")
    };
    assert!(matches!(fields.as_slice(), [Field::Member(_)]));
    let mut counted = Groups::new(&query, 100, 1 << 20);
    for (value, count) in [
        (GroupValue::Undefined, 1),
        (GroupValue::Scalar(Scalar::Number(1.0)), 2),
        (GroupValue::Scalar(Scalar::Text("x".into())), 1),
    ] {
        assert_eq!(counted.add_count(vec![value], count), Ok(true));
    }
    assert_eq!(counted.add_count(vec![GroupValue::Composite], 1), Ok(false));
    let mut scanned = Groups::new(&query, 100, 1 << 20);
    for tags in [
        json!({}),
        json!({"a": 1}),
        json!({"a": 1e0}),
        json!({"a": "x"}),
    ] {
        scanned.add_row(&row(tags, json!({}))).unwrap();
    }
    assert_eq!(counted.finish(), scanned.finish());
}

#[test]
fn what_a_store_cannot_count_is_told() {
    for text in [
        "SELECT SUM(tags.a) FROM devices",
        "SELECT COUNT(tags.a) FROM devices",
        "SELECT LOWER(tags.a) AS a, COUNT() FROM devices GROUP BY LOWER(tags.a)",
        "SELECT tags.a FROM devices",
    ] {
        let query = parse(&text.replace("LOWER(tags.a), ", ""));
        assert_eq!(query.tally_fields(), None, "{text}");
    }
    assert_eq!(
        parse("SELECT COUNT() AS n FROM devices").tally_fields(),
        Some(vec![])
    );
}

#[test]
fn groups_are_bounded_in_number_and_bytes() {
    let query = parse("SELECT tags.a, MAX(tags.b) AS b FROM devices GROUP BY tags.a");
    let mut few = Groups::new(&query, 1, 1 << 20);
    few.add_row(&row(json!({"a": 1}), json!({}))).unwrap();
    few.add_row(&row(json!({"a": 1}), json!({}))).unwrap();
    assert_eq!(
        few.add_row(&row(json!({"a": 2}), json!({}))),
        Err(TooManyGroups)
    );
    let mut small = Groups::new(&query, 100, 2048);
    let long = "x".repeat(4096);
    assert_eq!(
        small.add_row(&row(json!({"a": 1, "b": long}), json!({}))),
        Err(TooManyGroups)
    );
}
