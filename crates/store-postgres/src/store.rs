//! The store as its users hold it.

use std::sync::Arc;

use downlink_ports::StoreError;
use downlink_runtime::{Lifecycle, OnError};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{OpenError, store_error};
use crate::message_store::Depths;
use crate::open;
use crate::options::PostgresOptions;
use crate::relay::{self, Relay};
use crate::session::Terms;
use crate::twin_queries::Queries;

/// All store ports on one Postgres database, which any number of processes share.
///
/// Answers of writes are given after their commit. A call whose future is dropped may or may not
/// be made.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    /// Room for calls, those that have a connection and those that wait.
    room: Arc<Semaphore>,
    /// What opens a transaction.
    begin: Arc<str>,
    pub(crate) terms: Terms,
    /// The way out for events, with connections of its own.
    pub(crate) relay: Relay,
    /// What is remembered of deep queues.
    pub(crate) depths: Depths,
    /// The way of queries, with connections of its own.
    pub(crate) queries: Queries,
}

impl PostgresStore {
    /// Connects, checks that the server keeps what it is given, and brings the schema up to date
    /// or refuses another one, as the options say.
    ///
    /// Connections are closed when the scope drains; give the store a scope made before those of
    /// its users.
    ///
    /// # Errors
    /// [`OpenError`], one line that names the fault and its cure.
    pub async fn open(options: PostgresOptions, scope: &Lifecycle) -> Result<Arc<Self>, OpenError> {
        let pool = open::open(&options).await?;
        let relay_pool = open::pool(&options, relay::CONNECTIONS)?;
        let queries = Queries::new(&options)?;
        let closing = [relay_pool.clone(), queries.pool(), pool.clone()];
        let end_of_scope = scope.drain_token();
        scope.spawn("postgres-pool", OnError::Log, async move {
            end_of_scope.cancelled().await;
            futures::future::join_all(closing.each_ref().map(PgPool::close)).await;
        });
        let begin = open::begin(&options);
        let room = options.max_connections as usize + options.max_waiting as usize;
        Ok(Arc::new(Self {
            pool,
            room: Arc::new(Semaphore::new(room)),
            relay: Relay::new(relay_pool, Arc::clone(&begin), &options),
            begin,
            terms: Terms::of(&options),
            depths: Depths::default(),
            queries,
        }))
    }

    /// Asks the database for an answer.
    ///
    /// # Errors
    /// [`StoreError`]: there was none.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let mut lease = self.acquire().await?;
        let ping = lease.connection().ping();
        self.terms.in_time(ping).await.map_err(store_error)
    }

    /// A connection, once there is one.
    pub(crate) async fn acquire(&self) -> Result<Lease, StoreError> {
        let permit = Arc::clone(&self.room).try_acquire_owned();
        let permit = permit.map_err(|_| StoreError::Overloaded)?;
        let connection = self.pool.acquire().await.map_err(store_error)?;
        Ok(Lease {
            connection,
            begin: Arc::clone(&self.begin),
            _permit: permit,
        })
    }
}

/// A connection of the pool, given back when it is dropped.
pub(crate) struct Lease {
    connection: PoolConnection<Postgres>,
    begin: Arc<str>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The connection, outside of a transaction.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Opens a transaction under the settings of the options.
    pub(crate) async fn begin(&mut self) -> sqlx::Result<Transaction<'_, Postgres>> {
        self.connection.begin_with(sql(&self.begin)).await
    }
}

/// The text of [`open::begin`], which is made of names of ours and of numbers.
fn sql(begin: &Arc<str>) -> AssertSqlSafe<Arc<str>> {
    AssertSqlSafe(Arc::clone(begin))
}
