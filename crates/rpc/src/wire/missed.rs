//! Changes of desired that a device was not there for.

use downlink_domain::id::DeviceKey;
use downlink_ports::{MissedChanges, Since};
use downlink_proto::v1;

use super::{FromWire, ToWire, WireError};

impl ToWire for (DeviceKey, Since) {
    type Wire = v1::MissedChangesCall;

    fn to_wire(self) -> v1::MissedChangesCall {
        let (device, since) = self;
        v1::MissedChangesCall {
            device_key: device.0,
            since_version: match since {
                Since::Version(version) => Some(version),
                Since::LastTold | Since::Now => None,
            },
            is_last_told: since == Since::LastTold,
        }
    }
}

impl FromWire<v1::MissedChangesCall> for (DeviceKey, Since) {
    fn from_wire(wire: v1::MissedChangesCall) -> Result<Self, WireError> {
        let since = match (wire.since_version, wire.is_last_told) {
            (Some(version), _) => Since::Version(version),
            (None, true) => Since::LastTold,
            (None, false) => Since::Now,
        };
        Ok((DeviceKey(wire.device_key), since))
    }
}

impl ToWire for MissedChanges {
    type Wire = v1::MissedChangesReply;

    fn to_wire(self) -> v1::MissedChangesReply {
        let changes = self.changes.into_iter();
        v1::MissedChangesReply {
            version: self.version,
            changes: changes
                .map(|(version, body)| v1::MissedChange { version, body })
                .collect(),
        }
    }
}

impl FromWire<v1::MissedChangesReply> for MissedChanges {
    fn from_wire(wire: v1::MissedChangesReply) -> Result<Self, WireError> {
        let changes = wire.changes.into_iter();
        Ok(Self {
            version: wire.version,
            changes: changes
                .map(|change| (change.version, change.body))
                .collect(),
        })
    }
}
