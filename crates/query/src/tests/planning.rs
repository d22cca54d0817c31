//! What conditions come to in a store.

use downlink_domain::Timestamp;
use downlink_domain::query::{Comparison, Field, Filter, Kind, Kinds, Member, Scalar, Section};

use super::support::parse;
use crate::{Plan, text_equalities};

fn planned(condition: &str) -> Plan {
    parse(&format!("SELECT * FROM devices WHERE {condition}")).plan()
}

fn tag(name: &str) -> Field {
    Field::Member(Member {
        section: Section::Tags,
        path: vec![name.to_owned()],
    })
}

fn compare(field: Field, comparison: Comparison, value: Scalar) -> Filter {
    Filter::Compare {
        field,
        comparison,
        value,
    }
}

#[track_caller]
fn exact(condition: &str, filter: Filter) {
    assert_eq!(
        planned(condition),
        Plan {
            filter,
            is_exact: true
        },
        "{condition}"
    );
}

#[test]
fn not_is_pushed_to_the_leaves() {
    exact(
        "NOT (tags.a = 1 OR NOT (tags.b < 'x'))",
        Filter::And(vec![
            compare(tag("a"), Comparison::Ne, Scalar::Number(1.0)),
            compare(tag("b"), Comparison::Lt, Scalar::Text("x".into())),
        ]),
    );
    exact(
        "NOT is_defined(tags.a)",
        Filter::Is {
            field: tag("a"),
            kinds: Kinds::of(&[Kind::Undefined]),
        },
    );
    exact(
        "tags.a NIN [1, 'x']",
        Filter::NotIn {
            field: tag("a"),
            values: vec![Scalar::Number(1.0), Scalar::Text("x".into())],
        },
    );
}

#[test]
fn constants_are_decided_and_sides_exchanged() {
    exact("1 = 1 OR tags.a = 1", Filter::All);
    exact("1 = 2 AND LOWER(tags.a) = 'x'", Filter::Nothing);
    exact("NOT undefined", Filter::Nothing);
    exact(
        "1 + 1 < tags.a",
        compare(tag("a"), Comparison::Gt, Scalar::Number(2.0)),
    );
    exact("tags.a < null", Filter::Nothing);
    exact("tags.a >= true", Filter::Nothing);
    exact("tags.a = undefined", Filter::Nothing);
}

#[test]
fn times_become_whole_milliseconds_without_a_row_lost_or_gained() {
    let at = |millis| Scalar::Time(Timestamp::from_millis(millis));
    let field = || Field::LastActivityTime;
    let text = "'2026-01-05T09:12:31.4125Z'";
    let below = 1_767_604_351_412;
    exact(
        &format!("lastActivityTime < {text}"),
        compare(field(), Comparison::Le, at(below)),
    );
    exact(
        &format!("lastActivityTime >= {text}"),
        compare(field(), Comparison::Gt, at(below)),
    );
    exact(&format!("lastActivityTime = {text}"), Filter::Nothing);
    exact(&format!("lastActivityTime != {text}"), Filter::All);
    exact("lastActivityTime > '0000-01-01'", Filter::All);
    exact("lastActivityTime <= '0000-01-01'", Filter::Nothing);
    exact("lastActivityTime != 'x'", Filter::Nothing);
    exact("lastActivityTime > 5", Filter::Nothing);
}

#[test]
fn a_prefix_is_a_range_of_text() {
    exact(
        "STARTS_WITH(tags.a, 'ab')",
        Filter::And(vec![
            compare(tag("a"), Comparison::Ge, Scalar::Text("ab".into())),
            compare(tag("a"), Comparison::Lt, Scalar::Text("ac".into())),
        ]),
    );
    exact(
        "NOT STARTS_WITH(tags.a, 'ab')",
        Filter::Or(vec![
            compare(tag("a"), Comparison::Lt, Scalar::Text("ab".into())),
            compare(tag("a"), Comparison::Ge, Scalar::Text("ac".into())),
        ]),
    );
}

#[test]
fn what_a_store_does_not_know_leaves_the_rest_of_the_filter() {
    let plan = planned("tags.site = 'zrh' AND LOWER(tags.a) = 'x'");
    assert_eq!(
        plan.filter,
        compare(tag("site"), Comparison::Eq, Scalar::Text("zrh".into()))
    );
    assert!(!plan.is_exact);
    let plan = planned("tags.site = 'zrh' OR LOWER(tags.a) = 'x'");
    assert_eq!((plan.filter, plan.is_exact), (Filter::All, false));
}

#[test]
fn no_filter_holds_the_character_that_databases_refuse() {
    for condition in [
        r"tags.a = 'x\u0000'",
        r"tags.a IN ['a', 'x\u0000']",
        r"tags.a NIN ['a', 'x\u0000']",
        r"STARTS_WITH(tags.a, 'x\u0000')",
    ] {
        let plan = planned(condition);
        assert!(!plan.is_exact, "{condition}");
        assert!(!format!("{:?}", plan.filter).contains("\\0"), "{condition}");
    }
}

#[test]
fn a_filter_too_large_for_a_statement_is_left_to_the_evaluator() {
    let values = vec!["1"; 2000].join(",");
    let plan = planned(&format!("tags.a IN [{values}]"));
    assert_eq!((plan.filter, plan.is_exact), (Filter::All, false));
}

#[test]
fn texts_that_a_condition_demands_are_told() {
    let query = parse(
        "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'j1' AND 'd' = deviceId AND status > 'a'",
    );
    let found = text_equalities(query.condition.as_ref());
    assert_eq!(found, [(vec!["jobId"], "j1"), (vec!["deviceId"], "d")]);
}
