//! `PgBouncer` in front of a Postgres server.

use std::path::Path;
use std::time::Duration;

use crate::error::expect;
use crate::owned::{Program, Supervised};
use crate::ports::Port;
use crate::postgres::{USER, execute};
use crate::signal::Signal;
use crate::waiting::{Attempt, until};
use crate::{Postgres, StackError, folder, machine};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A pooler that gives a server connection to a client for the length of one transaction.
#[derive(Debug)]
pub struct PgBouncer {
    _process: Supervised,
    port: Port,
}

impl PgBouncer {
    /// Starts a pooler in front of `postgres` and waits until it answers for `database`, a name
    /// or an address that [`Postgres::create_database`] gave.
    ///
    /// # Panics
    /// As [`PgBouncer::try_start`] fails.
    #[track_caller]
    pub fn start(postgres: &Postgres, database: &str) -> Self {
        expect(Self::try_start(postgres, database))
    }

    /// Starts a pooler in front of `postgres` and waits until it answers for `database`, a name
    /// or an address that [`Postgres::create_database`] gave.
    ///
    /// # Errors
    /// It is not installed, did not start, or does not reach the database.
    pub fn try_start(postgres: &Postgres, database: &str) -> Result<Self, StackError> {
        let folder = folder::create("pgbouncer")?;
        Self::start_in(&folder, postgres, name_of(database)).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&folder);
        })
    }

    fn start_in(folder: &Path, postgres: &Postgres, database: &str) -> Result<Self, StackError> {
        let program = machine::get_program("pgbouncer", "pgbouncer")?;
        let port = Port::reserve()?;
        let users = folder.join("users.txt");
        let configuration = folder.join("pgbouncer.ini");
        folder::write(&users, &format!("\"{USER}\" \"\"\n"))?;
        // Each test has a database of its own, whose connections nobody takes over.
        folder::write(
            &configuration,
            &format!(
                "[databases]\n\
                 * = host=127.0.0.1 port={server}\n\
                 [pgbouncer]\n\
                 listen_addr = 127.0.0.1\n\
                 listen_port = {port}\n\
                 unix_socket_dir =\n\
                 auth_type = trust\n\
                 auth_file = {users}\n\
                 pool_mode = transaction\n\
                 default_pool_size = 20\n\
                 server_idle_timeout = 2\n\
                 max_client_conn = 500\n\
                 ignore_startup_parameters = extra_float_digits\n",
                server = postgres.port(),
                port = port.number(),
                users = users.display(),
            ),
        )?;
        let mut words = machine::unprivileged();
        words.extend([program.into(), configuration.into()]);
        let process = Supervised::start(Program {
            name: "pgbouncer".to_owned(),
            words,
            environment: Vec::new(),
            log: folder.join("log"),
            folder: Some(folder.to_owned()),
            ending: Signal::Kill,
        })?;
        until("the start of pgbouncer", START_TIMEOUT, || {
            if process.is_running() {
                execute(port.number(), USER, database, "SELECT 1").into()
            } else {
                Attempt::Hopeless(process.explain(StackError::new("pgbouncer ended")))
            }
        })?;
        Ok(Self {
            _process: process,
            port,
        })
    }

    /// The address of `database` (a name, or an address that [`Postgres::create_database`] gave)
    /// through the pooler.
    pub fn url(&self, database: &str) -> String {
        let database = name_of(database);
        format!(
            "postgres://{USER}@127.0.0.1:{}/{database}",
            self.port.number()
        )
    }
}

fn name_of(database: &str) -> &str {
    database.rsplit('/').next().unwrap_or(database)
}
