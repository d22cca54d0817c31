//! One Postgres server.

mod server;
mod wire;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub(crate) use server::{Durability, PostgresServer, USER};
pub(crate) use wire::execute;

use crate::error::expect;
use crate::owned::{Program, Supervised};
use crate::ports::Port;
use crate::signal::Signal;
use crate::{StackError, folder};

/// The longest an immediate shutdown may take: the server gives its children 5 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A Postgres server of this process, gone when the value is dropped or its owner dies.
///
/// It runs without `fsync`: it survives everything but a crash of the machine.
#[derive(Debug)]
pub struct Postgres {
    server: PostgresServer,
    process: Supervised,
    port: Port,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// As [`Postgres::try_start`] fails.
    #[track_caller]
    pub fn start() -> Self {
        expect(Self::try_start())
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// Postgres 15 or newer is not installed, or did not start; the error carries its log.
    pub fn try_start() -> Result<Self, StackError> {
        let folder = folder::create("postgres")?;
        Self::start_in(&folder).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&folder);
        })
    }

    fn start_in(folder: &std::path::Path) -> Result<Self, StackError> {
        let port = Port::reserve()?;
        let server = PostgresServer::new(folder, port.number(), Durability::ProcessCrash)?;
        let process = Supervised::prepare(Program {
            name: "postgres".to_owned(),
            words: server.words(),
            environment: Vec::new(),
            log: server.log(),
            folder: Some(folder.to_owned()),
            ending: Signal::Quit,
        })?;
        server.initialize()?;
        process.start_again()?;
        let started = Self {
            server,
            process,
            port,
            databases: AtomicU32::new(0),
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// The server that the tests of one process share; it ends with the process.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The address of the server's own database, with a user that may do everything.
    pub fn url(&self) -> String {
        self.server.url(USER)
    }

    /// The loopback port the server listens on, also while it is stopped.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The process, for signals.
    pub fn process(&self) -> &Supervised {
        &self.process
    }

    /// Makes an empty database and gives its address.
    ///
    /// # Panics
    /// The server is stopped or refuses.
    #[track_caller]
    pub fn create_database(&self) -> String {
        expect(self.try_create_database())
    }

    /// Makes an empty database and gives its address.
    ///
    /// # Errors
    /// The server is stopped or refuses.
    pub fn try_create_database(&self) -> Result<String, StackError> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))?;
        Ok(self.server.url(&name))
    }

    /// Runs one statement in the server's own database.
    ///
    /// # Errors
    /// The server is stopped or refuses.
    pub fn execute(&self, sql: &str) -> Result<(), StackError> {
        wire::execute(self.port(), USER, USER, sql)
            .map_err(|complaint| StackError::new(format!("postgres: {complaint}")))
    }

    /// Ends the server without a checkpoint and without a word to its clients, as `pg_ctl stop -m
    /// immediate` does, and waits until it is gone.
    ///
    /// # Panics
    /// It does not run or does not end.
    #[track_caller]
    pub fn stop_immediate(&self) {
        expect(self.process.stop(Signal::Quit, STOP_TIMEOUT));
    }

    /// Starts the server on its port and data after it was stopped, and waits until it answers.
    ///
    /// # Panics
    /// It runs already or does not start.
    #[track_caller]
    pub fn start_again(&self) {
        expect(self.process.start_again());
        expect(self.wait_until_ready());
    }

    /// Stops as [`Postgres::stop_immediate`] and starts again.
    ///
    /// # Panics
    /// As the two it consists of.
    #[track_caller]
    pub fn restart_immediate(&self) {
        self.stop_immediate();
        self.start_again();
    }

    fn wait_until_ready(&self) -> Result<(), StackError> {
        self.server
            .wait_until_ready(|| self.process.is_running())
            .map_err(|error| self.process.explain(error))
    }
}
