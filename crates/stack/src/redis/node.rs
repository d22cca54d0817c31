//! One owned Redis process, of whichever topology.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::owned::{Program, Supervised};
use crate::ports::Port;
use crate::signal::Signal;
use crate::{StackError, folder};

use super::resp::{self, Reply};
use super::server::RedisServer;

const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A Redis process with its folder and port.
#[derive(Debug)]
pub(super) struct Node {
    server: RedisServer,
    process: Supervised,
    port: Port,
}

impl Node {
    /// Starts a server with more words at the end of its command line.
    pub(super) fn start(more: &[&str]) -> Result<Self, StackError> {
        Self::start_with(|server, _, _| {
            let mut words = server.words();
            words.extend(more.iter().map(OsString::from));
            Ok(words)
        })
    }

    /// Starts a sentinel with the given configuration besides its address.
    pub(super) fn start_sentinel(configuration: &str) -> Result<Self, StackError> {
        Self::start_with(|server, folder, port| {
            let file = folder.join("sentinel.conf");
            let place = folder.display();
            folder::write(
                &file,
                &format!("bind 127.0.0.1\nport {port}\ndir {place}\n{configuration}"),
            )?;
            Ok(server.sentinel_words(&file))
        })
    }

    fn start_with(
        words: impl FnOnce(&RedisServer, &Path, u16) -> Result<Vec<OsString>, StackError>,
    ) -> Result<Self, StackError> {
        let folder = folder::create("redis")?;
        Self::start_in(&folder, words).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&folder);
        })
    }

    fn start_in(
        folder: &Path,
        words: impl FnOnce(&RedisServer, &Path, u16) -> Result<Vec<OsString>, StackError>,
    ) -> Result<Self, StackError> {
        let port = Port::reserve()?;
        let server = RedisServer::new(folder, port.number())?;
        let words = words(&server, folder, port.number())?;
        let process = Supervised::start(Program {
            name: "redis".to_owned(),
            words,
            environment: Vec::new(),
            log: server.log(),
            folder: Some(folder.to_owned()),
            ending: Signal::Kill,
        })?;
        let node = Self {
            server,
            process,
            port,
        };
        node.wait_until_ready()?;
        Ok(node)
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    pub(super) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(super) fn process(&self) -> &Supervised {
        &self.process
    }

    pub(super) fn ask(&self, words: &[&str]) -> Result<Reply, String> {
        resp::ask(self.port(), words)
    }

    /// Sends a command that must succeed.
    pub(super) fn tell(&self, words: &[&str]) -> Result<(), StackError> {
        self.ask(words)
            .map(|_| ())
            .map_err(|complaint| StackError::new(format!("redis {words:?}: {complaint}")))
    }

    pub(super) fn stop(&self) -> Result<(), StackError> {
        self.process.stop(Signal::Term, STOP_TIMEOUT).map(|_| ())
    }

    pub(super) fn kill(&self) -> Result<(), StackError> {
        self.process.kill()
    }

    pub(super) fn start_again(&self) -> Result<(), StackError> {
        self.process.start_again()?;
        self.wait_until_ready()
    }

    fn wait_until_ready(&self) -> Result<(), StackError> {
        self.server
            .wait_until_ready(|| self.process.is_running())
            .map_err(|error| self.process.explain(error))
    }
}
