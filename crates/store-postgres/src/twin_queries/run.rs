//! Statements of queries, on connections of their own.

use std::sync::Arc;

use downlink_ports::{StoreError, TwinQueryError};
use futures::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgPool};
use tokio::sync::Semaphore;

use super::text::Text;
use crate::error::{Failure, Verdict, verdict};
use crate::open;
use crate::options::{Pooler, PostgresOptions};
use crate::session::{Session, Terms};

/// Queries that may wait for each connection of theirs.
const WAITING_EACH: usize = 16;

/// The way of queries to the database: a few connections that devices do not wait for, and a time
/// of their own for their statements.
#[derive(Debug)]
pub(crate) struct Queries {
    pool: PgPool,
    /// Room for queries, those that have a connection and those that wait.
    room: Semaphore,
    begin: Arc<str>,
    terms: Terms,
}

impl Queries {
    /// A way that makes its connections when they are needed.
    pub(crate) fn new(options: &PostgresOptions) -> Result<Self, crate::OpenError> {
        let options = PostgresOptions {
            statement_timeout: options.query_timeout,
            max_connections: options.max_query_connections,
            ..options.clone()
        };
        let room = options.max_connections as usize * (1 + WAITING_EACH);
        Ok(Self {
            pool: open::pool(&options, options.max_connections)?,
            room: Semaphore::new(room),
            begin: open::begin(&options),
            terms: Terms::of(&options),
        })
    }

    /// The pool, for whoever closes it.
    pub(crate) fn pool(&self) -> PgPool {
        self.pool.clone()
    }

    /// Runs a statement that reads; `on_row` says whether it wants more rows. Once more if the
    /// connection was lost before the first row.
    pub(super) async fn each(
        &self,
        text: Text,
        on_row: &mut (dyn FnMut(&PgRow) -> Result<bool, StoreError> + Send),
    ) -> Result<(), TwinQueryError> {
        let _room = self
            .room
            .try_acquire()
            .map_err(|_| StoreError::Overloaded)?;
        let mut is_first = true;
        let mut watched = |row: &PgRow| {
            is_first = false;
            on_row(row)
        };
        let failure = match self.attempt(text.clone(), &mut watched).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let is_lost = matches!(&failure, Failure::Sql(error) if verdict(error) == Verdict::Lost);
        if !is_lost || !is_first {
            return Err(query_error(failure));
        }
        self.attempt(text, on_row).await.map_err(query_error)
    }

    async fn attempt(
        &self,
        text: Text,
        on_row: &mut (dyn FnMut(&PgRow) -> Result<bool, StoreError> + Send),
    ) -> Result<(), Failure> {
        let mut connection = self.pool.acquire().await?;
        if self.terms.pooler == Pooler::None {
            return read(Session::of(&mut connection, self.terms), text, on_row).await;
        }
        let begin = connection.begin_with(AssertSqlSafe(Arc::clone(&self.begin)));
        let mut open = self.terms.in_time(begin).await?;
        read(Session::of(&mut open, self.terms), text, on_row).await?;
        self.terms.in_time(open.commit()).await?;
        Ok(())
    }
}

async fn read(
    mut session: Session<'_>,
    text: Text,
    on_row: &mut (dyn FnMut(&PgRow) -> Result<bool, StoreError> + Send),
) -> Result<(), Failure> {
    let mut rows = text.query().fetch(&mut session);
    while let Some(row) = rows.try_next().await? {
        if !on_row(&row)? {
            break;
        }
    }
    Ok(())
}

/// The server says `query_canceled` of a statement that takes too long.
fn query_error(failure: Failure) -> TwinQueryError {
    match failure {
        Failure::Sql(sqlx::Error::Database(error)) if error.code().as_deref() == Some("57014") => {
            TwinQueryError::TooSlow
        }
        failure => TwinQueryError::Store(failure.into()),
    }
}
