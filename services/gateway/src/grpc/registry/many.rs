//! Modules, and many identities at once (registry.md §3, §4).

use downlink_domain::ErrorCode;
use downlink_domain::access::Action;
use downlink_domain::device::DeviceSpec;
use downlink_domain::id::{IdentityName, ModuleId};
use downlink_domain::twin::Object;
use downlink_ports::{IdSource, ItemChange, MAX_REGISTRY_ITEMS, RotatedKeys};
use downlink_proto::api::v1;
use downlink_proto::api::v1::registry_write::Change;
use downlink_proto::api::v1::registry_written::Outcome;

use super::{read_spec, to_wire};
use crate::grpc::Api;
use crate::grpc::call::Call;
use crate::grpc::commands::device_id;
use crate::grpc::status;
use crate::grpc::twins::if_match;
use crate::https::error::ApiError;
use crate::https::{facts, identity};
use crate::identities::{self, Asked, Caller};

impl Api {
    /// The modules of a device that is there.
    pub(super) async fn modules(
        &self,
        call: &Call,
        device: &str,
    ) -> Result<Vec<v1::Device>, ApiError> {
        self.check(call, Action::DevicesRead, device).await?;
        let found = super::find(&self.shared, device).await?;
        let peers = &self.shared.peers;
        let (hub, id) = (found.hub, found.name.device);
        let modules = peers.registry.list_modules(hub, id).await?;
        let keys = modules.iter().map(|module| module.key).collect();
        let facts = facts::ask(peers, keys).await?;
        let modules = modules.into_iter().zip(facts);
        Ok(modules
            .map(|(module, facts)| to_wire(module, facts))
            .collect())
    }

    /// What became of each write, by position.
    pub(super) async fn write_many(
        &self,
        call: &Call,
        writes: Vec<v1::RegistryWrite>,
    ) -> Result<Vec<v1::RegistryWritten>, ApiError> {
        let may = |action| call.authorize_any(&self.shared, action, &["devices"]);
        may(Action::DevicesWrite)
            .or_else(|denied| may(Action::DevicesDelete).map_err(|_| denied))?;
        if writes.len() > MAX_REGISTRY_ITEMS {
            let text = format!("a call has at most {MAX_REGISTRY_ITEMS} writes");
            return Err(ApiError::new(ErrorCode::TooManyDevices, text));
        }
        let ids = &*self.shared.peers.ids;
        let asked: Vec<Asked> = writes.into_iter().map(|write| read(write, ids)).collect();
        let shown: Vec<Shown> = asked.iter().map(Shown::of).collect();
        let caller = Caller {
            principal: &call.principal,
            actor: call.actor(),
            origin: call.origin(),
        };
        let done = identities::write(&self.shared, caller, asked).await?;
        let written = done.into_iter().zip(shown);
        let written = written.map(|(outcome, shown)| v1::RegistryWritten {
            outcome: Some(match outcome {
                Ok(device) => {
                    Outcome::Device(shown.part_of(to_wire(device, facts::Facts::default())))
                }
                Err(error) => Outcome::Failure(status::failure(&error)),
            }),
        });
        Ok(written.collect())
    }
}

/// Which keys the answer to a write shows: those that its caller may know by the write itself.
enum Shown {
    All,
    None,
    Rotated(RotatedKeys),
}

impl Shown {
    fn of(asked: &Asked) -> Self {
        match asked {
            Ok((_, _, ItemChange::RotateKeys { keys, .. })) => Self::Rotated(*keys),
            Ok((_, _, ItemChange::Delete { .. })) => Self::None,
            Ok(_) | Err(_) => Self::All,
        }
    }

    fn part_of(self, mut device: v1::Device) -> v1::Device {
        use v1::authentication::Way;
        match self {
            Self::All | Self::Rotated(RotatedKeys::Both) => {}
            Self::None => device.authentication = None,
            Self::Rotated(rotated) => {
                if let Some(v1::Authentication {
                    way: Some(Way::SymmetricKeys(keys)),
                }) = &mut device.authentication
                {
                    match rotated {
                        RotatedKeys::Primary => keys.secondary.clear(),
                        RotatedKeys::Secondary => keys.primary.clear(),
                        RotatedKeys::Both => {}
                    }
                }
            }
        }
        device
    }
}

fn read(write: v1::RegistryWrite, ids: &dyn IdSource) -> Asked {
    let module = write.module_id.as_deref().map(str::parse::<ModuleId>);
    let module = module.transpose();
    let name = IdentityName {
        device: device_id(&write.device_id)?,
        module: module.map_err(|error| ApiError::invalid(&error))?,
    };
    let missing = || ApiError::invalid(&"a write must say what becomes of the identity");
    let (action, change) = match write.change.ok_or_else(missing)? {
        Change::Create(create) => (
            Action::DevicesWrite,
            ItemChange::Create {
                spec: spec(create.spec, ids)?,
                tags: Object::new(),
                desired: Object::new(),
            },
        ),
        Change::Update(update) => (
            Action::DevicesWrite,
            ItemChange::Replace {
                spec: spec(update.spec, ids)?,
                if_match: if_match(update.etag),
            },
        ),
        Change::Delete(delete) => (
            Action::DevicesDelete,
            ItemChange::Delete {
                if_match: if_match(delete.etag),
            },
        ),
        Change::RegenerateKeys(choice) => {
            let keys = match v1::KeyChoice::try_from(choice) {
                Ok(v1::KeyChoice::Unspecified | v1::KeyChoice::Both) => RotatedKeys::Both,
                Ok(v1::KeyChoice::Primary) => RotatedKeys::Primary,
                Ok(v1::KeyChoice::Secondary) => RotatedKeys::Secondary,
                Err(_) => return Err(ApiError::invalid(&"the choice of keys is unknown")),
            };
            let fresh = identity::mint(ids);
            (Action::DevicesWrite, ItemChange::RotateKeys { keys, fresh })
        }
    };
    Ok((name, action, change))
}

fn spec(spec: Option<v1::DeviceSpec>, ids: &dyn IdSource) -> Result<DeviceSpec, ApiError> {
    read_spec(spec.unwrap_or_default(), ids)
}
