//! Where things lie: keys and channels.

use downlink_domain::id::{DeviceKey, GatewayId, HubName};

/// Names of everything kept under one prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    /// When each lease ends, by gateway.
    pub(crate) lease_ends: String,
    /// What each gateway says of itself.
    pub(crate) lease_details: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            lease_ends: format!("{prefix}:{{leases}}:ends"),
            lease_details: format!("{prefix}:{{leases}}:details"),
        }
    }

    /// The route of a device, and the channel on which its changes are told: same name, same slot.
    pub(crate) fn route(&self, device: DeviceKey) -> String {
        format!("{}:{{{device}}}", self.prefix)
    }

    /// The device of a channel.
    pub(crate) fn device(&self, channel: &[u8]) -> Option<DeviceKey> {
        let rest = channel.strip_prefix(self.prefix.as_bytes())?;
        let digits = rest.strip_prefix(b":{")?.strip_suffix(b"}")?;
        Some(DeviceKey(std::str::from_utf8(digits).ok()?.parse().ok()?))
    }

    /// That a device has polled, beside its route.
    pub(crate) fn poll(&self, device: DeviceKey) -> String {
        format!("{}:{{{device}}}:poll", self.prefix)
    }

    /// When each gateway's word on the rates of a hub ends, and what it wants: one slot.
    pub(crate) fn rates(&self, hub: &HubName) -> [String; 2] {
        ["ends", "wants"].map(|kind| format!("{}:{{rates {hub}}}:{kind}", self.prefix))
    }

    /// A key of the gateway that lies where `tag` does: while it is there, that server was not
    /// emptied.
    pub(crate) fn witness(&self, tag: u32, gateway: &GatewayId) -> String {
        format!("{}:{{{tag}}}:witness:{gateway}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_names_its_device_and_nothing_else_does() {
        let keys = Keys::new("downlink");
        for device in [DeviceKey(0), DeviceKey(7), DeviceKey(i64::MAX)] {
            let channel = keys.route(device);
            assert_eq!(keys.device(channel.as_bytes()), Some(device));
        }
        for other in [
            "downlink:{}",
            "downlink:{7",
            "downlink:{7}:poll",
            "other:{7}",
            "downlink:{x}",
            "",
        ] {
            assert_eq!(keys.device(other.as_bytes()), None, "{other}");
        }
    }
}
