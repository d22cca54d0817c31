//! One Apache Kafka node.

mod artifacts;
mod server;
mod wire;

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

pub(crate) use server::KafkaServer;

use crate::error::expect;
use crate::owned::{Program, Supervised};
use crate::ports::Port;
use crate::signal::Signal;
use crate::{StackError, folder};

/// The longest an ordered shutdown may take.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);

/// A Kafka node of this process (broker and controller in one), gone when the value is dropped or
/// its owner dies.
///
/// It has no topics and makes none by itself.
#[derive(Debug)]
pub struct Kafka {
    server: KafkaServer,
    process: Supervised,
    _ports: [Port; 2],
}

impl Kafka {
    /// Starts a node and waits until it answers.
    ///
    /// # Panics
    /// As [`Kafka::try_start`] fails.
    #[track_caller]
    pub fn start() -> Self {
        expect(Self::try_start())
    }

    /// Starts a node and waits until it answers.
    ///
    /// # Errors
    /// Java is not installed, Kafka's archives cannot be had, or it did not start; the error then
    /// carries its log.
    pub fn try_start() -> Result<Self, StackError> {
        let folder = folder::create("kafka")?;
        Self::start_in(&folder).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&folder);
        })
    }

    fn start_in(folder: &Path) -> Result<Self, StackError> {
        let ports = [Port::reserve()?, Port::reserve()?];
        let server = KafkaServer::new(folder, ports[0].number(), ports[1].number())?;
        let process = Supervised::prepare(Program {
            name: "kafka".to_owned(),
            words: server.words(),
            environment: Vec::new(),
            log: server.log(),
            folder: Some(folder.to_owned()),
            ending: Signal::Kill,
        })?;
        server.initialize()?;
        process.start_again()?;
        let started = Self {
            server,
            process,
            _ports: ports,
        };
        started.wait_until_ready()?;
        Ok(started)
    }

    /// Fetches Kafka into the user's cache folder unless that has been done, so that the first
    /// start need not.
    ///
    /// # Errors
    /// Maven is not installed, or the archives cannot be had.
    pub fn fetch() -> Result<(), StackError> {
        artifacts::provide().map(|_| ())
    }

    /// The node that the tests of one process share; it ends with the process.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The address of the node: host and port.
    pub fn bootstrap(&self) -> String {
        self.server.bootstrap()
    }

    /// The process, for signals.
    pub fn process(&self) -> &Supervised {
        &self.process
    }

    /// Ends the node in good order and waits until it is gone.
    ///
    /// # Panics
    /// It does not run or does not end.
    #[track_caller]
    pub fn stop(&self) {
        expect(self.process.stop(Signal::Term, STOP_TIMEOUT));
    }

    /// Ends the node by `SIGKILL` and waits until it is gone.
    ///
    /// # Panics
    /// It does not run.
    #[track_caller]
    pub fn kill(&self) {
        expect(self.process.kill());
    }

    /// Starts the node on its port and data after it was stopped, and waits until it answers.
    ///
    /// # Panics
    /// It runs already or does not start.
    #[track_caller]
    pub fn start_again(&self) {
        expect(self.process.start_again());
        expect(self.wait_until_ready());
    }

    fn wait_until_ready(&self) -> Result<(), StackError> {
        self.server
            .wait_until_ready(|| self.process.is_running())
            .map_err(|error| self.process.explain(error))
    }
}
