//! Rows as values, or as the error that names what cannot be read.

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::id::LockToken;
use downlink_ports::StoreError;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::{Column, Decode, Postgres, Row, Type, TypeInfo};

/// The columns of one row of `table`.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'r> {
    row: &'r PgRow,
    table: &'static str,
    key: &'static str,
}

impl<'r> Fields<'r> {
    /// Wraps a row that the column `key`, a number, tells from others.
    pub(crate) fn new(row: &'r PgRow, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    /// The error that names `column` of this row.
    pub(crate) fn corrupt(&self, column: &'static str) -> StoreError {
        StoreError::Corrupt {
            table: self.table,
            column,
            row: self
                .integer(self.key)
                .map_or_else(|| "?".to_owned(), |key| key.to_string()),
        }
    }

    /// Reads a value as the driver gives it.
    pub(crate) fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: Decode<'r, Postgres> + Type<Postgres>,
    {
        self.row.try_get(column).map_err(|_| self.corrupt(column))
    }

    /// Reads a value and takes it through `parse`, which may find it wrong.
    pub(crate) fn parse<S, T>(
        &self,
        column: &'static str,
        parse: impl FnOnce(S) -> Option<T>,
    ) -> Result<T, StoreError>
    where
        S: Decode<'r, Postgres> + Type<Postgres>,
    {
        parse(self.get(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// Reads text of the form of `T`.
    pub(crate) fn text<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.parse(column, |text: &str| text.parse().ok())
    }

    /// Reads a number, whichever size it is stored in.
    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.integer(column)
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.corrupt(column))
    }

    /// Reads an instant.
    pub(crate) fn instant(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.get(column).map(Timestamp::from_millis)
    }

    /// Reads an instant that need not be there.
    pub(crate) fn optional_instant(
        &self,
        column: &'static str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let millis: Option<i64> = self.get(column)?;
        Ok(millis.map(Timestamp::from_millis))
    }

    /// Reads bytes.
    pub(crate) fn bytes(&self, column: &'static str) -> Result<Bytes, StoreError> {
        self.get(column).map(Bytes::copy_from_slice)
    }

    /// Reads a token, 16 bytes.
    pub(crate) fn token(&self, column: &'static str) -> Result<Option<LockToken>, StoreError> {
        self.parse(column, |bytes: Option<&[u8]>| match bytes {
            None => Some(None),
            Some(bytes) => bytes.try_into().ok().map(LockToken).map(Some),
        })
    }

    /// Reads a JSON document, stored as text.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        self.parse(column, |text: &str| serde_json::from_str(text).ok())
    }

    fn integer(&self, column: &'static str) -> Option<i64> {
        let kind = self.row.try_column(column).ok()?.type_info().name();
        match kind {
            "INT2" => self.row.try_get::<i16, _>(column).ok().map(i64::from),
            "INT4" => self.row.try_get::<i32, _>(column).ok().map(i64::from),
            _ => self.row.try_get(column).ok(),
        }
    }
}

/// A number as it is stored; what is beyond 63 bits does not occur and saturates.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
