//! The store that the configuration chooses, as ports.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use downlink_config::Config;
use downlink_config::sections::{self, StorageKind};
use downlink_ports::{
    AccessStore, ConnectionStore, DeviceRegistry, EventOutbox, EventRelay, FeedbackStore, JobStore,
    LimitsStore, MessageStore, PolicyStore, SessionStore, TwinQueries, TwinStore,
};
use downlink_runtime::Lifecycle;
use downlink_store_embedded::{Store, StoreOptions};
use downlink_store_postgres::{Pooler, PostgresOptions, PostgresStore};

use crate::ground::Ground;

/// Every store port; all of them are one store.
#[derive(Clone)]
pub struct Stores {
    /// Messages.
    pub messages: Arc<dyn MessageStore>,
    /// Their feedback.
    pub feedback: Arc<dyn FeedbackStore>,
    /// Identities.
    pub registry: Arc<dyn DeviceRegistry>,
    /// Who is connected, as it is recorded.
    pub connections: Arc<dyn ConnectionStore>,
    /// Twins.
    pub twins: Arc<dyn TwinStore>,
    /// MQTT sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Hubs.
    pub policies: Arc<dyn PolicyStore>,
    /// Policies and certificate authorities.
    pub access: Arc<dyn AccessStore>,
    /// Limits.
    pub limits: Arc<dyn LimitsStore>,
    /// Twins found by what is in them.
    pub queries: Arc<dyn TwinQueries>,
    /// Jobs.
    pub jobs: Arc<dyn JobStore>,
    /// Events.
    pub outbox: Arc<dyn EventOutbox>,
    /// Events on their way out.
    pub relay: Arc<dyn EventRelay>,
}

impl Stores {
    fn of<S>(store: &Arc<S>) -> Self
    where
        S: MessageStore
            + FeedbackStore
            + DeviceRegistry
            + ConnectionStore
            + TwinStore
            + LimitsStore,
        S: JobStore
            + TwinQueries
            + SessionStore
            + PolicyStore
            + AccessStore
            + EventOutbox
            + EventRelay
            + 'static,
    {
        Self {
            messages: Arc::clone(store) as _,
            feedback: Arc::clone(store) as _,
            registry: Arc::clone(store) as _,
            connections: Arc::clone(store) as _,
            twins: Arc::clone(store) as _,
            sessions: Arc::clone(store) as _,
            policies: Arc::clone(store) as _,
            access: Arc::clone(store) as _,
            limits: Arc::clone(store) as _,
            queries: Arc::clone(store) as _,
            jobs: Arc::clone(store) as _,
            outbox: Arc::clone(store) as _,
            relay: Arc::clone(store) as _,
        }
    }
}

/// Opens the store; the embedded one is a file in `storage.path`. Its scope is to be the oldest:
/// it drains last.
///
/// # Errors
/// One line that names the setting and says what is wrong.
pub async fn open_stores(ground: &Ground) -> anyhow::Result<Stores> {
    let scope = ground.lifecycle.child("store");
    match ground.config.storage.kind {
        StorageKind::Embedded => {
            let store = open_embedded(&ground.config, &scope).await?;
            Ok(Stores::of(&store))
        }
        StorageKind::Postgres => {
            let options = postgres_options(&ground.config);
            let store = PostgresStore::open(options, &scope)
                .await
                .context("storage.postgres.url")?;
            let pinged = Arc::clone(&store);
            ground.readiness.watch("postgres", move || {
                let store = Arc::clone(&pinged);
                async move { store.ping().await }
            });
            Ok(Stores::of(&store))
        }
    }
}

async fn open_embedded(config: &Config, scope: &Lifecycle) -> anyhow::Result<Arc<Store>> {
    let storage = &config.storage;
    let to_usize =
        |number: std::num::NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    let options = StoreOptions {
        max_group_jobs: to_usize(storage.max_group_jobs),
        max_group_items: to_usize(storage.max_group_items),
        max_queued_jobs: to_usize(storage.max_queued_jobs),
        max_queued_bytes: storage.max_queued_bytes.as_usize(),
        max_readers: storage.max_readers.get(),
        query_timeout: storage.query_timeout.get(),
    };
    make_private_folder(&storage.path)?;
    let path = storage.path.join("hub.db");
    Store::open(&path, options, scope)
        .await
        .with_context(|| format!("{}", path.display()))
}

/// Makes the data folder, for its owner only: it will hold keys.
///
/// # Errors
/// What the file system answers.
pub fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))
}

/// Brings the schema of the Postgres store up to date.
///
/// # Errors
/// One line that names the setting and says what is wrong.
pub async fn migrate_store(config: &Config) -> anyhow::Result<()> {
    downlink_store_postgres::migrate(postgres_options(config))
        .await
        .context("storage.postgres.url")?;
    Ok(())
}

fn postgres_options(config: &Config) -> PostgresOptions {
    let postgres = &config.storage.postgres;
    PostgresOptions {
        url: postgres.url.expose().to_owned(),
        max_connections: postgres.max_connections.get(),
        connect_timeout: postgres.connect_timeout.get(),
        acquire_timeout: postgres.acquire_timeout.get(),
        statement_timeout: postgres.statement_timeout.get(),
        query_timeout: config.storage.query_timeout.get(),
        max_query_connections: postgres.max_query_connections.get(),
        migrate: postgres.migrate,
        pooler: match postgres.pooler {
            sections::Pooler::None => Pooler::None,
            sections::Pooler::Transaction => Pooler::Transaction,
        },
        ..PostgresOptions::default()
    }
}
