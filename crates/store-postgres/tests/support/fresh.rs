//! Fresh databases, copied from one that is migrated once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use downlink_runtime::Lifecycle;
use downlink_stack::Postgres;
use downlink_store_postgres::{PostgresOptions, PostgresStore, migrate};
use tokio::sync::OnceCell;

/// The address of a database with the schema and nothing in it.
static TEMPLATE: OnceCell<String> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The address of a database with the schema and nothing in it.
pub async fn database() -> String {
    let postgres = Postgres::shared();
    let template = TEMPLATE
        .get_or_init(async || {
            let url = postgres.create_database();
            migrate(options(&url)).await.unwrap();
            url
        })
        .await;
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let copy = format!("fresh_{number}");
    let statement = format!("CREATE DATABASE {copy} TEMPLATE {}", name(template));
    postgres.execute(&statement).unwrap();
    template.replace(name(template), &copy)
}

fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap().split('?').next().unwrap()
}

/// Options of a store that finds its schema there.
pub fn options(url: &str) -> PostgresOptions {
    PostgresOptions {
        url: url.to_owned(),
        ..PostgresOptions::default()
    }
}

/// Opens a store that lives as long as the test.
pub async fn open(options: PostgresOptions) -> Arc<PostgresStore> {
    PostgresStore::open(options, &Lifecycle::new())
        .await
        .unwrap()
}
