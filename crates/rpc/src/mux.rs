//! Many calls over one long-lived stream.
//!
//! A unary call costs more than the batched database writes behind it, so hot calls share streams:
//! each message is a batch, a call is found again by its id. Batches form by themselves: what
//! callers add while the stream is busy goes out together as soon as it can take more. Nobody
//! waits for a batch to fill.
//!
//! [`Lane`] is the calling side of one stream, [`Session`] its serving side. Which lane of which
//! node a call takes is decided in [`crate::nodes`].
//!
//! A server that drains says so on its streams with a reply to call 0, which no call has; whoever
//! does not know of it takes it for a reply to a call that was given up.

pub(crate) mod backoff;
mod frames;
mod lane;
pub(crate) mod link;
mod lost;
mod session;
mod split;
#[cfg(test)]
mod tests;
mod ticket;

use std::time::Duration;

pub(crate) use frames::{CallStream, call_stream};
pub(crate) use lane::{Lane, Standing};
pub(crate) use lost::Lost;
pub(crate) use session::{Dispatch, Session};
pub(crate) use split::{Item, Part, Place, split};
pub(crate) use ticket::{Outbound, Ticket};

/// Id that no call has: a reply to it concerns the stream as a whole.
const NO_CALL: u64 = 0;

/// Largest batch of calls or replies, in bytes, unless a single one is larger. A quarter of a
/// stream's window, so that a batch is on its way while the next one forms.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// Most calls or replies in a batch.
const MAX_BATCH_CALLS: usize = 1024;
/// Largest single call, in bytes; leaves room for the frame around it.
const MAX_CALL_BYTES: usize = crate::carrier::MAX_FRAME_BYTES - 64 * 1024;
/// Most items in one call; the client splits, the server refuses.
pub(crate) const MAX_CALL_ITEMS: usize = 65_536;
/// Calls that the server works on for one stream; it stops reading beyond.
const MAX_SERVED: usize = 16_384;

/// Bounds of a client of a service's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MuxOptions {
    /// Streams to the service, 1–64, each on a connection of its own; calls for one device share
    /// a lane. More lanes use more processors at both ends but make smaller batches.
    pub lanes: usize,
    /// Calls of one lane that wait for their reply, sent or not; a further one is refused with
    /// `PeerError::Overloaded`.
    pub max_calls: usize,
    /// Bytes of one lane that wait to be sent; a further call is refused with
    /// `PeerError::Overloaded`.
    pub max_waiting_bytes: usize,
    /// Deadline of a call that has none of its own.
    pub call_timeout: Duration,
}

impl Default for MuxOptions {
    fn default() -> Self {
        Self {
            lanes: 1,
            max_calls: 8192,
            max_waiting_bytes: 32 * 1024 * 1024,
            call_timeout: Duration::from_secs(10),
        }
    }
}
