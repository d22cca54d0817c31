//! Any query finds the same rows on every store as an evaluator that looks at each row by itself.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::access::Actor;
use downlink_domain::device::{DeviceStatus, IfMatch};
use downlink_domain::id::IdentityName;
use downlink_domain::query::{Field, Filter, Member, Section, Source};
use downlink_domain::twin::{Object, TwinChange};
use downlink_ports::twin_queries::Counting;
use downlink_ports::{
    DeviceRegistry, Needs, Scan, ScanRow, Tallied, Tally, TwinQueries, TwinStore,
};
use downlink_query::Condition;
use downlink_runtime::Lifecycle;
use downlink_stack::Postgres;
use downlink_store_embedded::{Store, StoreOptions};
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use downlink_testkit::{MemoryStore, a_device_spec, a_hub, an_identity, noon, twin_rules};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const DEVICES: usize = 40;
const CONDITIONS: usize = 150;

/// What one store is asked through.
struct Subject {
    name: &'static str,
    registry: Arc<dyn DeviceRegistry>,
    twins: Arc<dyn TwinStore>,
    queries: Arc<dyn TwinQueries>,
}

impl Subject {
    fn of<S>(name: &'static str, store: &Arc<S>) -> Self
    where
        S: DeviceRegistry + TwinStore + TwinQueries + 'static,
    {
        Self {
            name,
            registry: Arc::clone(store) as _,
            twins: Arc::clone(store) as _,
            queries: Arc::clone(store) as _,
        }
    }

    /// Registers an identity with a twin of these sections: tags, desired, reported.
    async fn register(&self, name: &IdentityName, sections: &[String; 3]) {
        let mut spec = a_device_spec();
        spec.is_edge = name.module.is_none() && sections[0].len().is_multiple_of(2);
        if sections[1].len().is_multiple_of(3) {
            spec.status = DeviceStatus::Disabled;
            spec.status_reason = Some("a".to_owned());
        }
        let by = Actor::operator();
        let created = self
            .registry
            .create(a_hub(), name.clone(), spec, by, noon())
            .await;
        let key = created.unwrap().unwrap().key;
        let [tags, desired, reported] = sections.each_ref().map(|text| object(text));
        let changes = vec![
            (
                key,
                TwinChange::Replace {
                    tags,
                    desired,
                    if_match: IfMatch::Any,
                },
            ),
            (
                key,
                TwinChange::Report {
                    patch: reported,
                    expected_version: None,
                },
            ),
        ];
        let written = self.twins.update_twins(changes, twin_rules(), noon()).await;
        for answer in written.unwrap() {
            answer.unwrap().unwrap();
        }
    }

    /// All rows that a filter finds, in pages of seven.
    async fn scan(&self, source: Source, filter: &Filter) -> Vec<ScanRow> {
        let mut scan = Scan {
            hub: a_hub(),
            source,
            filter: filter.clone(),
            after: None,
            limit: 7,
            needs: Needs {
                tags: true,
                desired: true,
                reported: true,
                configurations: true,
                waiting: false,
            },
            now: noon(),
        };
        let mut rows = Vec::new();
        loop {
            let page = self.queries.scan(scan.clone()).await.unwrap();
            rows.extend(page.rows);
            match page.next {
                Some(next) => scan.after = Some(next),
                None => return rows,
            }
        }
    }

    /// How many rows each group has, by what the group is printed as.
    async fn tally(&self, tally: Tally) -> Vec<String> {
        let name = self.name;
        let tallied = self.queries.tally(tally).await;
        printed(tallied.unwrap_or_else(|error| panic!("{name}: {error}")))
    }
}

fn printed(tallied: Tallied) -> Vec<String> {
    let Tallied::Groups(groups) = tallied else {
        panic!("there are fewer groups than that");
    };
    let mut printed: Vec<_> = groups.iter().map(|group| format!("{group:?}")).collect();
    printed.sort();
    printed
}

fn object(text: &str) -> Object {
    serde_json::from_str(text).unwrap()
}

fn names(rows: &[ScanRow]) -> Vec<String> {
    rows.iter().map(|row| row.device.name.to_string()).collect()
}

/// The texts of values that databases see otherwise than each other, and of ordinary ones.
fn scalar() -> impl Strategy<Value = String> {
    let spelled = [
        "1",
        "1.0",
        "1e0",
        "0",
        "-0.0",
        "2",
        "-3.5",
        "1e-400",
        "1e300",
        "0.1",
        "0.1000000000000000055511151231257827",
        "9007199254740993.0",
        "9007199254740992.0",
        "true",
        "false",
        "\"\"",
        "\"a\"",
        "\"b\"",
        "\"ab\"",
        "\"a\\u0000\"",
        "\"A\"",
        "\"é\"",
        "\"😀\"",
        "\"1\"",
        "\"'; --\"",
        "\"\\\\\"",
        "\"\\\"\"",
        "\"%\"",
    ];
    prop_oneof![
        8 => proptest::sample::select(spelled.to_vec()).prop_map(str::to_owned),
        1 => (0..3_u8).prop_map(|last| format!("\"{}{last}\"", "x".repeat(600))),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => scalar(),
        1 => proptest::collection::vec(scalar(), 0..3).prop_map(|list| format!("[{}]", list.join(","))),
        2 => scalar().prop_map(|value| format!("{{\"x\":{value}}}")),
    ]
}

fn document() -> impl Strategy<Value = String> {
    let member = |name: &'static str| {
        proptest::option::of(value())
            .prop_map(move |value| value.map(|value| format!("\"{name}\":{value}")))
    };
    (member("a"), member("b"), member("o'\\\"")).prop_map(|(a, b, odd)| {
        let odd = odd.map(|odd| odd.replace("o'\\\"", "o'\\\\\\\""));
        let members: Vec<_> = [a, b, odd].into_iter().flatten().collect();
        format!("{{{}}}", members.join(","))
    })
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => scalar().prop_filter("the language has numbers up to the largest of 64 bits", |text| {
            text != "1e-400"
        }),
        1 => Just("null".to_owned()),
        1 => Just("undefined".to_owned()),
        1 => Just("'dev-07'".to_owned()),
        1 => Just("'2026-01-05T12:00:00Z'".to_owned()),
        1 => Just("'disabled'".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let paths = [
        "tags.a",
        "tags.a",
        "tags.b",
        "tags.a.x",
        "tags.[[o'\\\"]]",
        "properties.desired.a",
        "properties.reported.a",
        "properties.reported.b.x",
        "properties.reported.$version",
        "deviceId",
        "moduleId",
        "status",
        "statusReason",
        "lastActivityTime",
        "statusUpdateTime",
        "capabilities.iotEdge",
        "version",
        "connectionState",
        "configurations.[[c]].status",
        "nothing",
    ];
    proptest::sample::select(paths.to_vec()).prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    let comparison = proptest::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
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
    let listed = proptest::collection::vec(literal(), 1..5).prop_map(|list| list.join(", "));
    let leaf = prop_oneof![
        4 => (path(), comparison, literal()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        2 => (path(), proptest::sample::select(vec!["IN", "NIN"]), listed)
            .prop_map(|(path, op, list)| format!("{path} {op} [{list}]")),
        2 => (proptest::sample::select(kinds), path()).prop_map(|(f, path)| format!("{f}({path})")),
        1 => (path(), literal()).prop_map(|(path, text)| format!("STARTS_WITH({path}, {text})")),
        1 => path().prop_map(|path| format!("LENGTH({path}) > 0")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|part| format!("NOT ({part})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) AND ({b})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a}) OR ({b})")),
        ]
    })
}

fn sections() -> impl Strategy<Value = [String; 3]> {
    [document(), document(), document()]
}

/// One value of a strategy.
fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).unwrap().current()
}

fn member(section: Section, name: &str) -> Field {
    Field::Member(Member {
        section,
        path: vec![name.to_owned()],
    })
}

#[tokio::test]
async fn any_query_finds_the_same_rows_on_every_store_as_row_by_row() {
    let lifecycle = Lifecycle::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.db");
    let embedded = Store::open(&file, StoreOptions::default(), &lifecycle);
    let options = PostgresOptions {
        url: Postgres::shared().create_database(),
        migrate: true,
        ..PostgresOptions::default()
    };
    let postgres = PostgresStore::open(options, &lifecycle);
    let subjects = [
        Subject::of("memory", &Arc::new(MemoryStore::new())),
        Subject::of("embedded", &embedded.await.unwrap()),
        Subject::of("postgres", &postgres.await.unwrap()),
    ];
    let mut runner = TestRunner::default();
    for number in 0..DEVICES {
        let device = an_identity(&format!("dev-{number:02}"));
        let mut module = device.clone();
        module.module = Some("mod".parse().unwrap());
        let of_device = draw(&mut runner, &sections());
        let of_module = draw(&mut runner, &sections());
        for subject in &subjects {
            subject.register(&device, &of_device).await;
            if number.is_multiple_of(4) {
                subject.register(&module, &of_module).await;
            }
        }
    }
    for _ in 0..CONDITIONS {
        let text = draw(&mut runner, &condition());
        check(&subjects, &text).await;
    }
    lifecycle.shutdown(Duration::from_secs(10)).await;
}

/// Holds every store to what the condition says of each row by itself.
async fn check(subjects: &[Subject], text: &str) {
    let sources = [
        (Source::Devices, text.to_owned()),
        (
            Source::Modules,
            format!("FROM devices.modules WHERE {text}"),
        ),
    ];
    for (source, text) in sources {
        let condition = Condition::parse(&text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let plan = condition.plan();
        let all = subjects[0].scan(source, &Filter::All).await;
        let (expected, _): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|row| condition.matches(row));
        for subject in subjects {
            let what = || format!("{} of {text}: {:?}", subject.name, plan.filter);
            let mut found = subject.scan(source, &plan.filter).await;
            if plan.is_exact {
                let groupings = [
                    vec![],
                    vec![Field::Status],
                    vec![member(Section::Tags, "a")],
                    vec![member(Section::Reported, "a"), Field::IsEdge],
                ];
                for group_by in groupings {
                    let tally = Tally {
                        hub: a_hub(),
                        source,
                        filter: plan.filter.clone(),
                        group_by,
                        max_groups: 1_000,
                    };
                    let mut counting = Counting::new(&tally);
                    for row in &expected {
                        counting.row(row).unwrap();
                    }
                    let counted = printed(counting.finish());
                    assert_eq!(subject.tally(tally).await, counted, "counted by {}", what());
                }
            } else {
                found.retain(|row| condition.matches(row));
            }
            assert_eq!(names(&found), names(&expected), "{}", what());
        }
    }
}
