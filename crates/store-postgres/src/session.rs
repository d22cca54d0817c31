//! A connection as work sees it.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Either, Execute, Executor, Postgres, SqlStr};

use crate::options::Pooler;

/// A connection on which statements stay prepared only where that is safe.
///
/// A statement prepared by name belongs to a connection of the server. Behind a pooler that is
/// another one after each transaction, and the name is taken there by somebody else; so every
/// statement goes unnamed then, whatever the text that asks for it says.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    connection: &'c mut PgConnection,
    stays_prepared: bool,
}

impl<'c> Session<'c> {
    /// A session on `connection`, which comes through `pooler`.
    pub(crate) fn of(connection: &'c mut PgConnection, pooler: Pooler) -> Self {
        Self {
            connection,
            stays_prepared: pooler == Pooler::None,
        }
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
        let stays_prepared = self.stays_prepared && query.persistent();
        self.connection.fetch_many(Statement {
            query,
            stays_prepared,
        })
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let stays_prepared = self.stays_prepared && query.persistent();
        self.connection.fetch_optional(Statement {
            query,
            stays_prepared,
        })
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
