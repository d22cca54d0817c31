//! A Redis server's command line and readiness, whoever runs it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::waiting::{Attempt, until};
use crate::{StackError, machine};

use super::resp::{self, Reply};

/// The longest a start may take: reading the data is part of it.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The Debian package of `redis-server` and `redis-sentinel`.
const PACKAGE: &str = "redis-server";

/// The place of one server: its folder and its port.
#[derive(Debug)]
pub(crate) struct RedisServer {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl RedisServer {
    pub(crate) fn new(folder: &Path, port: u16) -> Result<Self, StackError> {
        Ok(Self {
            program: machine::get_program("redis-server", PACKAGE)?,
            folder: folder.to_owned(),
            port,
        })
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The command line of the server: every write is in the log file before it is answered, so
    /// that it survives the end of the process, and synced each second.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.program.clone().into(), "--dir".into()];
        words.push(self.folder.clone().into());
        words.extend(["--port".into(), self.port.to_string().into()]);
        words.extend(
            [
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "yes",
                "--daemonize",
                "no",
                "--supervised",
                "no",
            ]
            .map(OsString::from),
        );
        words
    }

    /// The command line of a sentinel that keeps its state in `configuration`.
    pub(crate) fn sentinel_words(&self, configuration: &Path) -> Vec<OsString> {
        vec![
            self.program.clone().into(),
            configuration.into(),
            "--sentinel".into(),
        ]
    }

    /// Waits until the server answers and has its data; gives up when `is_running` says no.
    pub(crate) fn wait_until_ready(&self, is_running: impl Fn() -> bool) -> Result<(), StackError> {
        until("the start of redis", START_TIMEOUT, || {
            if !is_running() {
                return Attempt::Hopeless(StackError::new("redis ended"));
            }
            resp::ask(self.port, &["PING"])
                .and_then(|reply| match reply {
                    Reply::Text(text) if text == "PONG" => Ok(()),
                    other => Err(format!("{other:?}")),
                })
                .into()
        })
    }
}
