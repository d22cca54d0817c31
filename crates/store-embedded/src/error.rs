//! Errors of the driver as errors of the ports.

use std::io;
use std::path::PathBuf;

use downlink_ports::StoreError;
use thiserror::Error;

/// Why the store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another process works on the file.
    #[error("{} is in use by another process; stop it, or choose another data folder", path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The folder or the lock file cannot be made or read.
    #[error("cannot open {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no store, or is damaged.
    #[error("{} cannot be read as a store", path.display())]
    Database {
        /// The store's file.
        path: PathBuf,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// Its schema cannot be brought to this version, or is of a later one.
    #[error("the schema of {} cannot be brought up to date", path.display())]
    Schema {
        /// The store's file.
        path: PathBuf,
        /// What the migration says.
        source: sqlx::migrate::MigrateError,
    },
}

/// Turns what the driver says into what the ports say; the one place that does.
///
/// Every statement of this store may be made again, so nothing but `Unavailable` is needed: rows
/// that cannot be decoded are found by [`crate::fields::Fields`], not by the driver.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` takes"
)]
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
