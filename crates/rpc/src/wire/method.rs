//! Calls of the method-router service.

use std::time::Duration;

use downlink_domain::id::{DeviceKey, IdentityName};
use downlink_domain::method::{MethodCall, MethodTimeouts};
use downlink_proto::v1;

use super::{FromWire, ToWire, WireError, millis};

impl ToWire for MethodCall {
    type Wire = v1::InvokeMethodCall;

    fn to_wire(self) -> v1::InvokeMethodCall {
        v1::InvokeMethodCall {
            hub: self.hub.to_string(),
            target: Some(self.target.to_wire()),
            device_key: self.device.0,
            name: self.name.to_string(),
            payload: self.payload,
            connect_timeout_millis: millis(self.timeouts.connect()),
            response_timeout_millis: millis(self.timeouts.response()),
        }
    }
}

impl FromWire<v1::InvokeMethodCall> for MethodCall {
    fn from_wire(wire: v1::InvokeMethodCall) -> Result<Self, WireError> {
        let connect = Duration::from_millis(wire.connect_timeout_millis.into());
        let response = Duration::from_millis(wire.response_timeout_millis.into());
        Ok(Self {
            hub: wire.hub.parse()?,
            target: IdentityName::from_wire(wire.target)?,
            device: DeviceKey(wire.device_key),
            name: wire.name.parse()?,
            payload: wire.payload,
            timeouts: MethodTimeouts::new(connect, response)?,
        })
    }
}
