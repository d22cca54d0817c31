//! One process of a split hub.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use downlink_stack::{Program, Signal, Supervised};

use super::Programs;
use super::layout::OPERATOR_PORT;

/// How long a process may take to end after it was asked to: its grace, and some.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
/// How long one probe may take.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// Pause between two probes.
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The gateway.
    Gateway,
    /// The queue service.
    Queue,
    /// The method-router service.
    MethodRouter,
    /// The twin service.
    Twin,
}

impl Kind {
    /// Name of its program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Gateway => "downlink-gateway",
            Self::Queue => "downlink-queue",
            Self::MethodRouter => "downlink-method-router",
            Self::Twin => "downlink-twin",
        }
    }
}

/// A process that ends with its owner.
#[derive(Debug)]
pub struct Node {
    kind: Kind,
    address: IpAddr,
    process: Supervised,
}

impl Node {
    pub(super) fn start(
        kind: Kind,
        address: IpAddr,
        programs: &Programs,
        folder: &Path,
        settings: &[String],
    ) -> anyhow::Result<Self> {
        let mut words = vec![programs.of(kind).into_os_string()];
        for setting in settings {
            words.push("--set".into());
            words.push(setting.into());
        }
        let process = Supervised::start(Program {
            name: format!("{} at {address}", kind.program()),
            words,
            environment: Vec::new(),
            log: folder.join(format!("{}-{address}.log", kind.program())),
            folder: None,
            ending: Signal::Kill,
        })?;
        Ok(Self {
            kind,
            address,
            process,
        })
    }

    /// Service and address, for messages.
    pub fn name(&self) -> String {
        format!("{} at {}", self.kind.program(), self.address)
    }

    /// Which service it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The process.
    pub fn process(&self) -> &Supervised {
        &self.process
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        self.process.log_tail()
    }

    /// Says whether new work should be sent to it.
    pub fn is_ready(&self) -> bool {
        self.ask("/readyz")
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Its metrics, in the text format of Prometheus; `None` when it does not answer.
    pub fn metrics(&self) -> Option<String> {
        let answer = self.ask("/metrics")?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some(body.to_owned())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// It ended, or took longer than `patience`.
    pub fn wait_until_ready(&self, patience: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + patience;
        while !self.is_ready() {
            ensure!(
                self.process.is_running(),
                "{} ended:\n{}",
                self.name(),
                self.last_words()
            );
            if Instant::now() > end {
                bail!("{} is not ready:\n{}", self.name(), self.last_words());
            }
            std::thread::sleep(PROBE_PAUSE);
        }
        Ok(())
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// It does not run.
    pub fn ask_to_stop(&self) -> anyhow::Result<()> {
        Ok(self.process.signal(Signal::Term)?)
    }

    /// Waits for its end; returns the exit code.
    ///
    /// # Errors
    /// It does not end.
    pub fn wait(&self) -> anyhow::Result<i32> {
        Ok(self.process.wait(STOP_PATIENCE)?)
    }

    fn ask(&self, path: &str) -> Option<String> {
        let address = SocketAddr::new(self.address, OPERATOR_PORT);
        let mut stream = TcpStream::connect_timeout(&address, PROBE_PATIENCE).ok()?;
        stream.set_read_timeout(Some(PROBE_PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}
