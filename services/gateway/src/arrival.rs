//! How a connection came to its door.

use tokio::time::Instant;

/// What the bytes of a protocol come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// TLS itself.
    Tls,
    /// A WebSocket inside TLS.
    WebSocket,
}

impl Carrier {
    /// The label of the carrier, in metrics and in log lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
        }
    }
}

/// How and when a connection came.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When its socket was accepted; what it must do in time, it must do counted from here.
    pub accepted_at: Instant,
    /// What its bytes come in.
    pub carrier: Carrier,
}

impl Arrival {
    /// A connection over TLS that is accepted now.
    pub fn over_tls() -> Self {
        Self {
            accepted_at: Instant::now(),
            carrier: Carrier::Tls,
        }
    }
}
