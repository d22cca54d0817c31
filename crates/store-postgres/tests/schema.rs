//! What the schema promises, read from the catalogue; and who may work on which schema.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

#[path = "support/fresh.rs"]
mod fresh;
#[path = "support/pooler.rs"]
mod pooler;

use std::error::Error as _;

use downlink_domain::policy::{Permission, Permissions};
use downlink_ports::testsuite::given::somebody;
use downlink_ports::{AccessStore, PolicyStore};
use downlink_runtime::Lifecycle;
use downlink_stack::Postgres;
use downlink_store_postgres::{OpenError, PostgresOptions, PostgresStore, migrate};
use downlink_testkit::{a_hub, a_policy, noon};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

async fn texts(connection: &mut PgConnection, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(connection).await.unwrap()
}

#[tokio::test]
async fn every_key_starts_with_the_device_key_or_the_hub_or_a_digest_of_it() {
    let url = fresh::database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let keys = texts(
        &mut connection,
        "SELECT pg_index.indexrelid::regclass || ' starts with ' || pg_attribute.attname
         FROM pg_index
         JOIN pg_class ON pg_class.oid = pg_index.indrelid
         JOIN pg_attribute ON pg_attribute.attrelid = pg_index.indrelid
            AND pg_attribute.attnum = pg_index.indkey[0]
         WHERE pg_index.indisunique AND pg_class.relnamespace = 'public'::regnamespace
            AND pg_class.relname <> '_sqlx_migrations'",
    )
    .await;
    assert!(keys.len() >= 10, "{keys:?}");
    let wrong: Vec<_> = keys
        .iter()
        .filter(|key| !key.ends_with(" device_key") && !key.ends_with(" hub"))
        // A place is the digest of the hub and what is below it (docs/adr/0015).
        .filter(|key| *key != "twin_values_pkey starts with place")
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn every_table_has_a_primary_key_and_no_foreign_one() {
    let url = fresh::database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let without = texts(
        &mut connection,
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
            AND NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'p')",
    )
    .await;
    assert!(without.is_empty(), "{without:?}");
    let foreign = texts(
        &mut connection,
        "SELECT conname::text FROM pg_constraint WHERE contype = 'f'",
    )
    .await;
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[tokio::test]
async fn every_table_and_column_says_what_it_is_for() {
    let url = fresh::database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let silent = texts(
        &mut connection,
        "SELECT pg_class.relname || COALESCE('.' || pg_attribute.attname, '')
         FROM pg_class
         LEFT JOIN pg_attribute ON pg_attribute.attrelid = pg_class.oid
            AND pg_attribute.attnum > 0 AND NOT pg_attribute.attisdropped
         WHERE pg_class.relnamespace = 'public'::regnamespace
            AND pg_class.relkind IN ('r', 'p') AND pg_class.relname <> '_sqlx_migrations'
            AND (col_description(pg_class.oid, pg_attribute.attnum) IS NULL
                OR obj_description(pg_class.oid, 'pg_class') IS NULL)",
    )
    .await;
    assert!(silent.is_empty(), "{silent:?}");
}

async fn refused(options: PostgresOptions) -> String {
    let opened = PostgresStore::open(options, &Lifecycle::new()).await;
    opened.unwrap_err().to_string()
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused_with_the_cure() {
    let url = Postgres::shared().create_database();
    let error = refused(fresh::options(&url)).await;
    assert!(error.contains("`downlink migrate`"), "{error}");
    assert_eq!(error.lines().count(), 1);
    migrate(fresh::options(&url)).await.unwrap();
    migrate(fresh::options(&url)).await.unwrap();
    fresh::open(fresh::options(&url)).await;
}

#[tokio::test]
async fn a_schema_that_is_not_this_version_s_is_refused_also_by_the_migration() {
    let changes = [
        (
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (99990101000000, 'later', TRUE, 'x', 0)",
            "of a later version",
        ),
        (
            "UPDATE _sqlx_migrations SET checksum = 'x'",
            "is not the one of this version",
        ),
    ];
    for (change, expected) in changes {
        let url = fresh::database().await;
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(change)
            .execute(&mut connection)
            .await
            .unwrap();
        let error = refused(fresh::options(&url)).await;
        assert!(error.contains(expected), "{error}");
        let error = migrate(fresh::options(&url)).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn of_many_who_migrate_at_once_all_find_it_done() {
    let url = Postgres::shared().create_database();
    let racing = (0..8).map(|_| migrate(fresh::options(&url)));
    for done in futures::future::join_all(racing).await {
        done.unwrap();
    }
    fresh::open(fresh::options(&url)).await;
}

#[tokio::test]
async fn a_schema_is_brought_up_to_date_behind_a_pooler() {
    let url = Postgres::shared().create_database();
    let pooled = pooler::pooled(&pooler::behind_pooler(&url).await);
    for _ in 0..3 {
        migrate(pooled.clone()).await.unwrap();
    }
    fresh::open(pooled).await;
}

/// Makes a role with rights to rows alone; its options.
async fn a_role(url: &str, name: &str, setting: &str) -> PostgresOptions {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let statements = format!(
        "CREATE ROLE {name} LOGIN;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name};
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {name};
         ALTER ROLE {name} SET {setting}"
    );
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut connection)
        .await
        .unwrap();
    let user = url.split("://").nth(1).unwrap().split('@').next().unwrap();
    fresh::options(&url.replacen(&format!("://{user}"), &format!("://{name}"), 1))
}

#[tokio::test]
async fn a_role_with_rights_to_rows_alone_is_enough() {
    let url = fresh::database().await;
    let options = a_role(&url, "writer", "search_path = public").await;
    let store = fresh::open(options).await;
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_session_that_would_lose_what_it_acknowledges_is_refused() {
    let url = fresh::database().await;
    let options = a_role(&url, "careless", "synchronous_commit = off").await;
    let error = refused(options).await;
    assert!(error.contains("synchronous_commit is off"), "{error}");
    let options = a_role(&url, "reader", "default_transaction_read_only = on").await;
    let error = refused(options).await;
    assert!(error.contains("is read-only"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_and_a_url_that_is_none_are_named_without_the_secret() {
    let secret = "postgres://downlink:hunter2@127.0.0.1:1/downlink";
    let error = PostgresStore::open(fresh::options(secret), &Lifecycle::new()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, OpenError::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let told = format!("{error} {error:?} {:?}", error.source());
    assert!(!told.contains("hunter2"), "{told}");

    let error = refused(fresh::options("hunter2 at localhost")).await;
    assert!(error.starts_with("url: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_hub_of_the_first_schema_keeps_its_policies_and_its_owner_administers() {
    let url = Postgres::shared().create_database();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut first = sqlx::migrate!("../../migrations/postgres");
    first.migrations.to_mut().truncate(1);
    first.run(&mut connection).await.unwrap();
    let hub = a_hub();
    let rows = format!(
        "INSERT INTO hubs (hub, created_at) VALUES ('{hub}', 0);
         INSERT INTO policies VALUES
            ('{hub}', 0, 'iothubowner', '\\x01', '\\x02', 15),
            ('{hub}', 1, 'all', '\\x03', '\\x04', 15),
            ('{hub}', 2, 'service', '\\x05', '\\x06', 4)"
    );
    sqlx::raw_sql(AssertSqlSafe(rows))
        .execute(&mut connection)
        .await
        .unwrap();

    migrate(fresh::options(&url)).await.unwrap();
    let store = fresh::open(fresh::options(&url)).await;
    let ensured = store.ensure_hub(a_hub(), vec![a_policy("other")], noon());
    ensured.await.unwrap();
    let access = store.access(a_hub(), None).await.unwrap().unwrap();
    assert_eq!(access.version, 1);
    let names: Vec<_> = access.policies.iter().map(|it| &it.name[..]).collect();
    assert_eq!(names, ["iothubowner", "all", "service"]);
    let [owner, all, service] = &access.policies[..] else {
        panic!("three policies")
    };
    assert!(owner.administers() && !all.administers());
    assert_eq!(owner.keys, [vec![1], vec![2]]);
    assert_eq!((owner.etag, &owner.scope), (1, &None));
    let rights = Permissions::of(&[Permission::ServiceConnect]);
    assert_eq!(service.permissions, rights);

    let etag = downlink_domain::device::IfMatch::Etag(service.etag_text());
    let put = store.put_policy(a_hub(), service.clone(), etag, somebody(), noon());
    assert_eq!(put.await.unwrap().unwrap().etag, 2);
}
