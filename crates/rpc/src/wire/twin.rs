//! Calls of the twin service: identities, twins, sessions.

use downlink_domain::device::{
    Authentication, Device, DeviceSpec, DeviceStatus, IfMatch, SymmetricKeys,
};
use downlink_domain::id::{DeviceKey, GenerationId, IdentityName};
use downlink_domain::twin::{Section, Twin, TwinChange};
use downlink_ports::TwinView;
use downlink_proto::v1;
use downlink_proto::v1::authentication::Method;
use downlink_proto::v1::update_twin_request::Change;

use super::{FromWire, ToWire, WireError, instant, object_from_wire, object_to_wire, present};

impl ToWire for DeviceStatus {
    type Wire = v1::DeviceStatus;

    fn to_wire(self) -> v1::DeviceStatus {
        match self {
            Self::Enabled => v1::DeviceStatus::Enabled,
            Self::Disabled => v1::DeviceStatus::Disabled,
        }
    }
}

impl FromWire<v1::DeviceStatus> for DeviceStatus {
    fn from_wire(wire: v1::DeviceStatus) -> Result<Self, WireError> {
        match wire {
            v1::DeviceStatus::Unspecified => Err(WireError::Unknown("status")),
            v1::DeviceStatus::Enabled => Ok(Self::Enabled),
            v1::DeviceStatus::Disabled => Ok(Self::Disabled),
        }
    }
}

impl ToWire for Authentication {
    type Wire = Option<v1::Authentication>;

    fn to_wire(self) -> Option<v1::Authentication> {
        let method = match self {
            Self::Sas(keys) => Method::Sas(v1::SymmetricKeys {
                primary: keys.primary.into(),
                secondary: keys.secondary.into(),
            }),
            Self::SelfSigned { primary, secondary } => {
                Method::SelfSigned(v1::Thumbprints { primary, secondary })
            }
            Self::CertificateAuthority => Method::CertificateAuthority(true),
            Self::None => Method::None(true),
        };
        Some(v1::Authentication {
            method: Some(method),
        })
    }
}

impl FromWire<Option<v1::Authentication>> for Authentication {
    fn from_wire(wire: Option<v1::Authentication>) -> Result<Self, WireError> {
        let method = wire.and_then(|wire| wire.method);
        Ok(match present("authentication", method)? {
            Method::Sas(keys) => Self::Sas(SymmetricKeys {
                primary: keys.primary.into(),
                secondary: keys.secondary.into(),
            }),
            Method::SelfSigned(thumbprints) => Self::SelfSigned {
                primary: thumbprints.primary,
                secondary: thumbprints.secondary,
            },
            Method::CertificateAuthority(_) => Self::CertificateAuthority,
            Method::None(_) => Self::None,
        })
    }
}

impl ToWire for Device {
    type Wire = v1::Device;

    fn to_wire(self) -> v1::Device {
        v1::Device {
            device_key: self.key.0,
            hub: self.hub.to_string(),
            name: Some(self.name.to_wire()),
            generation: self.generation.0,
            etag: self.etag,
            status: self.status.to_wire().into(),
            status_reason: self.status_reason,
            status_updated_at: self.status_updated_at.as_millis(),
            authentication: self.authentication.to_wire(),
            is_edge: self.is_edge,
            connection_state_updated_at: self.connection_state_updated_at.as_millis(),
            last_activity_at: self.last_activity_at.as_millis(),
            is_connected: self.is_connected,
            model_id: self.model_id,
            managed_by: self.managed_by,
            device_scope: self.device_scope,
            parent_scopes: self.parent_scopes,
        }
    }
}

impl FromWire<v1::Device> for Device {
    fn from_wire(wire: v1::Device) -> Result<Self, WireError> {
        Ok(Self {
            key: DeviceKey(wire.device_key),
            hub: wire.hub.parse()?,
            status: DeviceStatus::from_wire(wire.status())?,
            name: IdentityName::from_wire(wire.name)?,
            generation: GenerationId(wire.generation),
            etag: wire.etag,
            status_reason: wire.status_reason,
            status_updated_at: instant("status_updated_at", wire.status_updated_at)?,
            authentication: Authentication::from_wire(wire.authentication)?,
            is_edge: wire.is_edge,
            connection_state_updated_at: instant(
                "connection_state_updated_at",
                wire.connection_state_updated_at,
            )?,
            last_activity_at: instant("last_activity_at", wire.last_activity_at)?,
            is_connected: wire.is_connected,
            model_id: wire.model_id,
            managed_by: wire.managed_by,
            device_scope: wire.device_scope,
            parent_scopes: wire.parent_scopes,
        })
    }
}

/// The spec of a request; its rules are the registry's to check.
pub(crate) fn spec(wire: v1::PutDeviceRequest) -> Result<DeviceSpec, WireError> {
    Ok(DeviceSpec {
        status: DeviceStatus::from_wire(wire.status())?,
        status_reason: wire.status_reason,
        authentication: Authentication::from_wire(wire.authentication)?,
        is_edge: wire.is_edge,
        managed_by: wire.managed_by,
        device_scope: wire.device_scope,
        parent_scopes: wire.parent_scopes,
    })
}

impl ToWire for &Section {
    type Wire = Option<v1::TwinSection>;

    fn to_wire(self) -> Option<v1::TwinSection> {
        Some(v1::TwinSection {
            values: object_to_wire(&self.values),
            metadata: object_to_wire(&self.metadata),
            version: self.version,
        })
    }
}

impl FromWire<Option<v1::TwinSection>> for Section {
    fn from_wire(wire: Option<v1::TwinSection>) -> Result<Self, WireError> {
        let wire = present("section", wire)?;
        Ok(Self {
            values: object_from_wire("values", &wire.values)?,
            metadata: object_from_wire("metadata", &wire.metadata)?,
            version: wire.version,
        })
    }
}

impl ToWire for &Twin {
    type Wire = v1::Twin;

    fn to_wire(self) -> v1::Twin {
        v1::Twin {
            tags: object_to_wire(&self.tags),
            desired: self.desired.to_wire(),
            reported: self.reported.to_wire(),
            etag: self.etag,
            version: self.version,
        }
    }
}

impl FromWire<Option<v1::Twin>> for Twin {
    fn from_wire(wire: Option<v1::Twin>) -> Result<Self, WireError> {
        let wire = present("twin", wire)?;
        Ok(Self {
            tags: object_from_wire("tags", &wire.tags)?,
            desired: Section::from_wire(wire.desired)?,
            reported: Section::from_wire(wire.reported)?,
            etag: wire.etag,
            version: wire.version,
        })
    }
}

/// Device and twin of a reply.
pub(crate) fn view(
    device: Option<v1::Device>,
    twin: Option<v1::Twin>,
) -> Result<TwinView, WireError> {
    Ok(TwinView {
        device: Device::from_wire(present("device", device)?)?,
        twin: Twin::from_wire(twin)?,
    })
}

/// A service's change as condition and body; `None` for a device's own write, which has a call of
/// its own.
pub(crate) fn change_to_wire(change: &TwinChange) -> Option<(Option<v1::IfMatch>, Change)> {
    match change {
        TwinChange::Patch {
            tags,
            desired,
            if_match,
        } => {
            let patch = v1::TwinPatch {
                tags: tags.as_ref().map(object_to_wire),
                desired: desired.as_ref().map(object_to_wire),
            };
            Some((if_match.clone().to_wire(), Change::Patch(patch)))
        }
        TwinChange::Replace {
            tags,
            desired,
            if_match,
        } => {
            let replacement = v1::TwinReplacement {
                tags: object_to_wire(tags),
                desired: object_to_wire(desired),
            };
            Some((if_match.clone().to_wire(), Change::Replacement(replacement)))
        }
        TwinChange::Report { .. } => None,
    }
}

/// A service's change from condition and body.
pub(crate) fn change_from_wire(
    if_match: Option<v1::IfMatch>,
    change: Option<Change>,
) -> Result<TwinChange, WireError> {
    let if_match = IfMatch::from_wire(if_match)?;
    let section = |field, text: Option<bytes::Bytes>| {
        text.map(|text| object_from_wire(field, &text)).transpose()
    };
    match present("change", change)? {
        Change::Patch(patch) => Ok(TwinChange::Patch {
            tags: section("tags", patch.tags)?,
            desired: section("desired", patch.desired)?,
            if_match,
        }),
        Change::Replacement(replacement) => Ok(TwinChange::Replace {
            tags: object_from_wire("tags", &replacement.tags)?,
            desired: object_from_wire("desired", &replacement.desired)?,
            if_match,
        }),
    }
}
