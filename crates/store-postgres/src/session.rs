//! A connection as work sees it.

use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Execute, Executor, Postgres, SqlStr};
use tokio::time::{Instant, timeout, timeout_at};

use crate::options::{Pooler, PostgresOptions};

/// What every session of a store goes by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) pooler: Pooler,
    /// Longest wait for the answer to a statement. The server ends one that takes too long; this is
    /// for a server that is gone without a word, which a connection alone would never notice.
    patience: Duration,
}

impl Terms {
    pub(crate) fn of(options: &PostgresOptions) -> Self {
        Self {
            pooler: options.pooler,
            patience: options.statement_timeout + options.connect_timeout,
        }
    }

    /// What comes of `answer`, if the server gives one.
    pub(crate) async fn in_time<T>(
        self,
        answer: impl Future<Output = sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let answered = timeout(self.patience, answer).await;
        answered.unwrap_or_else(|_| Err(overdue()))
    }
}

/// The error of an answer that did not come; [`crate::error::verdict`] knows it by its kind.
pub(crate) fn overdue() -> sqlx::Error {
    let text = "the server does not answer";
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, text))
}

/// A connection on which statements stay prepared only where that is safe.
///
/// A statement prepared by name belongs to a connection of the server. Behind a pooler that is
/// another one after each transaction, and the name is taken there by somebody else; so every
/// statement goes unnamed then, whatever the text that asks for it says.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    connection: &'c mut PgConnection,
    terms: Terms,
}

impl<'c> Session<'c> {
    /// A session on `connection`.
    pub(crate) fn of(connection: &'c mut PgConnection, terms: Terms) -> Self {
        Self { connection, terms }
    }

    fn stays_prepared(&self) -> bool {
        self.terms.pooler == Pooler::None
    }
}

impl<'c> Executor<'c> for &'c mut Session<'_> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let stays_prepared = self.stays_prepared() && query.persistent();
        let deadline = Instant::now() + self.terms.patience;
        let answer = self.connection.fetch_many(Statement {
            query,
            stays_prepared,
        });
        by(deadline, answer)
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let stays_prepared = self.stays_prepared() && query.persistent();
        let terms = self.terms;
        let answer = self.connection.fetch_optional(Statement {
            query,
            stays_prepared,
        });
        Box::pin(terms.in_time(answer))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.connection.prepare_with(sql, parameters)
    }

    fn describe<'e>(
        self,
        sql: SqlStr,
    ) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.connection.describe(sql)
    }
}

/// What comes of `answer` until `deadline`.
fn by<'e, T: Send + 'e>(
    deadline: Instant,
    answer: BoxStream<'e, sqlx::Result<T>>,
) -> BoxStream<'e, sqlx::Result<T>> {
    let items = stream::unfold(Some(answer), move |answer| async move {
        let mut answer = answer?;
        match timeout_at(deadline, answer.next()).await {
            Ok(item) => Some((item?, Some(answer))),
            Err(_) => Some((Err(overdue()), None)),
        }
    });
    items.boxed()
}

/// A statement with the session's word on whether it stays prepared.
struct Statement<E> {
    query: E,
    stays_prepared: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Statement<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.stays_prepared
    }
}
