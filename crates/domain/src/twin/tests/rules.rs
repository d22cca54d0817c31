//! Keys, values, depth and sizes (twins.md §4.5).

use super::*;

#[track_caller]
fn assert_refused(patch: &Value) {
    for change in [
        desired(patch.clone()),
        tags(patch.clone()),
        reported(patch.clone()),
        replacement(json!({}), patch.clone()),
        replacement(patch.clone(), json!({})),
    ] {
        let outcome = apply(&fresh(), change, RULES, at(1));
        assert!(matches!(outcome, Err(TwinError::Invalid(_))), "{patch}");
    }
}

#[track_caller]
fn assert_accepted(patch: Value) {
    for change in [
        desired(patch.clone()),
        tags(patch.clone()),
        reported(patch.clone()),
        replacement(patch.clone(), patch),
    ] {
        written(&fresh(), change);
    }
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(json!({"leaf": 1}), |inner, _| json!({"n": inner}))
}

#[test]
fn keys_keep_their_alphabet_and_length() {
    for key in ["a.b", "$a", "a b", "a#", "a\u{7f}", "a\u{85}", "\n", "a$"] {
        assert_refused(&json!({key: 1}));
        assert_refused(&json!({"fine": {key: 1}}));
        assert_refused(&json!({"fine": [{key: 1}]}));
        assert_refused(&json!({key: null}));
    }
    for key in ["", "é", "日本", "a-b_c:d/e"] {
        assert_accepted(json!({key: 1}));
    }
    assert_accepted(json!({"k".repeat(1024): 1}));
    assert_refused(&json!({"k".repeat(1025): 1}));
}

#[test]
fn the_two_dollar_members_are_ignored_at_the_top_of_desired_only() {
    for patch in [
        json!({"$version": 3, "a": 1}),
        json!({"$metadata": {}, "a": 1}),
    ] {
        assert!(apply(&fresh(), desired(patch.clone()), RULES, at(1)).is_ok());
        assert!(
            apply(
                &fresh(),
                replacement(json!({}), patch.clone()),
                RULES,
                at(1)
            )
            .is_ok()
        );
        assert!(apply(&fresh(), reported(patch.clone()), RULES, at(1)).is_err());
        assert!(apply(&fresh(), tags(patch.clone()), RULES, at(1)).is_err());
        assert_refused(&json!({"below": patch}));
    }
}

#[test]
fn strings_have_at_most_4096_bytes() {
    assert_accepted(json!({"k": "x".repeat(4096)}));
    assert_refused(&json!({"k": "x".repeat(4097)}));
    assert_refused(&json!({"k": "é".repeat(2049)}));
    assert_refused(&json!({"k": ["x".repeat(4097)]}));
}

#[test]
fn a_property_has_at_most_4096_bytes_with_its_path() {
    assert_accepted(json!({"k": vec!["x".repeat(1000); 4]}));
    assert_refused(&json!({"k": vec!["x".repeat(1000); 5]}));
    let long = "k".repeat(1024);
    assert_refused(
        &json!({long.as_str(): {long.as_str(): {long.as_str(): {long.as_str(): {"k": 1}}}}}),
    );
}

#[test]
fn integers_have_52_bits_and_a_sign() {
    for number in [
        "4503599627370495",
        "-4503599627370496",
        "0.5",
        "-0",
        "1e300",
    ] {
        assert_accepted(json!({"n": serde_json::from_str::<Value>(number).unwrap()}));
    }
    let long = format!("0.{}", "1".repeat(127));
    for number in [
        "4503599627370496",
        "-4503599627370497",
        "99999999999999999999999",
        "1e400",
        long.as_str(),
    ] {
        let number = serde_json::from_str::<Value>(number).unwrap();
        assert_refused(&json!({"n": number}));
        assert_refused(&json!({"n": [number]}));
    }
}

#[test]
fn numbers_come_back_as_written() {
    let patch = serde_json::from_str::<Value>(r#"{"a":1.0,"b":1,"c":1.50}"#).unwrap();
    let twin = written(&fresh(), desired(patch)).twin;
    assert_eq!(
        Value::Object(twin.desired.values).to_string(),
        r#"{"a":1.0,"b":1,"c":1.50}"#
    );
}

#[test]
fn ten_levels_are_the_most() {
    assert_accepted(nested(10));
    assert_refused(&nested(11));
    assert_refused(&json!({"list": [nested(10)]}));
    let arrays = (0..12).fold(json!(1), |inner, _| json!([inner]));
    assert_refused(&json!({"list": arrays}));
}

#[test]
fn null_deletes_keys_and_never_stands_in_an_array() {
    assert_refused(&json!({"a": [null]}));
    assert_refused(&json!({"a": [[null]]}));
    assert_refused(&json!({"a": [{"b": null}]}));
    assert_accepted(json!({"a": null, "b": {"c": null}}));
}

#[test]
fn sections_have_their_own_sizes() {
    let of_bytes = |bytes: usize| {
        // Members of 1,024 bytes each: 4 of the key, 1,020 of the value.
        let mut members = Object::new();
        for index in 0..bytes / 1024 {
            members.insert(format!("k{index:03}"), json!("x".repeat(1020)));
        }
        let rest = bytes % 1024;
        if rest > 0 {
            members.insert("x".repeat(rest), json!(""));
        }
        Value::Object(members)
    };
    for (limit, change) in [
        (caps::MAX_TAGS_BYTES, tags as fn(Value) -> TwinChange),
        (caps::MAX_DESIRED_BYTES, desired),
        (caps::MAX_REPORTED_BYTES, reported),
    ] {
        assert!(apply(&fresh(), change(of_bytes(limit)), RULES, at(1)).is_ok());
        let refused = apply(&fresh(), change(of_bytes(limit + 1)), RULES, at(1));
        assert!(matches!(refused, Err(TwinError::Invalid(_))));
    }
    let whole = apply(
        &fresh(),
        replacement(json!({}), of_bytes(caps::MAX_DESIRED_BYTES + 1)),
        RULES,
        at(1),
    );
    assert!(matches!(whole, Err(TwinError::Invalid(_))));
}

#[test]
fn the_size_is_that_of_the_merged_section() {
    let half = |key: char| {
        let mut members = Object::new();
        for index in 0..5 {
            members.insert(format!("{key}{index}"), json!("x".repeat(1000)));
        }
        Value::Object(members)
    };
    let twin = written(&fresh(), tags(half('a'))).twin;
    assert!(apply(&twin, tags(half('a')), RULES, at(1)).is_ok());
    assert!(apply(&twin, tags(half('b')), RULES, at(1)).is_err());
}

#[test]
fn numbers_count_8_bytes_booleans_4_and_control_characters_nothing() {
    let rules = TwinRules {
        max_tags_bytes: 16,
        ..RULES
    };
    let fits = |patch: Value| apply(&fresh(), tags(patch), rules, at(1)).is_ok();
    assert!(fits(json!({"12345678": 123_456_789_012_i64})));
    assert!(!fits(json!({"123456789": 1})));
    assert!(fits(json!({"123456789012": true})));
    assert!(!fits(json!({"1234567890123": true})));
    assert!(fits(json!({"12345678": "1234567\u{1}\u{85}8"})));
    assert!(!fits(json!({"12345678": "12345678\u{1}9"})));
}

#[test]
fn a_refused_write_names_its_section_and_nothing_of_its_content() {
    let refused = apply(
        &fresh(),
        desired(json!({"pass;word": {"a.b": 1}})),
        RULES,
        at(1),
    );
    let Err(TwinError::Invalid(text)) = refused else {
        panic!("it is refused");
    };
    assert!(text.starts_with("desired"));
    assert!(!text.contains(';'));
}
