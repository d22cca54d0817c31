//! The schema: brought up to date, or compared with what this version needs.

use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use crate::error::{OpenError, SchemaFault};
use crate::open::{connect_once, connect_options, place};
use crate::options::PostgresOptions;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The advisory lock that one who migrates holds: "downlink" in bytes.
const LOCK: i64 = i64::from_be_bytes(*b"downlink");

/// Brings the schema of the database up to date; several callers take turns.
///
/// # Errors
/// [`OpenError`]: no connection, or a schema of a later version, or a migration that failed, which
/// leaves the schema as it was.
pub async fn migrate(options: PostgresOptions) -> Result<(), OpenError> {
    let connect = connect_options(&options)?;
    let mut connection = connect_once(&options, &connect).await?;
    bring_up_to_date(&mut connection, &connect).await?;
    let _ = connection.close().await;
    Ok(())
}

/// Applies what is missing, all of it or nothing.
pub(crate) async fn bring_up_to_date(
    connection: &mut PgConnection,
    connect: &PgConnectOptions,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Migrate {
        place: place(connect),
        source,
    };
    let sql = |error: sqlx::Error| failed(error.into());
    let mut transaction = connection.begin().await.map_err(sql)?;
    // Bound to the transaction, so that it holds behind a pooler too. Whoever waits here waits for
    // migrations, not for a statement.
    // The migrator prepares statements by name, which must neither be there nor stay there.
    sqlx::raw_sql("DEALLOCATE ALL; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        .execute(&mut *transaction)
        .await
        .map_err(sql)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .persistent(false)
        .bind(LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(sql)?;
    // What is there may be of a later version, which only a look at it tells.
    match compare(&mut transaction).await.map_err(sql)? {
        Ok(()) => return Ok(()),
        Err(SchemaFault::Older { .. }) => {}
        Err(fault) => return Err(OpenError::Schema(fault)),
    }
    let mut migrator = Migrator::DEFAULT;
    migrator.migrations.clone_from(&MIGRATIONS.migrations);
    migrator.locking = false;
    migrator
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(failed)?;
    sqlx::raw_sql("DEALLOCATE ALL")
        .execute(&mut *transaction)
        .await
        .map_err(sql)?;
    transaction.commit().await.map_err(sql)
}

/// Refuses a schema that is not this version's.
pub(crate) async fn check(
    connection: &mut PgConnection,
    connect: &PgConnectOptions,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Connect {
        place: place(connect),
        source,
    };
    // A pooler keeps to one connection of the server for a transaction alone.
    let mut transaction = connection.begin().await.map_err(failed)?;
    let compared = compare(&mut transaction).await.map_err(failed)?;
    compared.map_err(OpenError::Schema)
}

/// Compares the migrations that are there with those of this version.
async fn compare(connection: &mut PgConnection) -> sqlx::Result<Result<(), SchemaFault>> {
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .persistent(false)
        .fetch_one(&mut *connection)
        .await?;
    let applied: Vec<(i64, bool, Vec<u8>)> = if is_there {
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .persistent(false)
            .fetch_all(&mut *connection)
            .await?
    } else {
        Vec::new()
    };
    Ok(judge(&applied))
}

fn judge(applied: &[(i64, bool, Vec<u8>)]) -> Result<(), SchemaFault> {
    let needed = MIGRATIONS.iter().map(|own| own.version).max().unwrap_or(0);
    for (version, success, checksum) in applied {
        let own = MIGRATIONS.iter().find(|own| own.version == *version);
        let Some(own) = own else {
            return Err(SchemaFault::Newer {
                found: *version,
                known: needed,
            });
        };
        if !success {
            return Err(SchemaFault::Unfinished { version: *version });
        }
        if *own.checksum != checksum[..] {
            return Err(SchemaFault::Different { version: *version });
        }
    }
    if applied.len() < MIGRATIONS.iter().count() {
        return Err(SchemaFault::Older {
            found: applied.last().map(|(version, _, _)| *version),
            needed,
        });
    }
    Ok(())
}
