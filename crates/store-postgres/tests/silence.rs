//! A server that says nothing any more: every call ends, and the connections it had are replaced.

#![expect(clippy::unwrap_used, reason = "in a test a failed step ends the test")]

#[path = "support/fresh.rs"]
mod fresh;
#[path = "support/silent.rs"]
mod silent;

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::DeviceKey;
use downlink_ports::{DeviceRegistry, EventOutbox, EventRelay, MessageStore, StoreError};
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use downlink_testkit::{a_device_spec, a_hub, an_event, an_identity, noon, somebody};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::timeout;

use self::silent::Way;

/// How long a call may take that the server does not answer; far above what the options say.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store with one connection, by a way to its database.
struct Silenced {
    way: Way,
    url: String,
    store: Arc<PostgresStore>,
}

impl Silenced {
    async fn open() -> Self {
        let url = fresh::database().await;
        let way = Way::to(&url).await;
        let options = PostgresOptions {
            max_connections: 1,
            statement_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            ..fresh::options(way.url())
        };
        let store = fresh::open(options).await;
        Self { way, url, store }
    }

    /// Makes a call wait for `table`, and what it is sent over fall silent meanwhile.
    async fn in_the_middle<T>(&self, table: &str, call: impl Future<Output = T>) -> T {
        let mut other = PgConnection::connect(&self.url).await.unwrap();
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
        sqlx::raw_sql(AssertSqlSafe(lock))
            .execute(&mut other)
            .await
            .unwrap();
        let silence = async {
            let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database =
                (SELECT oid FROM pg_database WHERE datname = current_database())";
            while sqlx::query_scalar::<_, i64>(waiting)
                .fetch_one(&mut other)
                .await
                .unwrap()
                == 0
            {}
            self.way.fall_silent();
            other.close().await.unwrap();
        };
        let both = async { tokio::join!(call, silence).0 };
        timeout(PATIENCE, both).await.unwrap()
    }

    async fn register(&self, name: &str) -> Result<(), StoreError> {
        let identity = an_identity(name);
        let created = self
            .store
            .create(a_hub(), identity, a_device_spec(), somebody(), noon());
        let created = timeout(PATIENCE, created).await.unwrap();
        created.map(|created| assert!(created.is_ok()))
    }
}

fn is_unavailable<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn a_call_to_a_server_that_falls_silent_ends_and_the_next_has_another_connection() {
    let silenced = Silenced::open().await;
    let count = || silenced.store.count(vec![DeviceKey(1)], noon());
    let answer = silenced.in_the_middle("messages", count()).await;
    assert!(is_unavailable(&answer));
    assert_eq!(timeout(PATIENCE, count()).await.unwrap(), Ok(vec![0]));
}

#[tokio::test]
async fn a_transaction_on_a_server_that_falls_silent_ends_and_the_next_has_another_connection() {
    let silenced = Silenced::open().await;
    let answer = silenced
        .in_the_middle("twins", silenced.register("one"))
        .await;
    assert!(is_unavailable(&answer));
    silenced.register("two").await.unwrap();
}

#[tokio::test]
async fn a_caller_that_leaves_a_silent_server_takes_no_connection_with_it() {
    let silenced = Silenced::open().await;
    let count = || silenced.store.count(vec![DeviceKey(1)], noon());
    let left = timeout(Duration::from_millis(500), count());
    assert!(silenced.in_the_middle("messages", left).await.is_err());
    assert_eq!(timeout(PATIENCE, count()).await.unwrap(), Ok(vec![0]));
}

#[tokio::test]
async fn claims_on_a_server_that_fell_silent_end_and_their_events_are_claimed_again() {
    const HOLD: Duration = Duration::from_millis(500);
    let Silenced { way, store, .. } = Silenced::open().await;
    store.append(vec![an_event("sensor", 1)]).await.unwrap();
    // More often than there are connections.
    for _ in 0..5 {
        let claim = || timeout(PATIENCE, store.claim(10, HOLD));
        let claimed = timeout(PATIENCE, async {
            loop {
                // The server lets go of the lane of a silent claim once its hold is over.
                if let Ok(Some(claimed)) = claim().await.unwrap() {
                    return claimed;
                }
            }
        });
        let claimed = claimed.await.unwrap();
        assert_eq!(claimed.events().len(), 1);
        way.fall_silent();
        let finished = timeout(PATIENCE, claimed.finish(1)).await.unwrap();
        assert!(is_unavailable(&finished));
    }
}
