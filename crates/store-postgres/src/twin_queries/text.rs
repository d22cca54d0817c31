//! A statement made of fixed pieces and parameters.

use sqlx::postgres::{PgArguments, Postgres};
use sqlx::{Arguments, AssertSqlSafe, Encode, Type};

/// The text of a statement, made of pieces that stand in this program, and its parameters. What a
/// user wrote gets into the parameters alone: the text takes nothing but `&'static str`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    sql: String,
    arguments: PgArguments,
}

/// A parameter, to be named in the text any number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    number: usize,
    kind: &'static str,
}

/// A piece of a statement over the parameters of its [`Text`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Piece(String);

impl Text {
    /// A statement without text.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter; `kind` is its type's name in SQL.
    pub(crate) fn parameter<'v, T>(&mut self, value: T, kind: &'static str) -> Parameter
    where
        T: Encode<'v, Postgres> + Type<Postgres> + 'v,
    {
        self.arguments
            .add(value)
            .expect("texts, numbers and arrays of them can be encoded");
        Parameter {
            number: self.arguments.len(),
            kind,
        }
    }

    /// Makes `piece` the text of the statement.
    #[must_use]
    pub(crate) fn with(mut self, piece: Piece) -> Self {
        self.sql = piece.0;
        self
    }

    /// The text.
    #[cfg(test)]
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// The statement, to be run once; its shapes are too many to keep them prepared.
    pub(crate) fn query(self) -> sqlx::query::Query<'static, Postgres, PgArguments> {
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments).persistent(false)
    }
}

impl Piece {
    /// A piece that is there already.
    pub(crate) fn of(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    /// This piece and `text`.
    #[must_use]
    pub(crate) fn then(mut self, text: &'static str) -> Self {
        self.0.push_str(text);
        self
    }

    /// This piece and another one.
    #[must_use]
    pub(crate) fn and(mut self, piece: &Self) -> Self {
        self.0.push_str(&piece.0);
        self
    }

    /// This piece and the name of a parameter.
    #[must_use]
    pub(crate) fn name(mut self, parameter: Parameter) -> Self {
        use std::fmt::Write as _;
        let _ = write!(self.0, "${}::{}", parameter.number, parameter.kind);
        self
    }

    /// Pieces with `between` between them.
    pub(crate) fn joined(pieces: &[Self], between: &'static str) -> Self {
        let texts: Vec<_> = pieces.iter().map(|piece| piece.0.as_str()).collect();
        Self(texts.join(between))
    }
}
