//! Redis: one server, a master with sentinels, a cluster.

mod cluster;
mod node;
mod resp;
mod sentinel;
mod server;

use std::sync::OnceLock;

pub use cluster::RedisCluster;
pub use sentinel::RedisSentinel;

pub(crate) use server::RedisServer;

use crate::error::expect;
use crate::{StackError, Supervised};

use node::Node;

/// A Redis server of this process, gone when the value is dropped or its owner dies.
///
/// What it acknowledged is there after it was killed and started again.
#[derive(Debug)]
pub struct Redis {
    node: Node,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// As [`Redis::try_start`] fails.
    #[track_caller]
    pub fn start() -> Self {
        expect(Self::try_start())
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// Redis is not installed, or did not start; the error carries its log.
    pub fn try_start() -> Result<Self, StackError> {
        Node::start(&[]).map(|node| Self { node })
    }

    /// The server that the tests of one process share; it ends with the process.
    ///
    /// # Panics
    /// As [`Redis::start`].
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The address of the server.
    pub fn url(&self) -> String {
        self.node.url()
    }

    /// The loopback port the server listens on, also while it is stopped.
    pub fn port(&self) -> u16 {
        self.node.port()
    }

    /// The process, for signals.
    pub fn process(&self) -> &Supervised {
        self.node.process()
    }

    /// Forgets everything.
    ///
    /// # Panics
    /// The server is stopped.
    #[track_caller]
    pub fn flush_all(&self) {
        expect(self.node.tell(&["FLUSHALL"]));
    }

    /// Ends the server in good order and waits until it is gone.
    ///
    /// # Panics
    /// It does not run or does not end.
    #[track_caller]
    pub fn stop(&self) {
        expect(self.node.stop());
    }

    /// Ends the server by `SIGKILL` and waits until it is gone.
    ///
    /// # Panics
    /// It does not run.
    #[track_caller]
    pub fn kill(&self) {
        expect(self.node.kill());
    }

    /// Starts the server on its port and data after it was stopped, and waits until it answers.
    ///
    /// # Panics
    /// It runs already or does not start.
    #[track_caller]
    pub fn start_again(&self) {
        expect(self.node.start_again());
    }
}
