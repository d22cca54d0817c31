//! How the database is reached.

use std::fmt;
use std::time::Duration;

/// What stands between this process and Postgres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooler {
    /// Nothing that changes what a connection is. Settings go with the start of the connection,
    /// statements stay prepared, and most calls are one round trip.
    #[default]
    None,
    /// A pooler that gives a connection of the server to each transaction, such as `PgBouncer` with
    /// `pool_mode = transaction`. Every call is a transaction that brings its settings along and
    /// leaves no prepared statement behind: four round trips instead of one.
    Transaction,
}

/// How a [`PostgresStore`](crate::PostgresStore) reaches its database.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database`. A secret: neither `Debug` nor an error shows
    /// it.
    pub url: String,
    /// Most connections of this process, 1-1,000.
    pub max_connections: u32,
    /// Most calls that may wait for a connection, 1-1,000,000; more are refused with
    /// [`StoreError::Overloaded`](downlink_ports::StoreError::Overloaded).
    pub max_waiting: u32,
    /// Longest time to connect, 10 ms-10 min.
    pub connect_timeout: Duration,
    /// Longest time to wait for a connection, 10 ms-10 min.
    pub acquire_timeout: Duration,
    /// Longest time of a statement, 10 ms-10 min; the server ends it then. A statement waits for
    /// the lock of a row half of that time at most.
    pub statement_timeout: Duration,
    /// Longest time of a statement that looks for twins by what is in them, 10 ms-10 min.
    pub query_timeout: Duration,
    /// Most connections of this process for such statements, 1-1,000, beside `max_connections`;
    /// sixteen queries wait for each, more are refused.
    pub max_query_connections: u32,
    /// Whether to bring the schema up to date at open. Otherwise one that is not is refused.
    pub migrate: bool,
    /// What stands between.
    pub pooler: Pooler,
    /// What the server shows of this process in `pg_stat_activity`, 1-63 printable characters.
    pub application_name: String,
}

impl Default for PostgresOptions {
    /// No URL; 16 connections and 4,096 waiting calls, 5 s to connect and for a connection, 10 s
    /// for a statement or a query, 4 connections for queries; the schema is not touched; no pooler;
    /// `downlink`.
    fn default() -> Self {
        Self {
            url: String::new(),
            max_connections: 16,
            max_waiting: 4_096,
            connect_timeout: Duration::from_secs(5),
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            query_timeout: Duration::from_secs(10),
            max_query_connections: 4,
            migrate: false,
            pooler: Pooler::None,
            application_name: "downlink".to_owned(),
        }
    }
}

impl PostgresOptions {
    /// What is wrong with the options, each with the name of its field.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut violations = Vec::new();
        if self.url.is_empty() {
            violations.push("url: is missing".to_owned());
        }
        for (name, number, most) in [
            ("max_connections", self.max_connections, 1_000),
            ("max_query_connections", self.max_query_connections, 1_000),
            ("max_waiting", self.max_waiting, 1_000_000),
        ] {
            if !(1..=most).contains(&number) {
                violations.push(format!("{name}: must be within 1 and {most}, is {number}"));
            }
        }
        for (name, time) in [
            ("connect_timeout", self.connect_timeout),
            ("acquire_timeout", self.acquire_timeout),
            ("statement_timeout", self.statement_timeout),
            ("query_timeout", self.query_timeout),
        ] {
            if !(Duration::from_millis(10)..=Duration::from_mins(10)).contains(&time) {
                violations.push(format!(
                    "{name}: must be within 10 ms and 10 min, is {time:?}"
                ));
            }
        }
        let name = &self.application_name;
        if !(1..=63).contains(&name.len())
            || !name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        {
            violations.push("application_name: must be 1 to 63 printable characters".to_owned());
        }
        violations
    }

    /// The settings that every statement runs under: as startup options of a connection, or set
    /// anew in each transaction.
    ///
    /// The planner's choices are taken away because the tables churn: a statement made for an
    /// index must not become a scan when the statistics are those of a quieter hour. A generic
    /// plan is made once and kept.
    pub(crate) fn settings(&self) -> [(&'static str, String); 11] {
        let off = || "off".to_owned();
        let millis = |time: Duration| format!("{}ms", time.as_millis());
        [
            ("enable_seqscan", off()),
            ("enable_bitmapscan", off()),
            ("enable_hashjoin", off()),
            ("enable_mergejoin", off()),
            ("enable_memoize", off()),
            ("jit", off()),
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("statement_timeout", millis(self.statement_timeout)),
            ("lock_timeout", millis(self.statement_timeout / 2)),
            (
                "idle_in_transaction_session_timeout",
                millis(self.statement_timeout * 3),
            ),
        ]
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("url", &"***")
            .field("max_connections", &self.max_connections)
            .field("max_waiting", &self.max_waiting)
            .field("connect_timeout", &self.connect_timeout)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("query_timeout", &self.query_timeout)
            .field("max_query_connections", &self.max_query_connections)
            .field("migrate", &self.migrate)
            .field("pooler", &self.pooler)
            .field("application_name", &self.application_name)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_do_not_show_the_url() {
        let options = PostgresOptions {
            url: "postgres://downlink:hunter2@localhost/downlink".to_owned(),
            ..PostgresOptions::default()
        };
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(options.violations(), Vec::<String>::new());
    }

    #[test]
    fn every_violation_is_named() {
        let options = PostgresOptions {
            max_connections: 0,
            statement_timeout: Duration::ZERO,
            application_name: String::new(),
            ..PostgresOptions::default()
        };
        let violations = options.violations().join("\n");
        for name in [
            "url",
            "max_connections",
            "statement_timeout",
            "application_name",
        ] {
            assert!(violations.contains(&format!("{name}: ")), "{violations}");
        }
    }
}
