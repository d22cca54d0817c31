//! A pooler that gives connections to transactions, before the databases of a test program.

use downlink_stack::{PgBouncer, Postgres};
use downlink_store_postgres::{Pooler, PostgresOptions};
use tokio::sync::OnceCell;

static POOLER: OnceCell<PgBouncer> = OnceCell::const_new();

/// The address of the same database behind a pooler that gives connections to transactions.
pub async fn behind_pooler(url: &str) -> String {
    let pooler = POOLER
        .get_or_init(async || PgBouncer::start(Postgres::shared(), url))
        .await;
    pooler.url(url)
}

/// Options of a store behind a pooler.
pub fn pooled(url: &str) -> PostgresOptions {
    PostgresOptions {
        pooler: Pooler::Transaction,
        url: url.to_owned(),
        ..PostgresOptions::default()
    }
}
