//! Queries beside other work, and the index that the database keeps for them.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "support/nodes.rs"]
mod nodes;

use std::time::Duration;

use downlink_domain::device::IfMatch;
use downlink_domain::query::{Comparison, Field, Filter, Member, Scalar, Section, Source};
use downlink_domain::twin::TwinChange;
use downlink_ports::{DeviceRegistry, Tally, TwinQueries, TwinQueryError, TwinStore};
use downlink_runtime::Lifecycle;
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use downlink_testkit::{a_hub, an_identity, noon, somebody, twin_rules};
use futures::future::join_all;
use sqlx::AssertSqlSafe;

use self::nodes::{Nodes, keys, number};

/// Rows of the index that should not be there, and rows that should and are not.
const WRONG_ROWS: &str = "
    WITH
        wanted AS (
            SELECT member.*, twins.device_key, identities.module_id <> '' AS is_module
            FROM twins
            JOIN identities ON identities.device_key = twins.device_key
            CROSS JOIN twin_members(twins.hub, 'tags', twins.tags) AS member
        ),
        there AS (SELECT place, kind, number, text, device_key, is_module FROM twin_values)
    SELECT count(*) FROM (
        (TABLE wanted EXCEPT TABLE there) UNION ALL (TABLE there EXCEPT TABLE wanted)
    ) AS wrong";

fn tags(text: &str) -> TwinChange {
    TwinChange::Patch {
        tags: Some(serde_json::from_str(text).unwrap()),
        desired: None,
        if_match: IfMatch::Any,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_of_tags_is_what_the_tags_are_whoever_writes_at_once() {
    let nodes = Nodes::open().await;
    let mut devices = Vec::new();
    for number in 0..12 {
        devices.push(nodes.register(&format!("dev-{number}")).await);
    }
    let mut module = an_identity("dev-1");
    module.module = Some("mod".parse().unwrap());
    devices.push(nodes.register_identity(module).await);
    let keys = keys(&devices);
    let texts = [
        r#"{"a":1,"b":{"c":"x","d":[1,2]}}"#,
        r#"{"a":"1","b":{"c":null}}"#,
        r#"{"b":null,"e":true,"f":-0.0}"#,
        r#"{"a":1e-400}"#,
        r#"{"a":"\u0000","g":"ä"}"#,
        r#"{"a":1.0,"b":{"c":{"d":false}}}"#,
    ];
    let racing = (0..6).map(async |racer: usize| {
        for round in 0..10 {
            let text = texts[(racer + round) % texts.len()];
            let changes = keys.iter().map(|key| (*key, tags(text))).collect();
            let node = nodes.node(racer);
            let answers = node.update_twins(changes, twin_rules(), noon()).await;
            answers.unwrap();
        }
    });
    join_all(racing).await;
    let mut connection = nodes.connect().await;
    let rows = number(&mut connection, "SELECT count(*) FROM twin_values").await;
    assert!(rows >= 13, "{rows} rows");
    assert_eq!(number(&mut connection, WRONG_ROWS).await, 0);
    for device in ["dev-0", "dev-1"] {
        let deleted = nodes.stores[0].delete(
            a_hub(),
            an_identity(device),
            IfMatch::Any,
            somebody(),
            noon(),
        );
        deleted.await.unwrap().unwrap();
    }
    assert_eq!(number(&mut connection, WRONG_ROWS).await, 0);
    let of_modules = "SELECT count(*) FROM twin_values WHERE is_module";
    assert_eq!(number(&mut connection, of_modules).await, 0);
}

/// Twins enough that reading all of them takes longer than the shortest time there is.
const MANY: &str = "
    INSERT INTO identities (device_key, hub, device_id, generation, etag, status,
        status_updated_at, authentication, is_edge, connection_state_updated_at,
        last_activity_at)
    SELECT n, 'hub.downlink.test', 'many-' || n, n, 1, 'enabled', 0, 'certificateAuthority',
        FALSE, 0, 0
    FROM generate_series(1000000, 1040000) AS n;
    INSERT INTO twins (device_key, hub, tags, desired, desired_metadata, desired_version,
        reported, reported_metadata, reported_version, etag, version)
    SELECT n, 'hub.downlink.test', '{}', '{}', '{}', 1, '{\"x\":1}', '{}', 1, 1, 2
    FROM generate_series(1000000, 1040000) AS n";

#[tokio::test]
async fn a_query_that_takes_too_long_says_so_and_leaves_the_store_at_work() {
    let nodes = Nodes::open().await;
    let device = nodes.register("dev-1").await;
    let mut connection = nodes.connect().await;
    let filled = sqlx::raw_sql(AssertSqlSafe(MANY)).execute(&mut connection);
    filled.await.unwrap();
    let options = PostgresOptions {
        url: nodes.url.clone(),
        query_timeout: Duration::from_millis(10),
        max_query_connections: 1,
        ..PostgresOptions::default()
    };
    let store = PostgresStore::open(options, &Lifecycle::new())
        .await
        .unwrap();
    let slow = Tally {
        hub: a_hub(),
        source: Source::Devices,
        filter: Filter::Compare {
            field: Field::Member(Member {
                section: Section::Reported,
                path: vec!["x".to_owned()],
            }),
            comparison: Comparison::Eq,
            value: Scalar::Number(1.0),
        },
        group_by: Vec::new(),
        max_groups: 1,
    };
    for _ in 0..3 {
        let tallied = store.tally(slow.clone()).await;
        assert_eq!(tallied, Err(TwinQueryError::TooSlow));
    }
    let found = store.find_twins(vec![device.key]).await.unwrap();
    assert!(found[0].is_some());
    let patient = nodes.stores[0].tally(slow).await.unwrap();
    let text = format!("{patient:?}");
    assert!(text.contains("count: 40001"), "{text}");
}
