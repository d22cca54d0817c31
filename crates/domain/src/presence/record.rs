//! What is recorded of an identity's connections, and what the record makes of a report.
//!
//! Reports come late, twice, or not at all: a gateway may stand still or be gone, and others report
//! for it. The record takes them in the order of epochs, whatever order they come in, so that a late
//! disconnect never hides a newer connect, and tells each change once: numbers only rise, and
//! connects and disconnects alternate.

use std::fmt;

use super::{DisconnectReason, LeaseEpoch};
use crate::id::GatewayId;

#[cfg(test)]
mod tests;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionEnd {
    /// The device said goodbye.
    Closed,
    /// Its stream ended or broke.
    Lost,
    /// It was silent for longer than its keep-alive allows, or took nothing that was written for it.
    Silent,
    /// Its credential's time was over.
    TokenExpired,
    /// It broke the protocol, or asked for what it may not have.
    Refused,
    /// What it sent could not be stored.
    NotStored,
    /// The hub ended it.
    Ordered(DisconnectReason),
    /// Its gateway is gone.
    GatewayLost,
    /// Its gateway lives and does not know it.
    Vanished,
}

impl ConnectionEnd {
    /// Every end.
    pub const ALL: [Self; 13] = [
        Self::Closed,
        Self::Lost,
        Self::Silent,
        Self::TokenExpired,
        Self::Refused,
        Self::NotStored,
        Self::Ordered(DisconnectReason::Superseded),
        Self::Ordered(DisconnectReason::Deleted),
        Self::Ordered(DisconnectReason::Disabled),
        Self::Ordered(DisconnectReason::KeysChanged),
        Self::Ordered(DisconnectReason::Draining),
        Self::GatewayLost,
        Self::Vanished,
    ];

    /// Stable name, in events and on the inner wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Lost => "connectionLost",
            Self::Silent => "silent",
            Self::TokenExpired => "tokenExpired",
            Self::Refused => "refused",
            Self::NotStored => "notStored",
            Self::Ordered(DisconnectReason::Superseded) => "superseded",
            Self::Ordered(DisconnectReason::Deleted) => "deleted",
            Self::Ordered(DisconnectReason::Disabled) => "disabled",
            Self::Ordered(DisconnectReason::KeysChanged) => "keysChanged",
            Self::Ordered(DisconnectReason::Draining) => "draining",
            Self::GatewayLost => "gatewayLost",
            Self::Vanished => "vanished",
        }
    }

    /// Reads the name of [`Self::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.as_str() == name)
    }

    /// Tells whether somebody else than the connection's gateway says so, who may be wrong: that
    /// gateway may contradict.
    const fn is_presumed(self) -> bool {
        matches!(self, Self::GatewayLost | Self::Vanished)
    }
}

/// What is reported of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionReport {
    /// It began.
    Began,
    /// It is there, as its gateway says once in a while and after it may have been presumed lost.
    Stands,
    /// It ended.
    Ended(ConnectionEnd),
}

/// Place of a change among those of one identity: the connection, and how often it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeNumber {
    /// The connection.
    pub epoch: LeaseEpoch,
    /// 0 for its connect; odd ones are disconnects. Above 1 only where its gateway contradicted.
    pub turn: u32,
}

/// 64 hexadecimal digits, the later the larger as text (errors-limits.md §6.2).
impl fmt::Display for ChangeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:056X}{:08X}", self.epoch.0, self.turn)
    }
}

/// A connect or a disconnect as the record tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionEvent {
    /// Its place.
    pub number: ChangeNumber,
    /// Why the connection ended; `None` for a connect.
    pub ended: Option<ConnectionEnd>,
}

/// What is recorded of an identity's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The newest change.
    pub number: ChangeNumber,
    /// Whether it is connected.
    pub is_connected: bool,
    /// The gateway that holds the connection, or held it when it was presumed lost; `None` after
    /// an end that is certain.
    pub gateway: Option<GatewayId>,
}

/// Of an identity that never connected.
impl Default for ConnectionRecord {
    fn default() -> Self {
        Self {
            number: ChangeNumber {
                epoch: LeaseEpoch(0),
                turn: 1,
            },
            is_connected: false,
            gateway: None,
        }
    }
}

impl ConnectionRecord {
    /// Takes a report of the connection `epoch` on `gateway` and appends what it tells to `events`,
    /// at most three. Returns whether the record is another one now.
    pub fn take(
        &mut self,
        epoch: LeaseEpoch,
        gateway: &GatewayId,
        report: ConnectionReport,
        events: &mut Vec<ConnectionEvent>,
    ) -> bool {
        if epoch < self.number.epoch {
            return false;
        }
        let is_newer = epoch > self.number.epoch;
        match report {
            ConnectionReport::Began | ConnectionReport::Stands if is_newer => {
                self.begin(epoch, gateway, events);
                true
            }
            ConnectionReport::Began => false,
            ConnectionReport::Stands => {
                if self.is_connected || self.gateway.as_ref() != Some(gateway) {
                    return false;
                }
                self.turn(true, None, events);
                true
            }
            // Who presumes goes by the record.
            ConnectionReport::Ended(end) if is_newer && end.is_presumed() => false,
            ConnectionReport::Ended(end) => {
                if is_newer {
                    // Its connect was never reported.
                    self.begin(epoch, gateway, events);
                }
                let before = (self.is_connected, self.gateway.is_some());
                if self.is_connected {
                    self.turn(false, Some(end), events);
                }
                if !end.is_presumed() {
                    self.gateway = None;
                }
                is_newer || before != (self.is_connected, self.gateway.is_some())
            }
        }
    }

    fn begin(&mut self, epoch: LeaseEpoch, gateway: &GatewayId, events: &mut Vec<ConnectionEvent>) {
        if self.is_connected {
            let superseded = ConnectionEnd::Ordered(DisconnectReason::Superseded);
            self.turn(false, Some(superseded), events);
        }
        self.number = ChangeNumber { epoch, turn: 0 };
        self.is_connected = true;
        self.gateway = Some(gateway.clone());
        events.push(ConnectionEvent {
            number: self.number,
            ended: None,
        });
    }

    fn turn(
        &mut self,
        is_connected: bool,
        ended: Option<ConnectionEnd>,
        events: &mut Vec<ConnectionEvent>,
    ) {
        self.number.turn = self.number.turn.saturating_add(1);
        self.is_connected = is_connected;
        events.push(ConnectionEvent {
            number: self.number,
            ended,
        });
    }
}
