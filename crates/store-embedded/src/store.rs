//! The store as its users hold it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use downlink_ports::StoreError;
use downlink_runtime::{Lifecycle, OnError};
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqlitePool};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{OpenError, store_error};
use crate::open::{self, Opened};
use crate::relay::Relay;
use crate::writer::{Queue, Writer};

/// How a [`Store`] uses memory and groups its writes.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Most write calls in one transaction.
    pub max_group_jobs: usize,
    /// Most items (messages, settlements, events …) in one transaction; a call with more has one
    /// to itself.
    pub max_group_items: usize,
    /// Write calls that may wait; more are refused with [`StoreError::Overloaded`].
    pub max_queued_jobs: usize,
    /// Bytes that waiting write calls may hold; more are refused with [`StoreError::Overloaded`].
    pub max_queued_bytes: usize,
    /// Connections for reads, made when they are needed.
    pub max_readers: u32,
    /// Longest time that looking for twins by what is in them may take.
    pub query_timeout: Duration,
}

impl Default for StoreOptions {
    /// Groups of at most 1,024 calls or 4,096 items; 8,192 calls or 64 MiB waiting; 2 readers;
    /// 10 s for a query.
    fn default() -> Self {
        Self {
            max_group_jobs: 1_024,
            max_group_items: 4_096,
            max_queued_jobs: 8_192,
            max_queued_bytes: 64 * 1024 * 1024,
            max_readers: 2,
            query_timeout: Duration::from_secs(10),
        }
    }
}

/// All store ports on one file.
///
/// Answers of writes are given after their commit reached the disk. A call whose future is dropped
/// is made all the same.
#[derive(Debug)]
pub struct Store {
    pub(crate) queue: Queue,
    pub(crate) relay: Relay,
    readers: SqlitePool,
    /// For queries, so that nothing else waits for them.
    query_readers: SqlitePool,
    query_timeout: Duration,
    closing: CancellationToken,
    closed: CancellationToken,
}

impl Store {
    /// Opens the file, makes it when it is not there, and brings its schema up to date.
    ///
    /// The writer runs in `scope` and ends when the scope drains, after everything that waits is
    /// written; give the store a scope made before those of its users.
    ///
    /// # Errors
    /// [`OpenError`]: the file is in use by another process, or cannot be read or written.
    pub async fn open(
        path: &Path,
        options: StoreOptions,
        scope: &Lifecycle,
    ) -> Result<Arc<Self>, OpenError> {
        let Opened {
            lock,
            connection,
            reconnect,
            readers,
            query_readers,
            last_number,
        } = open::open(path, &options).await?;
        let closing = CancellationToken::new();
        let closed = CancellationToken::new();
        let (queue, waiting) = Queue::new(&options);
        let writer = Writer::new((connection, reconnect), last_number, waiting, &options);
        let (ends, end_of_scope) = (closing.clone(), scope.drain_token());
        let pools = [readers.clone(), query_readers.clone()];
        let done = closed.clone().drop_guard();
        scope.spawn("store-writer", OnError::Shutdown, async move {
            let stop = async {
                tokio::select! {
                    () = ends.cancelled() => {}
                    () = end_of_scope.cancelled() => {}
                }
            };
            let connection = writer.run(stop).await;
            for pool in pools {
                pool.close().await;
            }
            open::close(connection).await;
            // The next opener may come only now.
            drop(lock);
            drop(done);
        });
        Ok(Arc::new(Self {
            queue,
            relay: Relay::default(),
            readers,
            query_readers,
            query_timeout: options.query_timeout,
            closing,
            closed,
        }))
    }

    /// Writes what waits, takes no more, and lets go of the file; returns when that is done.
    pub async fn close(&self) {
        self.closing.cancel();
        self.closed.cancelled().await;
    }

    /// A connection that reads.
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.readers.acquire().await.map_err(store_error)
    }

    /// A connection that reads for a query.
    pub(crate) async fn query_reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.query_readers.acquire().await.map_err(store_error)
    }

    /// When a query that begins now has taken too long.
    pub(crate) fn query_deadline(&self) -> Instant {
        Instant::now() + self.query_timeout
    }
}
