//! A file of an earlier version opens, and nothing in it is lost.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

use downlink_domain::device::IfMatch;
use downlink_domain::policy::{Permission, Permissions};
use downlink_ports::testsuite::given::{an_authority, somebody};
use downlink_ports::{AccessStore, PolicyStore};
use downlink_runtime::Lifecycle;
use downlink_store_embedded::{Store, StoreOptions};
use downlink_testkit::{a_hub, a_policy, noon};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// A file as the first version made it, with a hub.
async fn first_version(path: &std::path::Path) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection: SqliteConnection = options.connect().await.unwrap();
    let mut first = sqlx::migrate!("../../migrations/embedded");
    first.migrations.to_mut().truncate(1);
    first.run(&mut connection).await.unwrap();
    let hub = a_hub();
    let rows = format!(
        "INSERT INTO hubs (hub, created_at) VALUES ('{hub}', 0);
         INSERT INTO policies VALUES
            ('{hub}', 0, 'iothubowner', x'01', x'02', 15),
            ('{hub}', 1, 'all', x'03', x'04', 15),
            ('{hub}', 2, 'service', x'05', x'06', 4)"
    );
    sqlx::raw_sql(AssertSqlSafe(rows))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_hub_of_the_first_version_keeps_its_policies_and_its_owner_administers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.db");
    first_version(&path).await;
    let lifecycle = Lifecycle::new();
    let store = Store::open(&path, StoreOptions::default(), &lifecycle).await;
    let store = store.unwrap();

    assert_eq!(store.hubs().await.unwrap(), [a_hub()]);
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

    let etag = IfMatch::Etag(service.etag_text());
    let put = store.put_policy(a_hub(), service.clone(), etag, somebody(), noon());
    assert_eq!(put.await.unwrap().unwrap().etag, 2);
    let authority = an_authority("plant");
    let put = store.put_authority(a_hub(), authority, IfMatch::Absent, somebody(), noon());
    assert!(put.await.unwrap().is_ok());
    store.close().await;
}
