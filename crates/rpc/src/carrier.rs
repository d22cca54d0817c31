//! How two services meet: within one process, or over TCP.
//!
//! The calling side holds an [`Endpoint`], the serving side an [`Acceptor`]. Both kinds carry the
//! same HTTP/2 with the same bounds, so neither side can tell which one it has.

use std::time::Duration;

mod acceptor;
mod endpoint;
mod socket;
#[cfg(test)]
mod tests;

pub use acceptor::Acceptor;
pub(crate) use acceptor::server;
pub use endpoint::Endpoint;

/// Largest message either side takes, in bytes; a larger one ends its stream.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// Connections that wait to be accepted in process; a further connect waits for its deadline.
const IN_PROCESS_BACKLOG: usize = 64;
/// Buffer of each direction of an in-process connection, in bytes.
const IN_PROCESS_BUFFER_BYTES: usize = 128 * 1024;

/// Unread bytes that one stream may hold; the writer waits beyond.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Unread bytes that one connection may hold; the writer waits beyond.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Largest HTTP/2 frame, so that a batch is not cut into slices of 16 KiB.
const HTTP2_FRAME_BYTES: u32 = 256 * 1024;
/// Largest set of request headers, in bytes.
const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Streams of one connection; a caller waits beyond.
const MAX_STREAMS: u32 = 1024;
/// Silence after which a connection is probed.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Time for the answer to a probe; a connection without one is closed. A process that is stopped
/// is thus noticed within five seconds; one that is merely busy must get by.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes both sides of a carrier within this process. Bounded: 64 connections wait to be
/// accepted, each direction of a connection buffers 128 KiB.
pub fn in_process() -> (Endpoint, Acceptor) {
    let (sender, receiver) = tokio::sync::mpsc::channel(IN_PROCESS_BACKLOG);
    (Endpoint::in_process(sender), Acceptor::in_process(receiver))
}
