//! Two nodes on one database, and a look past them at its tables.

use std::sync::Arc;

use downlink_domain::access::Actor;
use downlink_domain::device::Device;
use downlink_domain::id::{DeviceKey, IdentityName};
use downlink_ports::DeviceRegistry;
use downlink_runtime::Lifecycle;
use downlink_stack::Postgres;
use downlink_store_postgres::{PostgresOptions, PostgresStore};
use downlink_testkit::{a_device_spec, a_hub, an_identity, noon};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Two processes' stores of one fresh database.
pub struct Nodes {
    pub stores: [Arc<PostgresStore>; 2],
    pub url: String,
    _lifecycle: Lifecycle,
}

impl Nodes {
    pub async fn open() -> Self {
        let url = Postgres::shared().create_database();
        let lifecycle = Lifecycle::new();
        let options = PostgresOptions {
            url: url.clone(),
            migrate: true,
            ..PostgresOptions::default()
        };
        let first = PostgresStore::open(options.clone(), &lifecycle).await;
        let second = PostgresStore::open(options, &lifecycle).await;
        Self {
            stores: [first.unwrap(), second.unwrap()],
            url,
            _lifecycle: lifecycle,
        }
    }

    /// One of the two, in turn.
    pub fn node(&self, number: usize) -> &Arc<PostgresStore> {
        &self.stores[number % 2]
    }

    /// A connection that is neither's.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    pub async fn register(&self, device: &str) -> Device {
        self.register_identity(an_identity(device)).await
    }

    pub async fn register_identity(&self, name: IdentityName) -> Device {
        let created =
            self.stores[0].create(a_hub(), name, a_device_spec(), Actor::operator(), noon());
        created.await.unwrap().unwrap()
    }
}

/// What a query for one number finds.
pub async fn number(connection: &mut PgConnection, sql: &str) -> i64 {
    let found = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()));
    found.fetch_one(connection).await.unwrap()
}

/// Keys as a device of many tests has them.
pub fn keys(devices: &[Device]) -> Vec<DeviceKey> {
    devices.iter().map(|device| device.key).collect()
}
