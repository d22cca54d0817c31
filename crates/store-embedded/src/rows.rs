//! One statement for many rows of parameters.
//!
//! SQLite takes no arrays. A statement here holds one row of placeholders after the marker
//! `/*rows*/`; it is prepared with that row repeated 1, 2, 4 … 256 times, whichever holds the rows
//! at hand. Rows that are left over stay NULL, which no key equals. So a batch is one call to
//! SQLite for each 256 rows, and the text of the statement is one of nine that stay prepared.
//! Nothing but the placeholders is repeated, so no value can get into the text.

use std::sync::OnceLock;

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection};

/// What comes before the row of placeholders.
const MARKER: &str = "/*rows*/";
/// Most rows in one call; a power of two.
const MOST_ROWS: usize = 256;
/// How many sizes there are up to it.
const SIZES: usize = MOST_ROWS.trailing_zeros() as usize + 1;

/// A statement to which values are bound.
pub(crate) type Bound = Query<'static, Sqlite, SqliteArguments>;

/// A statement over rows of parameters.
pub(crate) struct RowsStatement {
    sql: &'static str,
    by_size: [OnceLock<std::sync::Arc<str>>; SIZES],
}

impl RowsStatement {
    /// Makes a statement of a text that holds the marker once.
    pub(crate) const fn new(sql: &'static str) -> Self {
        Self {
            sql,
            by_size: [const { OnceLock::new() }; SIZES],
        }
    }

    /// The text for at least `rows` rows.
    fn text(&self, rows: usize) -> AssertSqlSafe<std::sync::Arc<str>> {
        let rows = rows.clamp(1, MOST_ROWS).next_power_of_two();
        let size = rows.trailing_zeros() as usize;
        let text = self.by_size[size].get_or_init(|| repeat(self.sql, rows).into());
        AssertSqlSafe(std::sync::Arc::clone(text))
    }

    /// Every text there is.
    #[cfg(test)]
    pub(crate) fn texts(&self) -> Vec<String> {
        let sizes = (0..SIZES).map(|size| repeat(self.sql, 1 << size));
        sizes.collect()
    }

    /// Runs the statement over `rows`, each bound by `bind`; returns how many rows it changed.
    pub(crate) async fn execute<T: Send>(
        &self,
        connection: &mut SqliteConnection,
        rows: Vec<T>,
        bind: impl Fn(Bound, T) -> Bound + Send,
    ) -> sqlx::Result<u64> {
        let mut rows = rows.into_iter();
        let mut changed = 0;
        while rows.len() > 0 {
            let query = self.bind(None, &mut rows, &bind);
            changed += query.execute(&mut *connection).await?.rows_affected();
        }
        Ok(changed)
    }

    /// Runs the statement over `rows`, each bound by `bind`, and returns what it yields; `head` is
    /// the value of the one placeholder before the rows, if there is one.
    pub(crate) async fn fetch<T: Send>(
        &self,
        connection: &mut SqliteConnection,
        head: Option<i64>,
        rows: Vec<T>,
        bind: impl Fn(Bound, T) -> Bound + Send,
    ) -> sqlx::Result<Vec<SqliteRow>> {
        let mut rows = rows.into_iter();
        let mut yielded = Vec::new();
        while rows.len() > 0 {
            let query = self.bind(head, &mut rows, &bind);
            yielded.extend(query.fetch_all(&mut *connection).await?);
        }
        Ok(yielded)
    }

    fn bind<T>(
        &self,
        head: Option<i64>,
        rows: &mut std::vec::IntoIter<T>,
        bind: impl Fn(Bound, T) -> Bound,
    ) -> Bound {
        let mut query = sqlx::query(self.text(rows.len()));
        if let Some(head) = head {
            query = query.bind(head);
        }
        rows.take(MOST_ROWS).fold(query, bind)
    }
}

/// Repeats the row of placeholders that follows the marker.
fn repeat(sql: &str, rows: usize) -> String {
    let (head, rest) = sql.split_once(MARKER).expect("every file has the marker");
    let (row, tail) = rest
        .split_once(')')
        .expect("the row of placeholders is closed");
    let row = format!("{})", row.trim_start());
    let rows = vec![row.as_str(); rows].join(", ");
    format!("{head}{rows}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_repeats_its_row_up_to_the_next_power_of_two() {
        let statement = RowsStatement::new("VALUES /*rows*/ (?, ?) AS t");
        assert_eq!(&*statement.text(0).0, "VALUES (?, ?) AS t");
        assert_eq!(
            &*statement.text(3).0,
            "VALUES (?, ?), (?, ?), (?, ?), (?, ?) AS t"
        );
        assert_eq!(statement.text(10_000).0.matches('?').count(), 512);
    }
}
