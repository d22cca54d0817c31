//! Telemetry of a device, stamped with who sent it (mqtt.md §9).

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device};
use downlink_domain::event::{Event, EventKind};
use downlink_ports::IdSource;

use crate::authenticate::CredentialId;

/// A device's message before it is stamped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// System and application properties by their stored names, in the device's order.
    pub properties: Vec<(String, String)>,
    /// The payload.
    pub body: Bytes,
}

/// What the hub says about the sender; a device's own claim of any of it is dropped.
#[derive(Clone, Debug)]
pub struct Stamp {
    auth_method: &'static str,
    model_id: Option<Box<str>>,
    credential: CredentialId,
}

const STAMPED: [&str; 7] = [
    "iothub-connection-device-id",
    "iothub-connection-module-id",
    "iothub-connection-auth-generation-id",
    "iothub-connection-auth-method",
    "iothub-enqueuedtime",
    "iothub-message-source",
    "dt-dataschema",
];

impl Stamp {
    /// Makes the stamp of a connection that proved itself by `by`, with the model it announced.
    pub fn new(device: &Device, by: StampedBy, model_id: Option<Box<str>>) -> Self {
        let auth_method = match (&device.authentication, by, &device.name.module) {
            (Authentication::Sas(_), StampedBy::Policy(_), _) => {
                r#"{"scope":"hub","type":"sas","issuer":"iothub"}"#
            }
            (Authentication::Sas(_), StampedBy::Identity, None) => {
                r#"{"scope":"device","type":"sas","issuer":"iothub"}"#
            }
            (Authentication::Sas(_), StampedBy::Identity, Some(_)) => {
                r#"{"scope":"module","type":"sas","issuer":"iothub"}"#
            }
            (_, _, None) => r#"{"scope":"device","type":"x509","issuer":"external"}"#,
            (_, _, Some(_)) => r#"{"scope":"module","type":"x509","issuer":"external"}"#,
        };
        Self {
            auth_method,
            model_id,
            credential: by.credential(),
        }
    }

    /// By what the connection lives.
    pub(super) fn credential(&self) -> CredentialId {
        self.credential
    }

    /// Makes the event of a message received at `now`.
    pub(crate) fn event(
        &self,
        device: &Device,
        telemetry: Telemetry,
        ids: &dyn IdSource,
        now: Timestamp,
    ) -> Event {
        let mut properties = telemetry.properties;
        properties.retain(|(name, _)| !is_stamped(name));
        let mut stamp = |name: &str, value: String| properties.push((name.to_owned(), value));
        stamp(
            "iothub-connection-device-id",
            device.name.device.to_string(),
        );
        if let Some(module) = &device.name.module {
            stamp("iothub-connection-module-id", module.to_string());
        }
        stamp(
            "iothub-connection-auth-generation-id",
            device.generation.to_string(),
        );
        stamp("iothub-connection-auth-method", self.auth_method.to_owned());
        stamp("iothub-enqueuedtime", now.to_string());
        if let Some(model) = &self.model_id {
            stamp("dt-dataschema", model.to_string());
        }
        Event {
            id: ids.record_id(now),
            hub: device.hub.clone(),
            device_key: device.key,
            device: Some(device.name.device.clone()),
            module: device.name.module.clone(),
            kind: EventKind::Telemetry,
            at: now,
            properties,
            body: telemetry.body,
        }
    }
}

/// Tells whether only the hub may say this; readers do not mind the case of letters.
fn is_stamped(name: &str) -> bool {
    STAMPED
        .iter()
        .any(|stamped| stamped.eq_ignore_ascii_case(name))
}

/// By what a connection proved whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampedBy {
    /// A key or a thumbprint of the identity's own.
    Identity,
    /// A key of a shared access policy.
    Policy(CredentialId),
    /// A certificate of an authority.
    Authority(CredentialId),
}

impl StampedBy {
    /// By what the connection lives.
    pub fn credential(self) -> CredentialId {
        match self {
            Self::Identity => CredentialId::OWN,
            Self::Policy(credential) | Self::Authority(credential) => credential,
        }
    }
}
