//! Who is connected where.

mod record;

pub use record::{
    ChangeNumber, ConnectionEnd, ConnectionEvent, ConnectionRecord, ConnectionReport,
};

use crate::id::{ConnectionId, GatewayId};

/// Order of two connections of one device: the higher one wins, whatever any clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseEpoch(pub u64);

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT 3.1.1 over TLS.
    Mqtt,
    /// MQTT 3.1.1 over WebSocket.
    MqttWs,
    /// AMQP 1.0 over TLS.
    Amqp,
    /// AMQP 1.0 over WebSocket.
    AmqpWs,
}

/// Which kinds of push a connection has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each member is an independent claim about the connection"
)]
pub struct Subscriptions {
    /// Wants cloud-to-device messages.
    pub c2d: bool,
    /// Answers direct methods.
    pub methods: bool,
    /// Wants changes of desired properties.
    pub desired: bool,
    /// Wants replies to its twin requests.
    pub twin_replies: bool,
}

/// Where a device is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The gateway that holds the connection.
    pub gateway: GatewayId,
    /// The connection on that gateway.
    pub connection: ConnectionId,
    /// Order among the device's connections.
    pub epoch: LeaseEpoch,
    /// What it speaks.
    pub protocol: Protocol,
    /// What it asked for.
    pub subscriptions: Subscriptions,
}

/// Why the hub ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// A newer connection of the same identity took over.
    Superseded,
    /// The identity was deleted.
    Deleted,
    /// The identity was disabled.
    Disabled,
    /// A key of the identity is gone, perhaps the one that authenticated the connection; see
    /// [`Device::find_revocation`](crate::device::Device::find_revocation).
    KeysChanged,
    /// The gateway is going away.
    Draining,
}
