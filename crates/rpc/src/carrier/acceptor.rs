//! The serving side of a carrier.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tonic::transport::Server;
use tracing::warn;

use super::socket::Socket;
use super::{
    CONNECTION_WINDOW_BYTES, HEADER_LIST_BYTES, HTTP2_FRAME_BYTES, KEEP_ALIVE_INTERVAL,
    KEEP_ALIVE_TIMEOUT, MAX_STREAMS, STREAM_WINDOW_BYTES,
};

/// Pause after an accept that failed, so that a lack of file handles does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where connections come in.
#[derive(Debug)]
pub struct Acceptor {
    source: Source,
}

#[derive(Debug)]
enum Source {
    InProcess(mpsc::Receiver<DuplexStream>),
    Tcp(TcpListener, Arc<Semaphore>),
}

impl Acceptor {
    pub(super) fn in_process(receiver: mpsc::Receiver<DuplexStream>) -> Self {
        Self {
            source: Source::InProcess(receiver),
        }
    }

    /// Accepts from `listener`, at most `max_connections` at a time; further ones wait in the
    /// backlog of the operating system.
    pub fn tcp(listener: TcpListener, max_connections: usize) -> Self {
        let places = Arc::new(Semaphore::new(max_connections));
        Self {
            source: Source::Tcp(listener, places),
        }
    }

    /// The address of a TCP acceptor, `None` in process.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.source {
            Source::InProcess(_) => None,
            Source::Tcp(listener, _) => listener.local_addr().ok(),
        }
    }

    /// Connections as they come; in process the stream ends with the last endpoint.
    pub(crate) fn into_stream(self) -> impl Stream<Item = io::Result<Socket>> + Send {
        let sockets: BoxStream<'static, Socket> = match self.source {
            Source::InProcess(receiver) => stream::unfold(receiver, async |mut receiver| {
                let io = receiver.recv().await?;
                Some((Socket::in_process(io), receiver))
            })
            .boxed(),
            Source::Tcp(listener, places) => stream::unfold((listener, places), async |from| {
                let socket = accept(&from.0, &from.1).await?;
                Some((socket, from))
            })
            .boxed(),
        };
        sockets.map(Ok)
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Socket> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it small batches wait for the peer's acknowledgement; a socket that
                // refuses is already closed and fails at its first read.
                let _ = stream.set_nodelay(true);
                return Some(Socket::tcp(stream, Some(place)));
            }
            Err(error) => {
                warn!(%error, "an inner connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A server with the bounds of every carrier.
pub(crate) fn server() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}
