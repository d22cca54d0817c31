//! Twins found by what is in them.

use std::collections::BTreeMap;

use downlink_domain::device::{DeviceSpec, DeviceStatus, IfMatch};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::query::{
    Comparison, Field, Filter, GroupValue, Kind, Kinds, Member, Scalar, Section, Source,
};
use downlink_domain::twin::{Object, TwinChange, parse_json};
use serde_json::Value;

use super::Subject;
use super::given::{self, a_hub, a_message_to, noon, somebody, twin_rules};
use crate::{Needs, Scan, ScanPage, ScanRow, Tallied, Tally};

const SECTIONS: [Section; 3] = [Section::Tags, Section::Desired, Section::Reported];

fn object(text: &str) -> Object {
    match parse_json(text.as_bytes()) {
        Ok(Value::Object(object)) => object,
        other => panic!("{text} is no JSON object: {other:?}"),
    }
}

fn member(section: Section, path: &[&str]) -> Field {
    Field::Member(Member {
        section,
        path: path.iter().map(|name| (*name).to_owned()).collect(),
    })
}

fn tag(path: &[&str]) -> Field {
    member(Section::Tags, path)
}

fn compare(field: Field, comparison: Comparison, value: Scalar) -> Filter {
    Filter::Compare {
        field,
        comparison,
        value,
    }
}

fn equal(field: Field, value: Scalar) -> Filter {
    compare(field, Comparison::Eq, value)
}

fn text(value: &str) -> Scalar {
    Scalar::Text(value.to_owned())
}

fn is(field: Field, kinds: &[Kind]) -> Filter {
    Filter::Is {
        field,
        kinds: Kinds::of(kinds),
    }
}

fn a_scan(filter: Filter) -> Scan {
    Scan {
        hub: a_hub(),
        source: Source::Devices,
        filter,
        after: None,
        limit: 1_000,
        needs: Needs::default(),
        now: noon(),
    }
}

fn a_tally(filter: Filter, group_by: Vec<Field>) -> Tally {
    Tally {
        hub: a_hub(),
        source: Source::Devices,
        filter,
        group_by,
        max_groups: 100,
    }
}

async fn page(subject: &Subject, scan: Scan) -> ScanPage {
    let page = subject.queries.scan(scan).await;
    page.expect("a store that works")
}

/// All rows of a scan, page by page.
async fn walk(subject: &Subject, mut scan: Scan) -> Vec<ScanRow> {
    let mut rows = Vec::new();
    loop {
        let page = page(subject, scan.clone()).await;
        assert!(page.rows.len() <= scan.limit as usize);
        rows.extend(page.rows);
        match page.next {
            Some(next) => {
                assert!(
                    scan.after.is_none_or(|after| next.0 > after.0),
                    "it goes on"
                );
                scan.after = Some(next);
            }
            None => break,
        }
    }
    let is_rising = rows
        .windows(2)
        .all(|w| w[0].device.key.0 < w[1].device.key.0);
    assert!(is_rising, "in the order of the keys, each once");
    rows
}

/// The names of the rows that a filter finds, and that counting them gives their number.
async fn found(subject: &Subject, source: Source, filter: &Filter) -> Vec<String> {
    let scan = Scan {
        source,
        ..a_scan(filter.clone())
    };
    let rows = walk(subject, scan).await;
    let tally = Tally {
        source,
        ..a_tally(filter.clone(), Vec::new())
    };
    assert_eq!(total(subject, tally).await, rows.len() as u64, "{filter:?}");
    let names = rows.iter().map(|row| row.device.name.to_string());
    names.collect()
}

async fn total(subject: &Subject, tally: Tally) -> u64 {
    match groups(subject, tally).await.as_slice() {
        [(values, count)] if values.is_empty() => *count,
        other => panic!("not one group: {other:?}"),
    }
}

async fn groups(subject: &Subject, tally: Tally) -> Vec<(Vec<GroupValue>, u64)> {
    let tallied = subject.queries.tally(tally).await;
    match tallied.expect("a store that works") {
        Tallied::Groups(groups) => {
            let mut groups: Vec<_> = groups.into_iter().map(|g| (g.values, g.count)).collect();
            groups.sort_by_key(|(values, _)| format!("{values:?}"));
            groups
        }
        Tallied::TooManyGroups => panic!("too many groups"),
    }
}

async fn register_in(subject: &Subject, hub: HubName, name: IdentityName) -> DeviceKey {
    let created = subject
        .registry
        .create(hub, name, given::a_device_spec(), somebody(), noon());
    created
        .await
        .expect("a store that works")
        .expect("a name that is free")
        .key
}

/// Writes all three sections of twins, in one batch.
async fn write(subject: &Subject, twins: &[(DeviceKey, [&str; 3])]) {
    let changes = twins.iter().flat_map(|(key, [tags, desired, reported])| {
        let replace = TwinChange::Replace {
            tags: object(tags),
            desired: object(desired),
            if_match: IfMatch::Any,
        };
        let report = TwinChange::Report {
            patch: object(reported),
            expected_version: None,
        };
        [(*key, replace), (*key, report)]
    });
    let written = subject
        .twins
        .update_twins(changes.collect(), twin_rules(), noon());
    for answer in written.await.expect("a store that works") {
        answer.expect("a twin").expect("a change that is taken");
    }
}

/// A device with the same document in every section.
async fn device(subject: &Subject, name: &str, document: &str) -> DeviceKey {
    let key = subject.register(name).await.key;
    write(subject, &[(key, [document; 3])]).await;
    key
}

/// What the values of `x` are in the table below, by the name of their device.
const VALUES: [(&str, &str); 21] = [
    ("absent", "{}"),
    ("array", r#"{"x":[1]}"#),
    ("big", r#"{"x":9007199254740993.0}"#),
    ("empty", r#"{"x":""}"#),
    ("escaped", r#"{"x":"a\u0000b"}"#),
    ("false", r#"{"x":false}"#),
    ("huge", r#"{"x":1e300}"#),
    ("minus", r#"{"x":-7}"#),
    ("nearly", r#"{"x":0.1000000000000000055511151231257827}"#),
    ("nul", r#"{"x":"a\u0000"}"#),
    ("object", r#"{"x":{"y":1}}"#),
    ("one", r#"{"x":1}"#),
    ("one-exp", r#"{"x":1e0}"#),
    ("one-point", r#"{"x":1.0}"#),
    ("text", r#"{"x":"a"}"#),
    ("text-1", r#"{"x":"1"}"#),
    ("text-upper", r#"{"x":"B"}"#),
    ("tiny", r#"{"x":1e-400}"#),
    ("true", r#"{"x":true}"#),
    ("umlaut", r#"{"x":"ä"}"#),
    ("wide", r#"{"x":"😀"}"#),
];

async fn all_values(subject: &Subject) {
    for (name, document) in VALUES {
        device(subject, name, document).await;
    }
}

#[doc(hidden)]
pub async fn a_comparison_holds_for_values_of_its_kind_alone(subject: Subject) {
    use Comparison::{Eq, Ge, Gt, Le, Lt, Ne};
    all_values(&subject).await;
    let table: [(Comparison, Scalar, &[&str]); 15] = [
        (Eq, Scalar::Number(1.0), &["one", "one-exp", "one-point"]),
        (
            Ne,
            Scalar::Number(1.0),
            &["big", "huge", "minus", "nearly", "tiny"],
        ),
        (Lt, Scalar::Number(1.0), &["minus", "nearly", "tiny"]),
        (Eq, Scalar::Number(0.1), &["nearly"]),
        (Eq, Scalar::Number(0.0), &["tiny"]),
        (Eq, Scalar::Number(-0.0), &["tiny"]),
        (Eq, Scalar::Number(9_007_199_254_740_992.0), &["big"]),
        (Ge, Scalar::Number(1e300), &["huge"]),
        (Eq, text("a"), &["text"]),
        (
            Ne,
            text("a"),
            &[
                "empty",
                "escaped",
                "nul",
                "text-1",
                "text-upper",
                "umlaut",
                "wide",
            ],
        ),
        (Gt, text("a"), &["escaped", "nul", "umlaut", "wide"]),
        (Le, text("a"), &["empty", "text", "text-1", "text-upper"]),
        (Ge, text("\u{ffff}"), &["wide"]),
        (Eq, Scalar::Bool(false), &["false"]),
        (Ne, Scalar::Bool(false), &["true"]),
    ];
    for section in SECTIONS {
        for (comparison, value, expected) in &table {
            let filter = compare(member(section, &["x"]), *comparison, value.clone());
            let found = found(&subject, Source::Devices, &filter).await;
            assert_eq!(found, *expected, "{filter:?}");
        }
    }
}

#[doc(hidden)]
pub async fn null_is_a_value_and_not_what_is_absent(subject: Subject) {
    // A patch with a null deletes; only a device that names one in an array or a replacement of
    // everything could leave one, which the rules refuse: what is stored has none.
    device(&subject, "there", r#"{"x":{"y":0}}"#).await;
    device(&subject, "absent", "{}").await;
    for section in SECTIONS {
        let x = member(section, &["x"]);
        let null = equal(x.clone(), Scalar::Null);
        assert!(found(&subject, Source::Devices, &null).await.is_empty());
        let kinds = [Kind::Undefined, Kind::Null];
        let nothing = is(x.clone(), &kinds);
        assert_eq!(found(&subject, Source::Devices, &nothing).await, ["absent"]);
        let below = is(member(section, &["x", "y"]), &[Kind::Number]);
        assert_eq!(found(&subject, Source::Devices, &below).await, ["there"]);
        let beyond = is(member(section, &["x", "y", "z"]), &[Kind::Undefined]);
        assert_eq!(
            found(&subject, Source::Devices, &beyond).await,
            ["there", "absent"]
        );
    }
}

#[doc(hidden)]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
pub async fn kinds_and_lists_are_told_apart(subject: Subject) {
    all_values(&subject).await;
    for section in SECTIONS {
        let x = || member(section, &["x"]);
        let cases: [(Filter, &[&str]); 7] = [
            (is(x(), &[Kind::Undefined]), &["absent"]),
            (is(x(), &[Kind::Object, Kind::Array]), &["array", "object"]),
            (is(x(), &[Kind::Bool]), &["false", "true"]),
            (
                is(x(), &[Kind::Number]),
                &[
                    "big",
                    "huge",
                    "minus",
                    "nearly",
                    "one",
                    "one-exp",
                    "one-point",
                    "tiny",
                ],
            ),
            (
                Filter::In {
                    field: x(),
                    values: vec![
                        text("a"),
                        text("a"),
                        Scalar::Number(1.0),
                        Scalar::Bool(true),
                    ],
                },
                &["one", "one-exp", "one-point", "text", "true"],
            ),
            (
                Filter::NotIn {
                    field: x(),
                    values: vec![text("a"), Scalar::Number(1.0), Scalar::Bool(true)],
                },
                &[
                    "big",
                    "empty",
                    "escaped",
                    "false",
                    "huge",
                    "minus",
                    "nearly",
                    "nul",
                    "text-1",
                    "text-upper",
                    "tiny",
                    "umlaut",
                    "wide",
                ],
            ),
            (
                is(member(section, &["x", "y"]), &[Kind::Number]),
                &["object"],
            ),
        ];
        for (filter, expected) in cases {
            let found = found(&subject, Source::Devices, &filter).await;
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}

#[doc(hidden)]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
pub async fn conditions_are_joined(subject: Subject) {
    device(&subject, "d-1", r#"{"site":"zrh","floor":1}"#).await;
    device(&subject, "d-2", r#"{"site":"zrh","floor":2}"#).await;
    device(&subject, "d-3", r#"{"site":"gva","floor":2}"#).await;
    device(&subject, "d-4", r#"{"floor":"2","note":"\u0000"}"#).await;
    let site = |site: &str| equal(tag(&["site"]), text(site));
    let floor = |floor| equal(tag(&["floor"]), Scalar::Number(floor));
    let reported = |floor| {
        let field = member(Section::Reported, &["floor"]);
        compare(field, Comparison::Ge, Scalar::Number(floor))
    };
    let status = |status: &str| equal(Field::Status, text(status));
    let cases: [(Filter, &[&str]); 9] = [
        (Filter::All, &["d-1", "d-2", "d-3", "d-4"]),
        (Filter::Nothing, &[]),
        (Filter::And(vec![site("zrh"), floor(2.0)]), &["d-2"]),
        (Filter::And(vec![site("zrh"), reported(2.0)]), &["d-2"]),
        (
            Filter::Or(vec![site("gva"), floor(1.0), floor(2.0)]),
            &["d-1", "d-2", "d-3"],
        ),
        (
            Filter::Or(vec![site("gva"), reported(2.0)]),
            &["d-2", "d-3"],
        ),
        (
            Filter::And(vec![
                status("enabled"),
                Filter::Or(vec![site("gva"), floor(1.0)]),
            ]),
            &["d-1", "d-3"],
        ),
        (Filter::And(vec![status("disabled"), site("zrh")]), &[]),
        (
            Filter::And(vec![
                compare(tag(&["floor"]), Comparison::Gt, Scalar::Number(0.0)),
                Filter::Or(vec![site("zrh"), equal(Field::DeviceId, text("d-3"))]),
            ]),
            &["d-1", "d-2", "d-3"],
        ),
    ];
    for (filter, expected) in cases {
        let found = found(&subject, Source::Devices, &filter).await;
        assert_eq!(found, expected, "{filter:?}");
    }
    for section in SECTIONS {
        let bounds = |name: &str, from, until| {
            let field = member(section, &[name]);
            let from = compare(field.clone(), Comparison::Ge, from);
            Filter::And(vec![from, compare(field, Comparison::Lt, until)])
        };
        let cases: [(Filter, &[&str]); 4] = [
            (bounds("site", text("zr"), text("zs")), &["d-1", "d-2"]),
            (
                bounds("floor", Scalar::Number(1.5), Scalar::Number(2.5)),
                &["d-2", "d-3"],
            ),
            (bounds("floor", text("2"), text("3")), &["d-4"]),
            (bounds("floor", Scalar::Number(0.0), text("3")), &[]),
        ];
        for (filter, expected) in cases {
            let found = found(&subject, Source::Devices, &filter).await;
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}

#[doc(hidden)]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
pub async fn what_identities_have_is_found(subject: Subject) {
    subject.register("d-1").await;
    let spec = DeviceSpec {
        status: DeviceStatus::Disabled,
        status_reason: Some("lost".to_owned()),
        is_edge: true,
        ..given::a_device_spec()
    };
    let edge = given::an_identity("d-2");
    let created = subject
        .registry
        .create(a_hub(), edge, spec, somebody(), noon());
    created.await.unwrap().unwrap();
    for (filter, expected) in [
        (equal(Field::DeviceId, text("d-2")), vec!["d-2"]),
        (equal(Field::DeviceId, text("D-2")), vec![]),
        (
            compare(Field::DeviceId, Comparison::Gt, text("d-1")),
            vec!["d-2"],
        ),
        (is(Field::ModuleId, &[Kind::Undefined]), vec!["d-1", "d-2"]),
        (equal(Field::Status, text("enabled")), vec!["d-1"]),
        (equal(Field::StatusReason, text("lost")), vec!["d-2"]),
        (is(Field::StatusReason, &[Kind::Undefined]), vec!["d-1"]),
        (equal(Field::IsEdge, Scalar::Bool(true)), vec!["d-2"]),
        (equal(Field::IsEdge, Scalar::Number(1.0)), vec![]),
        (
            equal(Field::ConnectionState, text("Disconnected")),
            vec!["d-1", "d-2"],
        ),
        (equal(Field::ConnectionState, text("Connected")), vec![]),
        (
            equal(Field::AuthenticationType, text("sas")),
            vec!["d-1", "d-2"],
        ),
        (
            equal(
                Field::LastActivityTime,
                Scalar::Time(downlink_domain::Timestamp::UNSET),
            ),
            vec!["d-1", "d-2"],
        ),
        (
            compare(
                Field::LastActivityTime,
                Comparison::Gt,
                Scalar::Time(noon()),
            ),
            vec![],
        ),
        (
            compare(Field::Version, Comparison::Ge, Scalar::Number(2.0)),
            vec!["d-1", "d-2"],
        ),
        (equal(Field::DesiredVersion, Scalar::Number(1.5)), vec![]),
        (
            Filter::NotIn {
                field: Field::DeviceId,
                values: vec![text("d-1"), Scalar::Bool(true)],
            },
            vec!["d-2"],
        ),
        (
            Filter::In {
                field: Field::ReportedVersion,
                values: vec![Scalar::Number(1.0), text("1")],
            },
            vec!["d-1", "d-2"],
        ),
    ] {
        let found = found(&subject, Source::Devices, &filter).await;
        assert_eq!(found, expected, "{filter:?}");
    }
}

#[doc(hidden)]
pub async fn modules_are_found_apart_with_the_status_of_their_device(subject: Subject) {
    let document = r#"{"site":"zrh"}"#;
    device(&subject, "d-1", document).await;
    let mut name = given::an_identity("d-1");
    name.module = Some("m-1".parse().unwrap());
    let module = register_in(&subject, a_hub(), name).await;
    write(&subject, &[(module, [document; 3])]).await;
    let site = equal(tag(&["site"]), text("zrh"));
    let at_desired = equal(member(Section::Desired, &["site"]), text("zrh"));
    for filter in [Filter::All, site.clone(), at_desired] {
        assert_eq!(found(&subject, Source::Devices, &filter).await, ["d-1"]);
        assert_eq!(found(&subject, Source::Modules, &filter).await, ["d-1/m-1"]);
    }
    let spec = DeviceSpec {
        status: DeviceStatus::Disabled,
        status_reason: Some("lost".to_owned()),
        ..given::a_device_spec()
    };
    let replaced = subject.registry.replace(
        a_hub(),
        given::an_identity("d-1"),
        spec,
        IfMatch::Any,
        somebody(),
        noon(),
    );
    replaced.await.unwrap().unwrap();
    for filter in [
        equal(Field::Status, text("disabled")),
        equal(Field::StatusReason, text("lost")),
        equal(Field::ModuleId, text("m-1")),
        equal(Field::DeviceId, text("d-1")),
        Filter::And(vec![site.clone(), equal(Field::Status, text("disabled"))]),
    ] {
        assert_eq!(
            found(&subject, Source::Modules, &filter).await,
            ["d-1/m-1"],
            "{filter:?}"
        );
    }
    let rows = walk(
        &subject,
        Scan {
            source: Source::Modules,
            ..a_scan(site)
        },
    )
    .await;
    assert_eq!(rows[0].device.status, DeviceStatus::Disabled);
    assert_eq!(rows[0].device.status_reason.as_deref(), Some("lost"));
}

#[doc(hidden)]
pub async fn queries_see_their_own_hub_alone(subject: Subject) {
    device(&subject, "d-1", r#"{"site":"zrh"}"#).await;
    let other: HubName = "other.downlink.test".parse().unwrap();
    let key = register_in(&subject, other.clone(), given::an_identity("d-2")).await;
    write(&subject, &[(key, [r#"{"site":"zrh"}"#; 3])]).await;
    for filter in [
        Filter::All,
        equal(tag(&["site"]), text("zrh")),
        equal(member(Section::Reported, &["site"]), text("zrh")),
        is(tag(&["site"]), &[Kind::Text]),
    ] {
        assert_eq!(found(&subject, Source::Devices, &filter).await, ["d-1"]);
        let scan = Scan {
            hub: other.clone(),
            ..a_scan(filter)
        };
        let rows = walk(&subject, scan).await;
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].device.key, key);
    }
    let by_site = a_tally(Filter::All, vec![tag(&["site"])]);
    let counted = groups(&subject, by_site).await;
    assert_eq!(counted, [(vec![GroupValue::Scalar(text("zrh"))], 1)]);
}

#[doc(hidden)]
pub async fn names_and_texts_of_any_making_are_data(subject: Subject) {
    let odd = [
        "'; DROP TABLE twins; --",
        "\"",
        "\\",
        "%",
        "_",
        "a'b",
        "[0]",
        "*",
        "@",
        "ключ",
        "{}",
        "$1",
        "?1",
        ":x",
    ];
    for (number, odd) in odd.iter().enumerate() {
        let mut inner = Object::new();
        inner.insert(odd.replace([' ', '$'], "-"), Value::from(*odd));
        let mut document = Object::new();
        document.insert("o".to_owned(), inner.into());
        let document = Value::from(document).to_string();
        device(&subject, &format!("d-{number:02}"), &document).await;
    }
    for section in SECTIONS {
        for (number, odd) in odd.iter().enumerate() {
            let name = odd.replace([' ', '$'], "-");
            let field = member(section, &["o", &name]);
            let filter = equal(field.clone(), text(odd));
            let expected = [format!("d-{number:02}")];
            assert_eq!(found(&subject, Source::Devices, &filter).await, expected);
            let filter = is(field, &[Kind::Text]);
            assert_eq!(found(&subject, Source::Devices, &filter).await, expected);
            let nobody = equal(member(section, &[odd]), text(odd));
            assert!(found(&subject, Source::Devices, &nobody).await.is_empty());
            let nobody = equal(Field::DeviceId, text(odd));
            assert!(found(&subject, Source::Devices, &nobody).await.is_empty());
        }
    }
    assert_eq!(
        found(&subject, Source::Devices, &Filter::All).await.len(),
        odd.len()
    );
}

#[doc(hidden)]
pub async fn long_texts_are_compared_to_their_end(subject: Subject) {
    let long = "x".repeat(600);
    let cases = [
        ("d-1", format!("{long}a")),
        ("d-2", format!("{long}b")),
        ("d-3", "w".to_owned()),
    ];
    for (name, value) in &cases {
        device(&subject, name, &format!("{{\"x\":\"{value}\"}}")).await;
    }
    for section in SECTIONS {
        let x = || member(section, &["x"]);
        let last = || text(&format!("{long}b"));
        let cases: [(Filter, &[&str]); 6] = [
            (equal(x(), last()), &["d-2"]),
            (compare(x(), Comparison::Ne, last()), &["d-1", "d-3"]),
            (compare(x(), Comparison::Lt, last()), &["d-1", "d-3"]),
            (compare(x(), Comparison::Gt, text("x")), &["d-1", "d-2"]),
            (compare(x(), Comparison::Ne, text("w")), &["d-1", "d-2"]),
            (is(x(), &[Kind::Text]), &["d-1", "d-2", "d-3"]),
        ];
        for (filter, expected) in cases {
            let found = found(&subject, Source::Devices, &filter).await;
            assert_eq!(found, expected, "{filter:?}");
        }
        let counted = groups(&subject, a_tally(Filter::All, vec![x()])).await;
        assert_eq!(counted.len(), 3);
    }
}

#[doc(hidden)]
pub async fn what_is_written_is_found_and_what_is_gone_is_not(subject: Subject) {
    let first = device(&subject, "d-1", r#"{"x":1,"y":{"z":1}}"#).await;
    device(&subject, "d-2", r#"{"x":1}"#).await;
    let x = |value| equal(tag(&["x"]), Scalar::Number(value));
    let z = || is(tag(&["y", "z"]), &[Kind::Number]);
    write(&subject, &[(first, [r#"{"x":2}"#, "{}", r#"{"x":2}"#])]).await;
    assert_eq!(found(&subject, Source::Devices, &x(1.0)).await, ["d-2"]);
    assert_eq!(found(&subject, Source::Devices, &x(2.0)).await, ["d-1"]);
    assert!(found(&subject, Source::Devices, &z()).await.is_empty());
    write(
        &subject,
        &[(first, [r#"{"x":1,"n":"\u0000"}"#, "{}", "{}"])],
    )
    .await;
    assert_eq!(
        found(&subject, Source::Devices, &x(1.0)).await,
        ["d-1", "d-2"]
    );
    write(&subject, &[(first, [r#"{"x":1}"#, "{}", "{}"])]).await;
    assert_eq!(
        found(&subject, Source::Devices, &x(1.0)).await,
        ["d-1", "d-2"]
    );
    let deleted = subject.registry.delete(
        a_hub(),
        given::an_identity("d-1"),
        IfMatch::Any,
        somebody(),
        noon(),
    );
    deleted.await.unwrap().unwrap();
    assert_eq!(found(&subject, Source::Devices, &x(1.0)).await, ["d-2"]);
    assert_eq!(
        found(&subject, Source::Devices, &Filter::All).await,
        ["d-2"]
    );
    let counted = groups(&subject, a_tally(Filter::All, vec![tag(&["x"])])).await;
    assert_eq!(
        counted,
        [(vec![GroupValue::Scalar(Scalar::Number(1.0))], 1)]
    );
}

#[doc(hidden)]
pub async fn a_walk_goes_on_where_it_stood_while_rows_change(subject: Subject) {
    let mut keys = Vec::new();
    for number in 0..20 {
        keys.push(device(&subject, &format!("d-{number:02}"), r#"{"site":"zrh"}"#).await);
    }
    let mut scan = Scan {
        limit: 3,
        ..a_scan(equal(tag(&["site"]), text("zrh")))
    };
    let mut seen = Vec::new();
    let mut round = 0;
    loop {
        let page = page(&subject, scan.clone()).await;
        seen.extend(page.rows.iter().map(|row| row.device.name.to_string()));
        // What was seen leaves, what was not yet seen is written again, one more comes.
        write(&subject, &[(keys[0], [r#"{"site":"gva"}"#, "{}", "{}"])]).await;
        write(
            &subject,
            &[(keys[19], [r#"{"site":"zrh","n":1}"#, "{}", "{}"])],
        )
        .await;
        if round == 0 {
            device(&subject, "d-20", r#"{"site":"zrh"}"#).await;
        }
        round += 1;
        let Some(next) = page.next else { break };
        scan.after = Some(next);
    }
    let expected: Vec<_> = (0..=20).map(|number| format!("d-{number:02}")).collect();
    assert_eq!(seen, expected);
}

#[doc(hidden)]
pub async fn pages_end_where_the_rows_end(subject: Subject) {
    for number in 0..6 {
        device(&subject, &format!("d-{number}"), r#"{"x":1}"#).await;
    }
    for filter in [
        Filter::All,
        equal(tag(&["x"]), Scalar::Number(1.0)),
        equal(member(Section::Reported, &["x"]), Scalar::Number(1.0)),
    ] {
        let first = page(
            &subject,
            Scan {
                limit: 3,
                ..a_scan(filter.clone())
            },
        )
        .await;
        assert_eq!(first.rows.len(), 3);
        let last = page(
            &subject,
            Scan {
                limit: 3,
                after: first.next,
                ..a_scan(filter)
            },
        )
        .await;
        assert_eq!(last.rows.len(), 3);
        assert_eq!(last.next, None, "nothing comes after the last row");
    }
}

#[doc(hidden)]
pub async fn rows_bring_what_is_needed(subject: Subject) {
    let key = device(&subject, "d-1", r#"{"x":{"y":1.50}}"#).await;
    let message = a_message_to("d-1", "open the valve");
    subject.enqueue(message, noon()).await.unwrap();
    let twin = subject.twins.find_twins(vec![key]).await.unwrap().remove(0);
    let twin = twin.expect("a twin");
    let all = Needs {
        tags: true,
        desired: true,
        reported: true,
        configurations: true,
        waiting: true,
    };
    let at = member(Section::Reported, &["x", "y"]);
    for filter in [Filter::All, equal(at, Scalar::Number(1.5))] {
        let scan = Scan {
            needs: all,
            ..a_scan(filter.clone())
        };
        let row = walk(&subject, scan).await.remove(0);
        assert_eq!(row.twin, twin);
        assert_eq!(row.waiting, Some(1));
        assert_eq!(row.device.name, given::an_identity("d-1"));
        let later = Scan {
            needs: all,
            now: noon() + std::time::Duration::from_hours(2),
            ..a_scan(filter.clone())
        };
        assert_eq!(
            walk(&subject, later).await[0].waiting,
            Some(0),
            "it has expired"
        );
        let row = walk(&subject, a_scan(filter)).await.remove(0);
        assert_eq!(row.waiting, None);
        assert_eq!(row.twin.version, twin.version);
        assert_eq!(row.twin.desired.version, twin.desired.version);
        assert_eq!(row.twin.etag, twin.etag);
    }
}

#[doc(hidden)]
pub async fn rows_are_counted_by_what_they_have_in_common(subject: Subject) {
    device(&subject, "d-1", r#"{"site":"zrh","floor":1}"#).await;
    device(&subject, "d-2", r#"{"site":"zrh","floor":1.0}"#).await;
    device(&subject, "d-3", r#"{"site":"gva","floor":2}"#).await;
    device(&subject, "d-4", r#"{"site":["zrh"]}"#).await;
    device(&subject, "d-5", r#"{"site":{"of":"zrh"}}"#).await;
    device(&subject, "d-6", r#"{"floor":true}"#).await;
    let zrh = || GroupValue::Scalar(text("zrh"));
    for section in SECTIONS {
        let site = || member(section, &["site"]);
        let floor = || member(section, &["floor"]);
        let counted = groups(&subject, a_tally(Filter::All, vec![site()])).await;
        let expected: BTreeMap<String, u64> = [
            (GroupValue::Composite, 2),
            (GroupValue::Undefined, 1),
            (zrh(), 2),
            (GroupValue::Scalar(text("gva")), 1),
        ]
        .map(|(value, count)| (format!("{:?}", [value]), count))
        .into();
        let counted = counted.into_iter();
        let counted: BTreeMap<_, _> = counted
            .map(|(values, count)| (format!("{values:?}"), count))
            .collect();
        assert_eq!(counted, expected);
        let of_zrh = a_tally(equal(site(), text("zrh")), vec![floor(), Field::Status]);
        let one = GroupValue::Scalar(Scalar::Number(1.0));
        let enabled = GroupValue::Scalar(text("enabled"));
        assert_eq!(groups(&subject, of_zrh).await, [(vec![one, enabled], 2)]);
        let nobody = a_tally(equal(site(), text("")), vec![floor()]);
        assert!(groups(&subject, nobody).await.is_empty());
        let nobody = a_tally(equal(site(), text("")), Vec::new());
        assert_eq!(total(&subject, nobody).await, 0);
    }
    let by_status = a_tally(
        Filter::All,
        vec![Field::Status, Field::IsEdge, Field::ModuleId],
    );
    let counted = groups(&subject, by_status).await;
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0].1, 6);
    assert_eq!(counted[0].0[2], GroupValue::Undefined);
}

#[doc(hidden)]
pub async fn more_groups_than_asked_for_are_no_answer(subject: Subject) {
    for number in 0..4 {
        let document = format!("{{\"x\":{number}}}");
        device(&subject, &format!("d-{number}"), &document).await;
    }
    for field in [
        tag(&["x"]),
        member(Section::Reported, &["x"]),
        Field::DeviceId,
    ] {
        for (max_groups, is_enough) in [(3, false), (4, true)] {
            let tally = Tally {
                max_groups,
                ..a_tally(Filter::All, vec![field.clone()])
            };
            let tallied = subject.queries.tally(tally).await.unwrap();
            let is_counted = matches!(tallied, Tallied::Groups(groups) if groups.len() == 4);
            assert_eq!(is_counted, is_enough, "{field:?}");
        }
    }
}
