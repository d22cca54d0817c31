//! What is a query, and where one goes wrong.

use super::support::parse;
use crate::{Condition, MAX_DEPTH, MAX_TEXT, Query, Select, Source};

#[track_caller]
fn refused(text: &str, position: usize, message: &str) {
    let error = Query::parse(text).expect_err(text);
    assert_eq!(
        (error.position, error.message.as_str()),
        (position, message),
        "{text}"
    );
}

#[test]
fn keywords_functions_and_names_of_the_system_are_read_in_any_case() {
    let query = parse(
        "select top 3 DEVICEID, Properties.DESIRED.Rate from Devices where Is_Defined(TAGS.Site)",
    );
    assert_eq!(query.top, Some(3));
    let Select::Items(items) = &query.select else {
        panic!("items")
    };
    let names: Vec<_> = items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["deviceId", "Rate"]);
    assert_eq!(
        query.condition,
        parse("SELECT * FROM devices WHERE is_defined(tags.Site)").condition,
    );
}

#[test]
fn sources_are_devices_modules_and_jobs_with_or_without_an_alias() {
    for (from, source) in [
        ("devices", Source::Devices),
        ("devices d", Source::Devices),
        ("devices AS d", Source::Devices),
        ("devices.modules", Source::Modules),
        ("devices.modules m", Source::Modules),
        ("devices.jobs", Source::Jobs),
    ] {
        assert_eq!(parse(&format!("SELECT * FROM {from}")).source, source);
    }
    let plain = parse("SELECT * FROM devices WHERE tags.a = 1").condition;
    for text in [
        "SELECT * FROM devices WHERE devices.tags.a = 1",
        "SELECT * FROM devices d WHERE d.tags.a = 1",
        "SELECT * FROM devices AS d WHERE D.tags.[[a]] = 0x1",
    ] {
        assert_eq!(parse(text).condition, plain, "{text}");
    }
    let modules = parse("SELECT * FROM devices.modules WHERE devices.modules.moduleId = 'm'");
    let plain = parse("SELECT * FROM devices.modules WHERE moduleId = 'm'");
    assert_eq!(modules.condition, plain.condition);
}

#[test]
fn and_binds_before_or_and_not_before_both() {
    let written = parse("SELECT * FROM devices WHERE NOT tags.a = 1 AND tags.b = 2 OR tags.c = 3");
    let bracketed =
        parse("SELECT * FROM devices WHERE ((NOT (tags.a = 1)) AND (tags.b = 2)) OR (tags.c = 3)");
    assert_eq!(written.condition, bracketed.condition);
    let sums = parse("SELECT * FROM devices WHERE 1 + 2 * -3 - 4 < tags.a");
    let bracketed = parse("SELECT * FROM devices WHERE ((1 + (2 * (-3))) - 4) < tags.a");
    assert_eq!(sums.condition, bracketed.condition);
}

#[test]
fn texts_have_either_quote_and_escapes() {
    let one = parse(r#"SELECT * FROM devices WHERE tags.a = 'a\'b"\\\u00e9\ud83d\ude00\n'"#);
    let other = parse(r#"SELECT * FROM devices WHERE tags.a = "a'b\"\\é😀\u000a""#);
    assert_eq!(one.condition, other.condition);
}

#[test]
fn errors_name_the_character_where_reading_stopped() {
    refused("", 1, "expected SELECT, found the end of the query");
    refused("SELECT * FRO devices", 10, "expected FROM, found 'FRO'");
    refused("SELECT *", 9, "expected FROM, found the end of the query");
    refused(
        "SELECT * FROM device",
        15,
        "expected devices, devices.modules or devices.jobs, found 'device'",
    );
    refused(
        "SELECT * FROM devices WHERE tags.é = 'x' AND",
        45,
        "expected a value, a name or a function, found the end of the query",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a = 'x",
        38,
        "the text has no closing quote",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a = 1; DROP TABLE twins",
        39,
        "expected the end of the query, found ';'",
    );
    refused(
        "SELECT * FROM devices WHERE foo(tags.a)",
        29,
        "there is no function foo",
    );
    refused(
        "SELECT * FROM devices WHERE lower(tags.a, 1) = 'a'",
        29,
        "LOWER takes 1 to 1 arguments",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a IN ['a', tags.b]",
        45,
        "expected a value, found 'tags'",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a ~ 1",
        36,
        "'~' has no meaning here",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a = 1e999",
        38,
        "the number is too large",
    );
    refused(
        r"SELECT * FROM devices WHERE tags.a = '\q'",
        40,
        r#"expected an escape: \' \" \\ \uXXXX"#,
    );
    refused(
        "SELECT * FROM devices WHERE 1 < tags.a < 3",
        40,
        "comparisons do not chain; use AND",
    );
}

#[test]
fn what_the_language_does_not_have_is_named() {
    refused(
        "SELECT * FROM devices ORDER BY deviceId",
        23,
        "there is no ORDER BY: rows come in the order of their registration",
    );
    refused("SELECT * FROM devices JOIN x", 23, "there is no JOIN");
    refused(
        "SELECT DISTINCT tags.a FROM devices",
        8,
        "there is no DISTINCT; use GROUP BY",
    );
    refused(
        "SELECT * FROM devices WHERE tags.a LIKE 'x'",
        36,
        "there is no LIKE; use STARTS_WITH, ENDS_WITH or CONTAINS",
    );
    refused(
        "SELECT * FROM devices LIMIT 3",
        23,
        "there is no LIMIT; use SELECT TOP",
    );
}

#[test]
fn aggregates_stand_in_select_and_beside_them_what_groups_have_in_common() {
    parse("SELECT tags.a, COUNT() AS n, SUM(tags.b) / COUNT(*) FROM devices GROUP BY tags.a");
    refused(
        "SELECT * FROM devices WHERE COUNT() > 1",
        29,
        "an aggregate stands in SELECT alone, not within another one",
    );
    refused(
        "SELECT SUM(COUNT()) FROM devices",
        12,
        "an aggregate stands in SELECT alone, not within another one",
    );
    refused(
        "SELECT COUNT() AS n, tags.b FROM devices GROUP BY tags.a",
        22,
        "neither an aggregate nor what the query groups by",
    );
    refused(
        "SELECT * FROM devices GROUP BY tags.a",
        8,
        "groups are not rows: select what the query groups by, or aggregates",
    );
    refused(
        "SELECT COUNT() FROM devices.jobs",
        8,
        "rows of jobs cannot be aggregated",
    );
    refused("SELECT jobId FROM devices.jobs", 8, "of jobs select *");
}

#[test]
fn no_two_items_have_one_name() {
    refused(
        "SELECT tags.a, properties.reported.a FROM devices",
        16,
        r#"another item is named "a" too; name this one with AS"#,
    );
    parse("SELECT tags.a, properties.reported.a AS b FROM devices");
}

#[test]
fn depth_length_and_number_of_items_are_bounded() {
    let nested = |levels: usize| {
        format!(
            "SELECT * FROM devices WHERE {}true{}",
            "(".repeat(levels),
            ")".repeat(levels)
        )
    };
    parse(&nested(MAX_DEPTH - 1));
    for text in [
        nested(MAX_DEPTH),
        nested(4000),
        format!("SELECT * FROM devices WHERE {} true", "NOT ".repeat(2000)),
        format!("SELECT * FROM devices WHERE 1 = {}1", "-".repeat(8000)),
        format!(
            "SELECT * FROM devices WHERE 1 = 1{}",
            "+1".repeat(MAX_DEPTH)
        ),
        format!("SELECT 1{} FROM devices", ", 1".repeat(64)),
        format!(
            "SELECT * FROM devices WHERE tags.a = '{}'",
            "x".repeat(MAX_TEXT)
        ),
    ] {
        assert!(Query::parse(&text).is_err());
    }
    let wide = format!("SELECT * FROM devices WHERE true{}", " OR true".repeat(900));
    parse(&wide);
}

#[test]
fn conditions_stand_alone_for_jobs_and_configurations() {
    use downlink_domain::query::Source::{Devices, Modules};
    for (text, source) in [
        ("", Devices),
        ("*", Devices),
        ("tags.a = 'x'", Devices),
        ("FROM devices.modules", Modules),
        ("from devices.modules where moduleId = 'm'", Modules),
    ] {
        assert_eq!(Condition::parse(text).unwrap().source(), source, "{text}");
    }
    assert!(Condition::parse("FROM devices.jobs").is_err());
    assert!(Condition::parse("tags.a = 'x' GROUP BY tags.a").is_err());
}

#[test]
fn the_shape_of_a_query_has_none_of_its_values() {
    let text = "SELECT * FROM devices WHERE tags.[[a b]] = 'secret' AND tags.n IN [7, -8.5]";
    assert_eq!(
        crate::shape(text),
        "SELECT * FROM devices WHERE tags.[[a b]] = ? AND tags.n IN [ ? , - ? ]",
    );
    assert_eq!(crate::shape("'open"), "");
    assert_eq!(crate::shape(&"e ".repeat(4000)).chars().count(), 512);
    assert!(crate::shape(&"é ".repeat(4000)).chars().count() <= 512);
}

#[test]
fn operations_below_parentheses_count_for_the_whole_query() {
    // Each level fills its chains; parentheses alone would stay within their bound.
    let mut expression = "version".to_owned();
    for level in 1..60 {
        let more = "*1".repeat(60 - level);
        expression = format!("({expression}{more})");
    }
    let text = format!("SELECT * FROM devices WHERE {expression} = 1");
    let error = Query::parse(&text).unwrap_err();
    assert!(error.to_string().contains("too many operations"), "{error}");
}
