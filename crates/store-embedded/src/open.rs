//! Opening and closing the file.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tracing::warn;

use crate::error::OpenError;
use crate::store::StoreOptions;

/// Statements kept prepared by each connection; above the number there are.
const STATEMENTS: usize = 256;
/// How long a read may wait for a connection.
const READER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for queries.
const QUERY_READERS: u32 = 2;

/// What an open store is made of.
pub(crate) struct Opened {
    /// Held as long as the file is.
    pub(crate) lock: File,
    pub(crate) connection: SqliteConnection,
    /// How to make another one.
    pub(crate) reconnect: SqliteConnectOptions,
    pub(crate) readers: SqlitePool,
    /// More of them, for queries alone.
    pub(crate) query_readers: SqlitePool,
    /// The highest number that may have been given away.
    pub(crate) last_number: u64,
}

pub(crate) async fn open(path: &Path, options: &StoreOptions) -> Result<Opened, OpenError> {
    let lock = lock(path)?;
    let database = |source| OpenError::Database {
        path: path.to_owned(),
        source,
    };
    let reconnect = writing(path);
    let mut connection = reconnect.connect().await.map_err(database)?;
    sqlx::migrate!("../../migrations/embedded")
        .run(&mut connection)
        .await
        .map_err(|source| OpenError::Schema {
            path: path.to_owned(),
            source,
        })?;
    let reserved: i64 = sqlx::query_scalar("SELECT reserved FROM counters WHERE name = 'sequence'")
        .fetch_one(&mut connection)
        .await
        .map_err(database)?;
    Ok(Opened {
        lock,
        connection,
        reconnect,
        readers: readers(path, options.max_readers.max(1)),
        query_readers: readers(path, QUERY_READERS),
        last_number: u64::try_from(reserved).unwrap_or(0),
    })
}

/// Connections that read, made when they are needed.
fn readers(path: &Path, most: u32) -> SqlitePool {
    SqlitePoolOptions::new()
        .min_connections(0)
        .max_connections(most)
        .acquire_timeout(READER_TIMEOUT)
        .test_before_acquire(false)
        .connect_lazy_with(reading(path))
}

/// Closes the last connection, which moves the log into the file.
pub(crate) async fn close(connection: Option<SqliteConnection>) {
    let Some(connection) = connection else {
        return;
    };
    if let Err(error) = connection.close().await {
        warn!(%error, "the store was not closed in order; its log is read at the next start");
    }
}

/// Takes the file `<path>.lock` for this process; the system lets go of it however we end.
fn lock(path: &Path) -> Result<File, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let failed = |source| OpenError::File {
        path: lock_path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn writing(path: &Path) -> SqliteConnectOptions {
    common(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // Answered means on disk: every commit syncs the log.
        .synchronous(SqliteSynchronous::Full)
        // 16 MiB of log between check-points, each of which syncs twice more.
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", "-8192")
        .row_buffer_size(1_024)
        .thread_name(|_| "store-writer".to_owned())
}

fn reading(path: &Path) -> SqliteConnectOptions {
    common(path)
        .read_only(true)
        .pragma("cache_size", "-1024")
        .row_buffer_size(256)
        .thread_name(|id| format!("store-reader-{id}"))
}

fn common(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}
