//! Messages to the cloud (mqtt.md §9) and the will, which becomes one (§2.4).

use bytes::Bytes;

use crate::error::Violation;
use crate::identity::ClientIdentity;
use crate::limits::MAX_MESSAGE_BYTES;
use crate::packet::{ConnectWill, Publish, Qos};
use crate::property_bag::PropertyBag;
use crate::topic::DeviceTopic;

/// A message to the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// System (`$.…`) and application properties.
    ///
    /// `mqtt-dup` and `mqtt-retain` say which flags the publish had; `$.cdid` and `$.cmid` are the connection's own
    /// identity wherever the device wrote them.
    pub properties: PropertyBag,
    /// The content.
    pub payload: Bytes,
}

/// A will, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    telemetry: Telemetry,
}

impl Telemetry {
    /// Makes a message of a publish to the telemetry topic with this bag.
    ///
    /// # Errors
    /// [`Violation::PropertyBag`], [`Violation::MessageTooLarge`].
    pub(crate) fn from_publish(
        bag: &str,
        publish: &Publish,
        identity: &ClientIdentity,
        max_bytes: usize,
    ) -> Result<Self, Violation> {
        let mut telemetry = Self::checked(bag, publish.payload.clone(), identity, max_bytes)?;
        if publish.delivery.is_dup() {
            telemetry.properties.set("mqtt-dup", "true");
        }
        if publish.retain {
            telemetry.properties.set("mqtt-retain", "true");
        }
        Ok(telemetry)
    }

    fn checked(
        bag: &str,
        payload: Bytes,
        identity: &ClientIdentity,
        max_bytes: usize,
    ) -> Result<Self, Violation> {
        let mut properties = PropertyBag::parse(bag)?;
        let bytes = properties.content_bytes().saturating_add(payload.len());
        if bytes > max_bytes {
            return Err(Violation::MessageTooLarge { bytes });
        }
        if properties.get("$.cdid").is_some() {
            properties.set("$.cdid", identity.device_id());
        }
        if properties.get("$.cmid").is_some() {
            properties.set("$.cmid", identity.module_id().unwrap_or_default());
        }
        Ok(Self {
            properties,
            payload,
        })
    }
}

impl Will {
    /// Checks the will of a CONNECT; retain is not honoured.
    ///
    /// # Errors
    /// [`Violation::ForeignTopic`] for any topic but the sender's telemetry topic and for quality of service 2, and
    /// whatever a publish to that topic would break.
    pub(crate) fn from_connect(
        will: ConnectWill,
        identity: &ClientIdentity,
    ) -> Result<Self, Violation> {
        let DeviceTopic::Telemetry { bag } = DeviceTopic::parse(&will.topic, identity)? else {
            return Err(Violation::ForeignTopic);
        };
        if will.qos == Qos::ExactlyOnce {
            return Err(Violation::ForeignTopic);
        }
        let mut telemetry = Telemetry::checked(bag, will.payload, identity, MAX_MESSAGE_BYTES)?;
        telemetry.properties.set("iothub-MessageType", "Will");
        Ok(Self { telemetry })
    }

    /// Returns the message to publish, marked as a will.
    pub fn into_telemetry(self) -> Telemetry {
        self.telemetry
    }
}
