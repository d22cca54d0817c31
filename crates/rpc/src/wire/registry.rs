//! Calls about many identities.

use bytes::Bytes;
use downlink_domain::device::{Authentication, Device, DeviceSpec, DeviceStatus, IfMatch};
use downlink_domain::id::IdentityName;
use downlink_domain::twin::Object;
use downlink_ports::{ItemChange, ItemOutcome, RegistryItem, RotatedKeys};
use downlink_proto::v1;
use downlink_proto::v1::authentication::Method;
use downlink_proto::v1::item_outcome::Outcome;
use downlink_proto::v1::registry_item::Change;

use super::{FromWire, ToWire, WireError, object_from_wire, object_to_wire, present};
use crate::failure::{from_failure, to_failure};

impl ToWire for DeviceSpec {
    type Wire = Option<v1::IdentitySpec>;

    fn to_wire(self) -> Option<v1::IdentitySpec> {
        Some(v1::IdentitySpec {
            status: self.status.to_wire().into(),
            status_reason: self.status_reason,
            authentication: self.authentication.to_wire(),
            is_edge: self.is_edge,
            managed_by: self.managed_by,
            device_scope: self.device_scope,
            parent_scopes: self.parent_scopes,
        })
    }
}

impl FromWire<Option<v1::IdentitySpec>> for DeviceSpec {
    fn from_wire(wire: Option<v1::IdentitySpec>) -> Result<Self, WireError> {
        let wire = present("spec", wire)?;
        Ok(Self {
            status: DeviceStatus::from_wire(wire.status())?,
            status_reason: wire.status_reason,
            authentication: Authentication::from_wire(wire.authentication)?,
            is_edge: wire.is_edge,
            managed_by: wire.managed_by,
            device_scope: wire.device_scope,
            parent_scopes: wire.parent_scopes,
        })
    }
}

impl ToWire for RotatedKeys {
    type Wire = v1::KeyChoice;

    fn to_wire(self) -> v1::KeyChoice {
        match self {
            Self::Primary => v1::KeyChoice::Primary,
            Self::Secondary => v1::KeyChoice::Secondary,
            Self::Both => v1::KeyChoice::Both,
        }
    }
}

impl FromWire<v1::KeyChoice> for RotatedKeys {
    fn from_wire(wire: v1::KeyChoice) -> Result<Self, WireError> {
        match wire {
            v1::KeyChoice::Unspecified => Err(WireError::Unknown("choice")),
            v1::KeyChoice::Primary => Ok(Self::Primary),
            v1::KeyChoice::Secondary => Ok(Self::Secondary),
            v1::KeyChoice::Both => Ok(Self::Both),
        }
    }
}

impl ToWire for RegistryItem {
    type Wire = v1::RegistryItem;

    fn to_wire(self) -> v1::RegistryItem {
        let change = match self.change {
            ItemChange::Create {
                spec,
                tags,
                desired,
            } => Change::Create(v1::CreateIdentity {
                spec: spec.to_wire(),
                tags: object_to_wire(&tags),
                desired: object_to_wire(&desired),
            }),
            ItemChange::Replace { spec, if_match } => Change::Replace(v1::ReplaceIdentity {
                spec: spec.to_wire(),
                if_match: if_match.to_wire(),
            }),
            ItemChange::Delete { if_match } => Change::Delete(v1::DeleteIdentity {
                if_match: if_match.to_wire(),
            }),
            ItemChange::RotateKeys { keys, fresh } => {
                let mut rotation = v1::RotateKeys {
                    fresh: Some(v1::SymmetricKeys {
                        primary: fresh.primary.into(),
                        secondary: fresh.secondary.into(),
                    }),
                    ..v1::RotateKeys::default()
                };
                rotation.set_choice(keys.to_wire());
                Change::RotateKeys(rotation)
            }
            ItemChange::PatchTwin {
                tags,
                desired,
                if_match,
            } => Change::PatchTwin(v1::PatchTwin {
                tags: tags.as_ref().map(object_to_wire),
                desired: desired.as_ref().map(object_to_wire),
                if_match: if_match.to_wire(),
            }),
        };
        v1::RegistryItem {
            name: Some(self.name.to_wire()),
            change: Some(change),
        }
    }
}

impl FromWire<v1::RegistryItem> for RegistryItem {
    fn from_wire(wire: v1::RegistryItem) -> Result<Self, WireError> {
        let change = match present("change", wire.change)? {
            Change::Create(create) => ItemChange::Create {
                spec: DeviceSpec::from_wire(create.spec)?,
                tags: object_from_wire("tags", &create.tags)?,
                desired: object_from_wire("desired", &create.desired)?,
            },
            Change::Replace(replace) => ItemChange::Replace {
                spec: DeviceSpec::from_wire(replace.spec)?,
                if_match: IfMatch::from_wire(replace.if_match)?,
            },
            Change::Delete(delete) => ItemChange::Delete {
                if_match: IfMatch::from_wire(delete.if_match)?,
            },
            Change::RotateKeys(rotation) => ItemChange::RotateKeys {
                keys: RotatedKeys::from_wire(rotation.choice())?,
                fresh: keys(rotation.fresh)?,
            },
            Change::PatchTwin(patch) => ItemChange::PatchTwin {
                tags: section("tags", patch.tags)?,
                desired: section("desired", patch.desired)?,
                if_match: IfMatch::from_wire(patch.if_match)?,
            },
        };
        Ok(Self {
            name: IdentityName::from_wire(wire.name)?,
            change,
        })
    }
}

fn keys(
    wire: Option<v1::SymmetricKeys>,
) -> Result<downlink_domain::device::SymmetricKeys, WireError> {
    let fresh = present("fresh", wire)?;
    let wire = v1::Authentication {
        method: Some(Method::Sas(fresh)),
    };
    match Authentication::from_wire(Some(wire))? {
        Authentication::Sas(keys) => Ok(keys),
        Authentication::SelfSigned { .. }
        | Authentication::CertificateAuthority
        | Authentication::None => Err(WireError::Missing("fresh")),
    }
}

fn section(field: &'static str, text: Option<Bytes>) -> Result<Option<Object>, WireError> {
    text.map(|text| object_from_wire(field, &text)).transpose()
}

/// What became of an item, on its way out.
pub(crate) fn outcome_to_wire(outcome: ItemOutcome) -> v1::ItemOutcome {
    let outcome = match outcome {
        Ok(device) => Outcome::Device(device.to_wire()),
        Err(error) => Outcome::Failure(to_failure(error)),
    };
    v1::ItemOutcome {
        outcome: Some(outcome),
    }
}

/// What became of an item, as `service` tells it.
pub(crate) fn outcome_from_wire(
    service: &'static str,
    wire: v1::ItemOutcome,
) -> Result<ItemOutcome, WireError> {
    Ok(match present("outcome", wire.outcome)? {
        Outcome::Device(device) => Ok(Device::from_wire(device)?),
        Outcome::Failure(failure) => Err(from_failure(service, failure)),
    })
}
