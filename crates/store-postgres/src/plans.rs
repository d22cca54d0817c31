//! The plans of all statements, on empty tables and on churned ones: indexes only, and no join of
//! two devices.
//!
//! A join that looks a row up is written `key = ANY (ARRAY[other.key])` where the planner may turn it
//! round. The plain `=` could be merged, so the planner keeps the reading of a whole index in mind,
//! and takes it when the statistics were made while the table was empty, as those of a queue are;
//! this form can only be a look-up.

use std::collections::BTreeMap;
use std::path::Path;

use downlink_stack::Postgres;
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

use crate::open::connect_options;
use crate::options::PostgresOptions;

/// Tables whose rows belong to devices.
const OF_DEVICES: [&str; 7] = [
    "messages",
    "identities",
    "twins",
    "desired_changes",
    "sessions",
    "outbox",
    "feedback",
];

/// Every statement there is, by name.
fn statements() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let mut statements = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        statements.insert(name, std::fs::read_to_string(path).unwrap());
    }
    assert!(statements.len() > 30);
    statements
}

/// A connection as the store makes them, to a fresh database.
pub(crate) async fn connect() -> PgConnection {
    let options = PostgresOptions {
        url: Postgres::shared().create_database(),
        migrate: true,
        ..PostgresOptions::default()
    };
    crate::migrate(options.clone()).await.unwrap();
    connect_options(&options).unwrap().connect().await.unwrap()
}

pub(crate) async fn execute(connection: &mut PgConnection, sql: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.unwrap();
}

/// The plan that a statement has whatever its parameters are.
pub(crate) async fn plan(connection: &mut PgConnection, name: &str, sql: &str) -> Value {
    let most = (1..40).rev().find(|n| sql.contains(&format!("${n}")));
    let parameters = vec!["NULL"; most.unwrap_or(0)].join(", ");
    let parameters = match most {
        Some(_) => format!("({parameters})"),
        None => String::new(),
    };
    execute(connection, format!("PREPARE {name} AS {sql}")).await;
    let explain = format!("EXPLAIN (FORMAT JSON) EXECUTE {name} {parameters}");
    let text: String = sqlx::query_scalar(AssertSqlSafe(explain))
        .persistent(false)
        .fetch_one(&mut *connection)
        .await
        .map_or_else(
            |error| panic!("{name}: {error}"),
            |plan: sqlx::types::JsonValue| plan.to_string(),
        );
    execute(connection, format!("DEALLOCATE {name}")).await;
    let plan: Value = serde_json::from_str(&text).unwrap();
    plan[0]["Plan"].clone()
}

/// Every node of a plan.
pub(crate) fn nodes(plan: &Value) -> Vec<&Value> {
    let mut nodes = vec![plan];
    for child in plan["Plans"].as_array().into_iter().flatten() {
        nodes.extend(self::nodes(child));
    }
    nodes
}

pub(crate) fn text<'a>(node: &'a Value, key: &str) -> &'a str {
    node[key].as_str().unwrap_or("")
}

/// Scans of rows of devices below a node, sub-plans of their own left out.
fn device_scans(node: &Value) -> Vec<&Value> {
    let is_scan = |node: &&Value| {
        text(node, "Node Type").contains("Scan")
            && OF_DEVICES.contains(&text(node, "Relation Name"))
    };
    nodes(node).into_iter().filter(is_scan).collect()
}

/// What is wrong with a plan.
pub(crate) fn faults(plan: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for node in nodes(plan) {
        let kind = text(node, "Node Type");
        let relation = text(node, "Relation Name");
        // A sequence has one row and no index.
        let is_sequence = relation == "outbox_positions";
        if (kind.contains("Seq Scan") && !is_sequence) || kind.contains("Bitmap") {
            faults.push(format!("{kind} on {relation}"));
        }
        if kind.contains("Index") && text(node, "Index Cond").is_empty() {
            let is_ordered = node["Index Name"] == "identities_hub_device_id_module_id_key";
            if !is_ordered {
                faults.push(format!("the whole of {} is read", text(node, "Index Name")));
            }
        }
        if kind.contains("Hash Join") || kind.contains("Merge Join") {
            faults.push(kind.to_owned());
        }
        if kind != "Nested Loop" {
            continue;
        }
        let sides: Vec<_> = node["Plans"].as_array().into_iter().flatten().collect();
        let [outer, inner] = sides[..] else { continue };
        let of_devices = !device_scans(outer).is_empty() && !device_scans(inner).is_empty();
        let is_by_key = device_scans(inner).iter().any(|scan| {
            let condition = text(scan, "Index Cond");
            condition.contains("device_key = ")
                // A row with itself, by what is as unique as its key.
                || condition.contains("record = ")
                || condition.contains("\"position\" = ")
                || (condition.contains("hub = ") && condition.contains("device_id = "))
        });
        let filter = text(node, "Join Filter");
        if of_devices && !is_by_key && !filter.contains("device_key = ") {
            faults.push(format!(
                "rows of devices are joined by something else: {node:#}"
            ));
        }
    }
    faults
}

async fn check_all(connection: &mut PgConnection, when: &str) {
    let mut found = Vec::new();
    for (name, sql) in statements() {
        let plan = plan(connection, &name, &sql).await;
        for fault in faults(&plan) {
            found.push(format!("{name}, {when}: {fault}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A lot of rows, half of them gone again.
pub(crate) const CHURN: &str = "
    INSERT INTO identities SELECT n, 'hub', 'dev-' || n, '', n, 1, 'enabled', NULL, 0, 'sas',
        NULL, NULL, NULL, NULL, FALSE, 0, 0 FROM generate_series(1, 5000) n;
    INSERT INTO twins SELECT n, 'hub', '{}', '{}', '{}', 1, '{}', '{}', 1, 1, 1
        FROM generate_series(1, 5000) n;
    INSERT INTO messages (device_key, sequence, hub, enqueued_at, expiry, due_at, ack, body)
        SELECT n % 5000, n, 'hub', 0, n, n, 0, 'body' FROM generate_series(1, 50000) n;
    UPDATE messages SET lock_token = 'sixteen bytes ok', locked_until = 5, due_at = 5
        WHERE sequence % 3 = 0;
    INSERT INTO feedback (hub, record, device_key, device_id, generation, at, status, expiry)
        SELECT 'hub', n, n % 5000, 'dev', 1, n, 'Success', n FROM generate_series(1, 20000) n;
    INSERT INTO outbox (device_key, event_id, hub, device_id, kind, at, properties, body)
        SELECT n % 5000, n::text::bytea, 'hub', 'dev', 'feedback', 0, '[]', ''
        FROM generate_series(1, 20000) n;
    DELETE FROM messages WHERE sequence % 2 = 0;
    DELETE FROM feedback WHERE record % 2 = 0;
    DELETE FROM outbox WHERE position % 2 = 0;";

#[tokio::test]
async fn statements_use_indexes_and_join_rows_of_one_device_alone() {
    let mut connection = connect().await;
    check_all(&mut connection, "never filled").await;
    execute(&mut connection, "ANALYZE".to_owned()).await;
    check_all(&mut connection, "empty as the statistics know").await;
    execute(&mut connection, CHURN.to_owned()).await;
    check_all(&mut connection, "churned, which the statistics do not know").await;
    execute(&mut connection, "ANALYZE".to_owned()).await;
    check_all(&mut connection, "churned").await;
    execute(
        &mut connection,
        "TRUNCATE messages, feedback, outbox".to_owned(),
    )
    .await;
    check_all(&mut connection, "emptied, which the statistics do not know").await;
}

#[tokio::test]
async fn a_scan_and_a_join_of_two_devices_are_found() {
    let mut connection = connect().await;
    for (sql, expected) in [
        ("SELECT FROM messages WHERE ack = 1", "Seq Scan on messages"),
        (
            "SELECT FROM messages a JOIN messages b ON b.device_key > a.device_key
             WHERE a.device_key = 1",
            "joined by something else",
        ),
    ] {
        let faults = faults(&plan(&mut connection, "wrong", sql).await).join("\n");
        assert!(faults.contains(expected), "{faults}");
    }
}
