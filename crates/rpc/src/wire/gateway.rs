//! Calls of a gateway.

use std::time::Duration;

use downlink_domain::id::DeviceKey;
use downlink_domain::presence::{DisconnectReason, LeaseEpoch};
use downlink_ports::{Disconnect, MethodDelivery, Notify};
use downlink_proto::v1;

use super::{FromWire, ToWire, WireError, millis};

impl ToWire for MethodDelivery {
    type Wire = v1::DeliverMethodCall;

    fn to_wire(self) -> v1::DeliverMethodCall {
        v1::DeliverMethodCall {
            device_key: self.device.0,
            epoch: self.epoch.0,
            name: self.name.to_string(),
            payload: self.payload,
            timeout_millis: millis(self.timeout),
        }
    }
}

impl FromWire<v1::DeliverMethodCall> for MethodDelivery {
    fn from_wire(wire: v1::DeliverMethodCall) -> Result<Self, WireError> {
        Ok(Self {
            device: DeviceKey(wire.device_key),
            epoch: LeaseEpoch(wire.epoch),
            name: wire.name.parse()?,
            payload: wire.payload,
            timeout: Duration::from_millis(wire.timeout_millis.into()),
        })
    }
}

impl ToWire for Notify {
    type Wire = v1::DesiredChange;

    fn to_wire(self) -> v1::DesiredChange {
        v1::DesiredChange {
            device_key: self.device.0,
            version: self.version,
            body: self.body,
        }
    }
}

impl FromWire<v1::DesiredChange> for Notify {
    fn from_wire(wire: v1::DesiredChange) -> Result<Self, WireError> {
        Ok(Self {
            device: DeviceKey(wire.device_key),
            version: wire.version,
            body: wire.body,
        })
    }
}

impl ToWire for Disconnect {
    type Wire = v1::DisconnectOrder;

    fn to_wire(self) -> v1::DisconnectOrder {
        let reason = match self.reason {
            DisconnectReason::Superseded => v1::DisconnectReason::Superseded,
            DisconnectReason::Deleted => v1::DisconnectReason::Deleted,
            DisconnectReason::Disabled => v1::DisconnectReason::Disabled,
            DisconnectReason::KeysChanged => v1::DisconnectReason::KeysChanged,
            DisconnectReason::Draining => v1::DisconnectReason::Draining,
        };
        v1::DisconnectOrder {
            device_key: self.device.0,
            up_to_epoch: self.up_to.0,
            reason: reason.into(),
        }
    }
}

impl FromWire<v1::DisconnectOrder> for Disconnect {
    fn from_wire(wire: v1::DisconnectOrder) -> Result<Self, WireError> {
        let reason = match wire.reason() {
            v1::DisconnectReason::Unspecified => return Err(WireError::Unknown("reason")),
            v1::DisconnectReason::Superseded => DisconnectReason::Superseded,
            v1::DisconnectReason::Deleted => DisconnectReason::Deleted,
            v1::DisconnectReason::Disabled => DisconnectReason::Disabled,
            v1::DisconnectReason::KeysChanged => DisconnectReason::KeysChanged,
            v1::DisconnectReason::Draining => DisconnectReason::Draining,
        };
        Ok(Self {
            device: DeviceKey(wire.device_key),
            up_to: LeaseEpoch(wire.up_to_epoch),
            reason,
        })
    }
}
