//! Errors of the driver as errors of the ports.

use std::io::ErrorKind;

use downlink_ports::StoreError;
use thiserror::Error;

/// Why the store could not be opened. None of the texts holds the URL or a password.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Options outside their rules.
    #[error("{}", violations.join("; "))]
    Options {
        /// What is wrong, each with the name of its field.
        violations: Vec<String>,
    },
    /// The URL has not the form of one.
    #[error("url: is no postgres://user:password@host:port/database")]
    Url,
    /// No connection within the time there is.
    #[error(
        "cannot connect to the database at {place}; is it running, and are user and password right?"
    )]
    Connect {
        /// Host and port.
        place: String,
        /// What the driver says.
        source: sqlx::Error,
    },
    /// The server is not one that keeps the promises of the store.
    #[error("the database at {place} cannot be used: {fault}")]
    Unsuitable {
        /// Host and port.
        place: String,
        /// What is wrong, and what to do.
        fault: String,
    },
    /// The schema is another one than this version's.
    #[error("{0}")]
    Schema(SchemaFault),
    /// The schema could not be brought up to date.
    #[error("the schema of the database at {place} cannot be brought up to date")]
    Migrate {
        /// Host and port.
        place: String,
        /// What the migration says.
        source: sqlx::migrate::MigrateError,
    },
}

/// How a schema differs from the one that this version works on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SchemaFault {
    /// Migrations of this version are not there.
    #[error("the schema is {}, this version needs {needed}; run `downlink migrate`", name(*.found))]
    Older {
        /// The newest migration there is.
        found: Option<i64>,
        /// The newest of this version.
        needed: i64,
    },
    /// There are migrations that this version does not know.
    #[error(
        "the schema is {found}, of a later version; this version knows {known}: run the later one"
    )]
    Newer {
        /// A migration that is unknown.
        found: i64,
        /// The newest of this version.
        known: i64,
    },
    /// A migration is there that is not what this version made of it.
    #[error(
        "migration {version} of the schema is not the one of this version; restore it from a backup, or use the version that made it"
    )]
    Different {
        /// Which.
        version: i64,
    },
    /// A migration was begun and not finished.
    #[error("migration {version} of the schema was not finished; run `downlink migrate`")]
    Unfinished {
        /// Which.
        version: i64,
    },
}

fn name(version: Option<i64>) -> String {
    version.map_or_else(|| "not there".to_owned(), |version| version.to_string())
}

/// What stopped a piece of work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The driver or the server.
    Sql(sqlx::Error),
    /// What was read cannot be used, or there is no room for more work.
    Store(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => store_error(error),
            Failure::Store(error) => error,
        }
    }
}

/// Turns what the driver says into what the ports say; the one place that does.
///
/// Rows that cannot be decoded are found by [`crate::fields::Fields`], not by the driver; whatever
/// else the driver meets, the same call may be made again.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` takes"
)]
pub(crate) fn store_error(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// What an error of a statement says about its effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server undid everything because of others; the same work may succeed now.
    RolledBack,
    /// The connection is gone. What was committed before is committed, an open transaction is not,
    /// and of a statement that was its own transaction nobody knows.
    Lost,
    /// The server refused or gave up, undid everything, and would do so again.
    Refused,
    /// The server gave no answer as long as one may take. Nobody knows, and the caller has waited.
    Overdue,
}

/// Reads an error.
pub(crate) fn verdict(error: &sqlx::Error) -> Verdict {
    match error {
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // Serialization failure, deadlock.
            Some("40001" | "40P01") => Verdict::RolledBack,
            // Shut down by an administrator or a crash, starting up, connection exceptions, a
            // transaction that was idle too long.
            Some("57P01" | "57P02" | "57P03" | "57P05" | "25P03") => Verdict::Lost,
            Some(code) if code.starts_with("08") => Verdict::Lost,
            _ => Verdict::Refused,
        },
        sqlx::Error::Io(error) if error.kind() == ErrorKind::TimedOut => Verdict::Overdue,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => Verdict::Lost,
        _ => Verdict::Refused,
    }
}
