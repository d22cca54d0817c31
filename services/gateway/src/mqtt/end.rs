//! How a connection ends.

use downlink_domain::presence::{ConnectionEnd, DisconnectReason};
use downlink_mqtt::{DecodeError, Violation};
use downlink_ports::PeerError;

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum End {
    /// The client sent DISCONNECT: no will is published.
    Disconnected,
    /// The stream ended or broke.
    Lost,
    /// The client broke the contract.
    Violation(Violation),
    /// No packet for longer than keep-alive allows.
    KeepAlive,
    /// The token's time, and the grace after it, are over.
    TokenExpired,
    /// The client took nothing of what was written for it.
    WriteDeadline,
    /// The hub wants it to end.
    Closed(DisconnectReason),
    /// The gateway is going away.
    Draining,
    /// Telemetry or a subscription could not be stored; MQTT has no other way to say so.
    NotStored(PeerError),
}

impl End {
    /// Returns whether the client said goodbye, which discards its will ([MQTT-3.14.4-3]).
    pub(super) fn is_graceful(&self) -> bool {
        matches!(self, Self::Disconnected)
    }

    /// Returns whether the client has a stream that it will see the end of.
    pub(super) fn leaves_a_peer(&self) -> bool {
        !matches!(self, Self::Lost | Self::WriteDeadline)
    }

    /// Returns whether what is queued for the client may still reach it.
    pub(super) fn leaves_a_reader(&self) -> bool {
        self.leaves_a_peer() && !matches!(self, Self::Disconnected)
    }

    /// Returns what went wrong, the innermost that says it.
    pub(super) fn error(&self) -> Option<&dyn std::error::Error> {
        match self {
            Self::Violation(Violation::Decode(error)) => Some(error),
            Self::Violation(violation) => Some(violation),
            Self::NotStored(error) => Some(error),
            Self::Disconnected
            | Self::Lost
            | Self::KeepAlive
            | Self::TokenExpired
            | Self::WriteDeadline
            | Self::Closed(_)
            | Self::Draining => None,
        }
    }

    /// Returns what is recorded of the end.
    pub(super) fn recorded(&self) -> ConnectionEnd {
        match self {
            Self::Disconnected => ConnectionEnd::Closed,
            Self::Lost => ConnectionEnd::Lost,
            Self::Violation(_) => ConnectionEnd::Refused,
            Self::KeepAlive | Self::WriteDeadline => ConnectionEnd::Silent,
            Self::TokenExpired => ConnectionEnd::TokenExpired,
            Self::Closed(reason) => ConnectionEnd::Ordered(*reason),
            Self::Draining => ConnectionEnd::Ordered(DisconnectReason::Draining),
            Self::NotStored(_) => ConnectionEnd::NotStored,
        }
    }

    /// Returns the word of the log line.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Disconnected => "disconnect",
            Self::Lost => "connection lost",
            Self::Violation(_) => "violation",
            Self::KeepAlive => "keep-alive timeout",
            Self::TokenExpired => "token expired",
            Self::WriteDeadline => "write deadline",
            Self::Closed(DisconnectReason::Superseded) => "superseded",
            Self::Closed(DisconnectReason::Deleted) => "identity deleted",
            Self::Closed(DisconnectReason::Disabled) => "identity disabled",
            Self::Closed(DisconnectReason::KeysChanged) => "keys changed",
            Self::Closed(DisconnectReason::Draining) | Self::Draining => "draining",
            Self::NotStored(_) => "not stored",
        }
    }
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        Self::Violation(error.into())
    }
}
