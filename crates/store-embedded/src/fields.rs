//! Rows as values, or as the error that names what cannot be read.

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::id::LockToken;
use downlink_ports::StoreError;
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

/// The columns of one row of `table`.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'r> {
    row: &'r SqliteRow,
    table: &'static str,
    key: &'static str,
}

impl<'r> Fields<'r> {
    /// Wraps a row that the column `key`, an integer, tells from others.
    pub(crate) fn new(row: &'r SqliteRow, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    /// The error that names `column` of this row.
    pub(crate) fn corrupt(&self, column: &'static str) -> StoreError {
        let key = self.row.try_get::<i64, _>(self.key);
        StoreError::Corrupt {
            table: self.table,
            column,
            row: key.map_or_else(|_| "?".to_owned(), |key| key.to_string()),
        }
    }

    /// Reads a value as the driver gives it.
    pub(crate) fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite>,
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
        S: Decode<'r, Sqlite> + Type<Sqlite>,
    {
        parse(self.get(column)?).ok_or_else(|| self.corrupt(column))
    }

    /// Reads text of the form of `T`.
    pub(crate) fn text<T: std::str::FromStr>(&self, column: &'static str) -> Result<T, StoreError> {
        self.parse(column, |text: &str| text.parse().ok())
    }

    /// Reads a number that is stored as a signed 64-bit one.
    pub(crate) fn number<T: TryFrom<i64>>(&self, column: &'static str) -> Result<T, StoreError> {
        self.parse(column, |number: i64| T::try_from(number).ok())
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

    /// Reads a JSON document.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        self.parse(column, |text: &str| serde_json::from_str(text).ok())
    }
}

/// A number as it is stored; what is beyond 63 bits does not occur and saturates.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
