//! Connecting.

use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, PgPool, Row};
use tracing::warn;

use crate::error::OpenError;
use crate::options::{Pooler, PostgresOptions};
use crate::schema;
use crate::session::overdue;

/// Statements kept prepared by each connection; above the number there are.
const STATEMENTS: usize = 256;
/// A connection that was idle longer is asked whether it still works before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// Oldest server, as `server_version_num` counts.
const OLDEST_SERVER: i32 = 150_000;

/// Opens the pool of a database that was checked.
pub(crate) async fn open(options: &PostgresOptions) -> Result<PgPool, OpenError> {
    let connect = connect_options(options)?;
    let mut connection = connect_once(options, &connect).await?;
    check_server(&mut connection, &connect).await?;
    if options.migrate {
        schema::bring_up_to_date(&mut connection, &connect).await?;
    } else {
        schema::check(&mut connection, &connect).await?;
    }
    // The connection has done its part; its successors are made under the pool's rules.
    let _ = connection.close().await;
    pool(options, options.max_connections)
}

/// A pool of connections that are made when they are needed.
pub(crate) fn pool(options: &PostgresOptions, max_connections: u32) -> Result<PgPool, OpenError> {
    let connect = connect_options(options)?;
    // Leaves time for another connection.
    let ping_timeout = options.acquire_timeout / 2;
    let release_timeout = options.connect_timeout;
    Ok(PgPoolOptions::new()
        .min_connections(0)
        .max_connections(max_connections)
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(Duration::from_mins(5))
        .max_lifetime(Duration::from_mins(30))
        // Asked only when it has been idle: a ping before each statement would double the round
        // trips.
        .test_before_acquire(false)
        .before_acquire(move |connection, about| {
            Box::pin(async move {
                if about.idle_for < TRUSTED_IDLE {
                    return Ok(true);
                }
                let ping = tokio::time::timeout(ping_timeout, connection.ping()).await;
                Ok(matches!(ping, Ok(Ok(()))))
            })
        })
        // A connection may come back with an answer outstanding, or from a server that is gone
        // without a word: it must not keep its place for ever.
        .after_release(move |connection, _| {
            Box::pin(async move {
                let ping = tokio::time::timeout(release_timeout, connection.ping()).await;
                ping.unwrap_or_else(|_| Err(overdue())).map(|()| true)
            })
        })
        .connect_lazy_with(connect))
}

/// How connections are made.
pub(crate) fn connect_options(options: &PostgresOptions) -> Result<PgConnectOptions, OpenError> {
    let violations = options.violations();
    if !violations.is_empty() {
        return Err(OpenError::Options { violations });
    }
    let connect = PgConnectOptions::from_str(&options.url).map_err(|_| OpenError::Url)?;
    let connect = connect
        .application_name(&options.application_name)
        .disable_statement_logging();
    Ok(match options.pooler {
        Pooler::None => connect
            .statement_cache_capacity(STATEMENTS)
            .options(options.settings()),
        // A pooler knows few startup parameters, and a statement prepared by name would stay on
        // whichever connection of the server it was prepared on.
        Pooler::Transaction => connect.statement_cache_capacity(0).extra_float_digits(None),
    })
}

/// A connection of its own.
pub(crate) async fn connect_once(
    options: &PostgresOptions,
    connect: &PgConnectOptions,
) -> Result<PgConnection, OpenError> {
    let failed = |source| OpenError::Connect {
        place: place(connect),
        source,
    };
    tokio::time::timeout(options.connect_timeout, connect.connect())
        .await
        .map_err(|_| failed(sqlx::Error::PoolTimedOut))?
        .map_err(failed)
}

/// What opens a transaction: where a pooler stands between, it brings the settings along.
pub(crate) fn begin(options: &PostgresOptions) -> Arc<str> {
    let mut begin = "BEGIN".to_owned();
    if options.pooler == Pooler::Transaction {
        for (name, value) in options.settings() {
            let _ = write!(begin, "; SET LOCAL {name} = '{value}'");
        }
    }
    begin.into()
}

/// Host and port, or the socket's folder.
pub(crate) fn place(connect: &PgConnectOptions) -> String {
    match connect.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", connect.get_host(), connect.get_port()),
    }
}

/// Refuses a server that would lose what it has acknowledged, as far as it says so.
async fn check_server(
    connection: &mut PgConnection,
    connect: &PgConnectOptions,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Connect {
        place: place(connect),
        source,
    };
    // A pooler keeps to one connection of the server for a transaction alone.
    let mut transaction = connection.begin().await.map_err(failed)?;
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::integer AS version,
            current_setting('server_encoding') AS encoding,
            current_setting('synchronous_commit') AS synchronous_commit,
            current_setting('fsync') AS fsync,
            current_setting('full_page_writes') AS full_page_writes,
            pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'
                AS is_read_only",
    )
    .persistent(false)
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.rollback().await.map_err(failed)?;
    let version: i32 = row.try_get("version").map_err(failed)?;
    let text = |column| row.try_get::<String, _>(column).map_err(failed);
    let mut faults = Vec::new();
    if version < OLDEST_SERVER {
        faults.push("it is older than Postgres 15; upgrade it".to_owned());
    }
    let encoding = text("encoding")?;
    if encoding != "UTF8" {
        faults.push(format!(
            "its encoding is {encoding}; create a database with ENCODING 'UTF8'"
        ));
    }
    if row.try_get("is_read_only").map_err(failed)? {
        faults.push("it is read-only; name the primary".to_owned());
    }
    if text("synchronous_commit")? == "off" {
        faults.push(
            "synchronous_commit is off, which loses acknowledged messages; \
             ALTER ROLE … SET synchronous_commit = on"
                .to_owned(),
        );
    }
    for setting in ["fsync", "full_page_writes"] {
        if text(setting)? == "off" {
            warn!(
                setting,
                "the database may lose acknowledged messages when its machine stops"
            );
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(OpenError::Unsuitable {
        place: place(connect),
        fault: faults.join("; "),
    })
}
