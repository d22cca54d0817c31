//! The plans of queries: whatever the filter, whatever the statistics, rows are come by through an
//! index that its part of the filter bounds.

use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::query::{
    Comparison, Field, Filter, Kind, Kinds, Member, Scalar, Section, Source,
};
use downlink_ports::{Needs, Scan, Tally};
use serde_json::Value;
use sqlx::PgConnection;

use super::columns::grouped;
use super::row::Parts;
use super::selection::Selection;
use super::text::Text;
use super::{scan, tally};
use crate::plans::{CHURN, connect, execute, faults, nodes, plan, text};

fn hub() -> HubName {
    "hub".parse().unwrap()
}

fn member(section: Section, name: &str) -> Field {
    Field::Member(Member {
        section,
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

fn site() -> Filter {
    let value = Scalar::Text("zrh".to_owned());
    compare(member(Section::Tags, "site"), Comparison::Eq, value)
}

/// A filter, which of its parts leads, and the index that rows are come by.
struct Case {
    name: &'static str,
    filter: Filter,
    source: Source,
    leads: bool,
    index: &'static str,
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn cases() -> Vec<Case> {
    let floor = |comparison| {
        let field = member(Section::Tags, "floor");
        compare(field, comparison, Scalar::Number(2.0))
    };
    let battery = compare(
        member(Section::Reported, "battery"),
        Comparison::Lt,
        Scalar::Number(20.0),
    );
    let status = compare(
        Field::Status,
        Comparison::Eq,
        Scalar::Text("disabled".to_owned()),
    );
    let is_defined = Filter::Is {
        field: member(Section::Tags, "site"),
        kinds: Kinds::of(&[Kind::Number, Kind::Text, Kind::Bool]),
    };
    let names = Filter::In {
        field: Field::DeviceId,
        values: vec![Scalar::Text("dev-1".to_owned())],
    };
    let case = |name, filter, leads, index| Case {
        name,
        filter,
        source: Source::Devices,
        leads,
        index,
    };
    let (by_value, by_key) = ("twin_values_pkey", "identities_devices");
    let by_name = "identities_hub_device_id_module_id_key";
    vec![
        case("everything", Filter::All, false, by_key),
        case("a_tag", site(), true, by_value),
        case("a_range_of_a_tag", floor(Comparison::Lt), true, by_value),
        case("a_tag_that_differs", floor(Comparison::Ne), true, by_value),
        case("a_tag_that_is_there", is_defined, true, by_value),
        case(
            "two_tags",
            Filter::And(vec![site(), floor(Comparison::Eq)]),
            true,
            by_value,
        ),
        case(
            "either_tag",
            Filter::Or(vec![site(), floor(Comparison::Gt)]),
            true,
            by_value,
        ),
        case(
            "a_tag_and_a_column",
            Filter::And(vec![site(), status.clone()]),
            true,
            by_value,
        ),
        case(
            "a_tag_and_a_report",
            Filter::And(vec![site(), battery.clone()]),
            true,
            by_value,
        ),
        case("a_tag_too_frequent_to_lead", site(), false, by_key),
        case("a_column", status, false, by_key),
        case("a_report", battery, false, by_key),
        case("names", names, true, by_name),
        Case {
            name: "a_tag_of_modules",
            filter: site(),
            source: Source::Modules,
            leads: true,
            index: by_value,
        },
        Case {
            name: "all_modules",
            filter: Filter::All,
            source: Source::Modules,
            leads: false,
            index: "identities_modules",
        },
    ]
}

/// The statements of a case, by name.
fn statements(case: &Case) -> Vec<(String, Text)> {
    let mut selection = Selection::of(&case.filter, case.source);
    let survey = selection.survey(&hub(), 10);
    selection.lead(if case.leads { &[1, 2] } else { &[] }, 10);
    let needs = Needs {
        tags: true,
        desired: true,
        reported: true,
        configurations: true,
        waiting: true,
    };
    let scan = Scan {
        hub: hub(),
        source: case.source,
        filter: case.filter.clone(),
        after: None,
        limit: 100,
        needs,
        now: Timestamp::UNSET,
    };
    let tally = Tally {
        hub: hub(),
        source: case.source,
        filter: case.filter.clone(),
        group_by: Vec::new(),
        max_groups: 100,
    };
    let mut text = Text::new();
    let pieces = selection.pieces(&hub(), &mut text);
    let paged = scan::statement(text, &pieces, &scan, None, [100, 100]);
    let mut text = Text::new();
    let pieces = selection.pieces(&hub(), &mut text);
    let counted = tally::columns_statement(text, &pieces, &selection, &tally, &[]);
    let mut text = Text::new();
    let pieces = selection.pieces(&hub(), &mut text);
    let tally = Tally {
        group_by: vec![Field::Status],
        ..tally
    };
    let by_status = [grouped(&Field::Status, case.source).unwrap()];
    let grouped = tally::columns_statement(text, &pieces, &selection, &tally, &by_status);
    let read = tally::rows_statement(&tally, &selection, Parts::of_filter(&case.filter));
    let statements = [
        ("page", Some(paged)),
        ("count", Some(counted)),
        ("groups", Some(grouped)),
        ("rows", Some(read)),
        ("survey", survey),
    ];
    let statements = statements
        .into_iter()
        .filter_map(|(kind, statement)| Some((format!("{}_{kind}", case.name), statement?)));
    statements.collect()
}

/// What is wrong with the plan of a query.
fn query_faults(plan: &Value, index: &str) -> Vec<String> {
    let mut faults = faults(plan);
    let is_used = nodes(plan)
        .into_iter()
        .any(|node| text(node, "Index Name") == index);
    if !is_used {
        faults.push(format!("{index} is not used"));
    }
    for node in nodes(plan) {
        let is_of_values = text(node, "Relation Name") == "twin_values";
        // Key and value both bound the index; a filter would read past them.
        let filter = text(node, "Filter");
        if is_of_values
            && !filter.is_empty()
            && !filter.ends_with("is_module")
            && !filter.ends_with("is_module)")
        {
            faults.push(format!("members are filtered by {filter}"));
        }
    }
    faults
}

async fn check_all(connection: &mut PgConnection, when: &str) {
    let mut found = Vec::new();
    for case in cases() {
        for (name, statement) in statements(&case) {
            let plan = plan(connection, &name, statement.sql()).await;
            let index = if name.ends_with("survey") {
                "twin_values_pkey"
            } else {
                case.index
            };
            for fault in query_faults(&plan, index) {
                found.push(format!("{name}, {when}: {fault}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[tokio::test]
async fn queries_go_by_the_index_of_what_leads_them() {
    let mut connection = connect().await;
    check_all(&mut connection, "never filled").await;
    execute(&mut connection, "ANALYZE".to_owned()).await;
    check_all(&mut connection, "empty as the statistics know").await;
    execute(&mut connection, CHURN.to_owned()).await;
    let tags = "UPDATE twins SET tags = '{\"site\":\"zrh\",\"floor\":' || device_key % 10 || '}'";
    execute(&mut connection, tags.to_owned()).await;
    check_all(&mut connection, "filled, which the statistics do not know").await;
    execute(&mut connection, "ANALYZE".to_owned()).await;
    check_all(&mut connection, "filled").await;
}
