//! Listening sockets: bind with an error that names its cure, accept with pacing and a bound.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

pub use self::bind_error::BindError;
use crate::lifecycle::{Lifecycle, OnError, TaskOutcome};

mod bind_error;
#[cfg(test)]
mod tests;

/// The first pause after a failed accept; doubled at each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between two failed accepts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// One log line stands for this many connections turned away at the bound.
const REFUSALS_PER_LOG_LINE: u64 = 1_000;

/// What a [`Listener`] is made from.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// The setting or flag that moves the port, named in errors, such as `--https-port`.
    pub port_flag: &'static str,
    /// How many connections the kernel may hold ready before they are accepted.
    pub backlog: u32,
    /// How many accepted connections may be open at once; those beyond it are closed as soon as they are accepted.
    pub max_connections: usize,
}

impl ListenerOptions {
    /// Makes options with a backlog of 4096 and at most 600,000 open connections.
    pub fn new(address: SocketAddr, port_flag: &'static str) -> Self {
        Self {
            address,
            port_flag,
            backlog: 4_096,
            max_connections: 600_000,
        }
    }
}

/// A bound TCP socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_address: SocketAddr,
    max_connections: usize,
    slots: Arc<Semaphore>,
}

/// A connection with its place among the open ones.
///
/// The place is given back when [`Accepted::slot`] is dropped: keep it as long as the stream.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, with `TCP_NODELAY` set.
    pub stream: TcpStream,
    /// Who connected.
    pub peer: SocketAddr,
    /// The place among the open connections.
    pub slot: ConnectionSlot,
}

/// A place among a listener's open connections; dropping it makes room for another.
#[derive(Debug)]
pub struct ConnectionSlot {
    _permit: OwnedSemaphorePermit,
}

/// Counts a listener's open connections.
#[derive(Clone, Debug)]
pub struct OpenConnections {
    max_connections: usize,
    slots: Arc<Semaphore>,
}

impl OpenConnections {
    /// Returns how many accepted connections hold a slot now.
    pub fn count(&self) -> usize {
        self.max_connections - self.slots.available_permits()
    }
}

impl Listener {
    /// Binds with `SO_REUSEADDR`, so that a restart does not wait for old connections to time out.
    ///
    /// # Errors
    /// [`BindError`], whose one line names address, port and cure.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(options: &ListenerOptions) -> Result<Self, BindError> {
        let failed = |error| BindError::new(options.address, options.port_flag, error);
        let socket = match options.address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }
        .map_err(failed)?;
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(options.address).map_err(failed)?;
        let socket = socket.listen(options.backlog).map_err(failed)?;
        let local_address = socket.local_addr().map_err(failed)?;
        let max_connections = options.max_connections.min(Semaphore::MAX_PERMITS);
        let slots = Arc::new(Semaphore::new(max_connections));
        Ok(Self {
            socket,
            local_address,
            max_connections,
            slots,
        })
    }

    /// Returns the address in use, with the port that was found if port 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Returns a handle that counts the open connections, also while the listener serves.
    pub fn open_connections(&self) -> OpenConnections {
        OpenConnections {
            max_connections: self.max_connections,
            slots: Arc::clone(&self.slots),
        }
    }

    /// Accepts connections until the scope drains, each in a task of its own; then closes the socket.
    ///
    /// At the bound a new connection is closed at once rather than left waiting: its client learns
    /// immediately that it should go elsewhere or later, instead of hanging until its own timeout.
    /// When the system is out of descriptors or memory, accepting pauses for 10 ms, doubling up to 1 s.
    pub fn serve<H, F>(self, lifecycle: &Lifecycle, name: &'static str, handler: H)
    where
        H: Fn(TcpStream, SocketAddr) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: TaskOutcome + Send + 'static,
    {
        let scope = lifecycle.clone();
        lifecycle.spawn(name, OnError::Shutdown, async move {
            let drain = scope.drain_token();
            let mut acceptor = Acceptor::new(self);
            loop {
                tokio::select! {
                    biased;
                    () = drain.cancelled() => return,
                    accepted = acceptor.accept() => {
                        let Accepted { stream, peer, slot } = accepted;
                        let connection = Holding { future: handler(stream, peer), slot };
                        scope.spawn(name, OnError::Log, connection);
                    }
                }
            }
        });
    }

    /// Takes the socket out, with the bound on open connections, for servers that accept by themselves.
    pub fn into_socket(self) -> (TcpListener, usize) {
        (self.socket, self.max_connections)
    }

    /// Turns the listener into an acceptor, for callers with a loop of their own.
    pub fn into_acceptor(self) -> Acceptor {
        Acceptor::new(self)
    }
}

/// Accepts connections one after another; see [`Listener::serve`] for the pacing and the bound.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    pause: Duration,
    refused: u64,
}

impl Acceptor {
    fn new(listener: Listener) -> Self {
        Self {
            listener,
            pause: FIRST_PAUSE,
            refused: 0,
        }
    }

    /// Waits for the next connection within the bound.
    ///
    /// # Cancellation
    /// Safe: a connection is either returned or still with the kernel.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            match self.listener.socket.accept().await {
                Ok((stream, peer)) => {
                    self.pause = FIRST_PAUSE;
                    if let Some(accepted) = self.admit(stream, peer) {
                        return accepted;
                    }
                }
                Err(error) => self.pause_after(&error).await,
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<Accepted> {
        let Ok(permit) = Arc::clone(&self.listener.slots).try_acquire_owned() else {
            if self.refused.is_multiple_of(REFUSALS_PER_LOG_LINE) {
                warn!(
                    address = %self.listener.local_address,
                    max_connections = self.listener.max_connections,
                    refused = self.refused + 1,
                    "too many open connections, closing new ones"
                );
            }
            self.refused += 1;
            return None;
        };
        // Fails only on a connection that is gone already; its first read says so.
        let _ = stream.set_nodelay(true);
        Some(Accepted {
            stream,
            peer,
            slot: ConnectionSlot { _permit: permit },
        })
    }

    async fn pause_after(&mut self, error: &io::Error) {
        // The peer gave up while it waited; the socket itself is well.
        if is_peer_failure(error) {
            return;
        }
        warn!(address = %self.listener.local_address, %error, pause = ?self.pause, "cannot accept");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

fn is_peer_failure(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

pin_project! {
    /// A future and what must live as long; written by hand to keep each connection small.
    struct Holding<F> {
        #[pin]
        future: F,
        slot: ConnectionSlot,
    }
}

impl<F: Future> Future for Holding<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(context)
    }
}
