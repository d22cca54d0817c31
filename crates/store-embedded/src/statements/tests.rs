//! Every statement against the migrated schema: it prepares, and it finds its rows by index.

use std::path::Path;

use sqlx::{AssertSqlSafe, Connection, Executor, Row, SqlSafeStr, SqliteConnection};

use super::all;
use crate::rows::RowsStatement;

async fn migrated() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::migrate!("../../migrations/embedded")
        .run(&mut connection)
        .await
        .unwrap();
    connection
}

/// Every file under `queries/`, the text for one row where it works on rows.
fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap())
    });
    files.collect()
}

async fn plan(connection: &mut SqliteConnection, sql: &str) -> String {
    let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .fetch_all(connection)
        .await
        .unwrap();
    let lines = rows.iter().map(|row| row.get::<String, _>("detail"));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_file_prepares_on_the_migrated_schema() {
    let mut connection = migrated().await;
    let files = files();
    assert!(files.len() > 30);
    for (name, sql) in files {
        let prepared = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await;
        prepared.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn every_statement_over_rows_prepares_in_every_size() {
    let mut connection = migrated().await;
    for (name, statement) in all() {
        for sql in statement.texts() {
            let prepared = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await;
            prepared.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[tokio::test]
async fn no_statement_reads_a_whole_table() {
    let mut connection = migrated().await;
    let tables = [
        "messages",
        "visible",
        "identities",
        "twins",
        "sessions",
        "desired_changes",
        "feedback",
        "hubs",
        "policies",
        "certificate_authorities",
    ];
    for (name, sql) in files() {
        let plan = plan(&mut connection, &sql).await;
        for table in tables {
            let is_scan = |line: &str| line.trim().starts_with(&format!("SCAN {table}"));
            assert!(!plan.lines().any(is_scan), "{name}:\n{plan}");
        }
    }
}

#[tokio::test]
async fn the_hot_statements_go_by_the_whole_primary_key_for_any_number_of_rows() {
    let mut connection = migrated().await;
    let hot: [(&RowsStatement, &str); 4] = [
        (
            &super::FIND_STANDINGS,
            "SEARCH messages USING PRIMARY KEY (device_key=? AND sequence=?)",
        ),
        (
            &super::UPDATE_STANDINGS,
            "SEARCH messages USING PRIMARY KEY (device_key=? AND sequence=?)",
        ),
        (
            &super::DELETE_MESSAGES,
            "SEARCH messages USING PRIMARY KEY (device_key=? AND sequence=?)",
        ),
        (
            &super::FIND_RECEIVABLE,
            "SEARCH visible USING PRIMARY KEY (device_key=?)",
        ),
    ];
    for (statement, expected) in hot {
        for sql in statement.texts() {
            let plan = plan(&mut connection, &sql).await;
            assert!(plan.contains(expected), "{plan}");
        }
    }
}

#[tokio::test]
async fn what_is_expired_in_a_deep_queue_is_counted_by_due_time() {
    let mut connection = migrated().await;
    for sql in super::FIND_TARGETS.texts() {
        let plan = plan(&mut connection, &sql).await;
        assert!(
            plan.contains("SEARCH due USING INDEX messages_by_due (due_at<?)"),
            "{plan}"
        );
        assert!(plan.contains("SEARCH identities USING INDEX"), "{plan}");
    }
}

#[tokio::test]
async fn the_sweep_goes_by_due_time() {
    let mut connection = migrated().await;
    let sql = include_str!("../../queries/find_due.sql");
    let plan = plan(&mut connection, sql).await;
    assert!(plan.contains("INDEX messages_by_due (due_at<?)"), "{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
}
