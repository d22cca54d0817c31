//! How a connection came to its door.

use std::net::SocketAddr;

use downlink_auth::ClientChain;
use downlink_runtime::TlsStream;
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
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When its socket was accepted; what it must do in time, it must do counted from here.
    pub accepted_at: Instant,
    /// What its bytes come in.
    pub carrier: Carrier,
    /// Address of the peer as the socket says; `None` where there is no socket.
    pub peer: Option<SocketAddr>,
    /// The certificates it presented in the TLS handshake, if any.
    pub certificates: Option<ClientChain>,
}

impl Arrival {
    /// A connection over TLS that is accepted now.
    pub fn over_tls(peer: Option<SocketAddr>) -> Self {
        Self {
            accepted_at: Instant::now(),
            carrier: Carrier::Tls,
            peer,
            certificates: None,
        }
    }

    /// The same connection with what its client presented in the handshake, or in the one that
    /// the session was resumed from.
    #[must_use]
    pub fn with_certificates<S>(mut self, io: &TlsStream<S>) -> Self {
        let presented = io.get_ref().1.peer_certificates();
        self.certificates = presented.and_then(ClientChain::new);
        self
    }
}
