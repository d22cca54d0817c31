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
    /// Somebody changed the hub's administration, or was refused.
    Audit,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Telemetry,
        Self::Feedback,
        Self::TwinChange,
        Self::DeviceLifecycle,
        Self::Connection,
        Self::Audit,
    ];

    /// Stable name, stored and used as the last part of the topic.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Feedback => "feedback",
            Self::TwinChange => "twin-changes",
            Self::DeviceLifecycle => "device-lifecycle",
            Self::Connection => "connection-events",
            Self::Audit => "audit",
        }
    }

    /// Reads the name of [`Self::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One event, of an identity or of the hub itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Stable id; repeating an append with it is harmless.
    pub id: [u8; 16],
    /// The tenant.
    pub hub: HubName,
    /// Key of the identity; [`Self::HUB_KEY`] for what concerns the hub.
    pub device_key: DeviceKey,
    /// The device; `None` for what concerns the hub.
    pub device: Option<DeviceId>,
    /// The module, if it was one; never without a device.
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

impl Event {
    /// Stands for the key of an identity in an event of the hub itself; no identity has it.
    pub const HUB_KEY: DeviceKey = DeviceKey(0);
}
