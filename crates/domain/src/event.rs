//! What happened, for whoever wants to know later: stored with the write it follows.

use bytes::Bytes;

use crate::id::{DeviceId, DeviceKey, HubName, ModuleId};
use crate::time::Timestamp;

/// Kinds of events, each a stream of its own (errors-limits.md §6, §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A device's own message.
    Telemetry,
    /// The outcome of a cloud-to-device message.
    Feedback,
    /// A twin was updated or replaced.
    TwinChange,
    /// An identity was created or deleted.
    DeviceLifecycle,
    /// A device connected or disconnected.
    Connection,
}

impl EventKind {
    /// Stable name, stored and used as the last part of the topic.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Feedback => "feedback",
            Self::TwinChange => "twin-changes",
            Self::DeviceLifecycle => "device-lifecycle",
            Self::Connection => "connection-events",
        }
    }

    /// Reads the name of [`Self::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::Telemetry,
            Self::Feedback,
            Self::TwinChange,
            Self::DeviceLifecycle,
            Self::Connection,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == name)
    }
}

/// One event of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Stable id; repeating an append with it is harmless.
    pub id: [u8; 16],
    /// The tenant.
    pub hub: HubName,
    /// Key of the identity.
    pub device_key: DeviceKey,
    /// The device.
    pub device: DeviceId,
    /// The module, if it was one.
    pub module: Option<ModuleId>,
    /// What kind.
    pub kind: EventKind,
    /// When the hub saw it.
    pub at: Timestamp,
    /// System and application properties in order.
    pub properties: Vec<(String, String)>,
    /// The payload.
    pub body: Bytes,
}
