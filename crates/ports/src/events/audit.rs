//! Records of who changed what in a hub's administration, and who was refused.
//!
//! The body has the envelope of a resource log (errors-limits.md §8); `docs/security.md` tells
//! consumers what stands in it. No record holds a token, a key or a certificate: there is no field
//! to put one into, and whoever adds details names them one by one.

use std::net::SocketAddr;

use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::device::Device;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::job::Job;
use downlink_domain::{ErrorCode, Timestamp};
use serde_json::{Value, json};

use crate::PurgeOrder;

use super::{described, event_id, pair, to_bytes, wrapper};

/// Longest credential of a record, in bytes; longer ones are cut.
pub const MAX_WHO_BYTES: usize = 512;
/// Longest target and longest detail of a record, in bytes; longer ones are cut.
pub const MAX_TEXT_BYTES: usize = 512;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What somebody did, or was refused to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum AuditOperation {
            $($(#[$doc])* $name,)*
        }

        impl AuditOperation {
            /// Every operation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in `operationName` and `opType`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

operations! {
    /// An identity of a device was created.
    CreateDevice = "createDeviceIdentity";
    /// It was replaced: its keys, its status or its flags.
    UpdateDevice = "updateDeviceIdentity";
    /// It was deleted, its modules with it.
    DeleteDevice = "deleteDeviceIdentity";
    /// An identity of a module was created.
    CreateModule = "createModuleIdentity";
    /// It was replaced.
    UpdateModule = "updateModuleIdentity";
    /// It was deleted.
    DeleteModule = "deleteModuleIdentity";
    /// The queue of a device was emptied.
    PurgeQueue = "purgeQueue";
    /// A shared access policy was created.
    CreatePolicy = "createPolicy";
    /// It was replaced: its keys, its permissions or its scope.
    UpdatePolicy = "updatePolicy";
    /// It was deleted.
    DeletePolicy = "deletePolicy";
    /// A certificate authority was registered.
    CreateAuthority = "createCertificateAuthority";
    /// It was written again: challenged, verified, replaced.
    UpdateAuthority = "updateCertificateAuthority";
    /// It was removed.
    DeleteAuthority = "deleteCertificateAuthority";
    /// Limits of the hub or of devices were stated otherwise.
    ChangeLimits = "changeLimits";
    /// A job was created.
    CreateJob = "createJob";
    /// It was cancelled.
    CancelJob = "cancelJob";
    /// A credential was presented.
    Authenticate = "authenticate";
    /// An operation was asked for with a credential that holds.
    Authorize = "authorize";
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It is done.
    Accepted,
    /// It was refused, with this code or the one closest to what the door answered.
    Refused(ErrorCode),
}

/// A change of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityWrite {
    /// It was created.
    Created,
    /// It was replaced.
    Replaced,
    /// It was deleted.
    Deleted,
}

/// One line of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Stable id of what is stored with a write; a fresh one otherwise.
    pub id: [u8; 16],
    /// The tenant.
    pub hub: HubName,
    /// When; for a record of several, when the last of them was.
    pub at: Timestamp,
    /// Who and from where.
    pub actor: Actor,
    /// What.
    pub operation: AuditOperation,
    /// To what: `devices/boiler-7`, `policies/service`, `certificates/plant-ca`, or as the caller
    /// named it; at most 512 bytes.
    pub target: String,
    /// The identity that is concerned; `None` when it is the hub or nobody knows whose it is.
    pub device: Option<(DeviceKey, IdentityName)>,
    /// With what outcome.
    pub outcome: AuditOutcome,
    /// More of it, in order, each at most 512 bytes. Never a secret.
    pub detail: Vec<(&'static str, String)>,
    /// How often it happened since the record before of the same; 1 for most.
    pub count: u32,
}

impl AuditRecord {
    /// The record of a written identity: `device` as it stands after the write, or as it stood
    /// before its deletion. To be stored with the write.
    pub fn of_identity(write: IdentityWrite, device: &Device, by: &Actor, at: Timestamp) -> Self {
        let is_module = device.name.module.is_some();
        let operation = match (write, is_module) {
            (IdentityWrite::Created, false) => AuditOperation::CreateDevice,
            (IdentityWrite::Replaced, false) => AuditOperation::UpdateDevice,
            (IdentityWrite::Deleted, false) => AuditOperation::DeleteDevice,
            (IdentityWrite::Created, true) => AuditOperation::CreateModule,
            (IdentityWrite::Replaced, true) => AuditOperation::UpdateModule,
            (IdentityWrite::Deleted, true) => AuditOperation::DeleteModule,
        };
        // Each write has an etag of its own; a deletion has that of the write before it.
        let counter = (device.etag << 1) | u64::from(write == IdentityWrite::Deleted);
        Self {
            id: event_id(EventKind::Audit, device.key, counter),
            hub: device.hub.clone(),
            at,
            actor: by.clone(),
            operation,
            target: identity_target(&device.name),
            device: Some((device.key, device.name.clone())),
            outcome: AuditOutcome::Accepted,
            detail: vec![("status", device.status.as_str().to_owned())],
            count: 1,
        }
    }

    /// The record of an emptied queue, of which `removed` messages are gone. To be stored with
    /// the purge.
    pub fn of_purge(order: &PurgeOrder, device: DeviceKey, removed: u64) -> Self {
        let name = IdentityName::from(order.device.clone());
        Self {
            id: order.audit_id,
            hub: order.hub.clone(),
            at: order.at,
            actor: order.by.clone(),
            operation: AuditOperation::PurgeQueue,
            target: identity_target(&name),
            device: Some((device, name)),
            outcome: AuditOutcome::Accepted,
            detail: vec![("removed", removed.to_string())],
            count: 1,
        }
    }

    /// The record of a written policy or authority called `name`; `version` is that of the hub's
    /// access after the write (`AccessSnapshot::version`), which no other write has. To be stored
    /// with it.
    pub fn of_access(
        operation: AuditOperation,
        hub: &HubName,
        name: &str,
        version: u64,
        by: &Actor,
        at: Timestamp,
    ) -> Self {
        let room = match operation {
            AuditOperation::CreateAuthority
            | AuditOperation::UpdateAuthority
            | AuditOperation::DeleteAuthority => "certificates",
            _ => "policies",
        };
        Self {
            id: hub_event_id(hub.as_str(), version),
            hub: hub.clone(),
            at,
            actor: by.clone(),
            operation,
            target: format!("{room}/{name}"),
            device: None,
            outcome: AuditOutcome::Accepted,
            detail: Vec::new(),
            count: 1,
        }
    }

    /// The record of a created or cancelled job. To be stored with the write.
    pub fn of_job(operation: AuditOperation, job: &Job, by: &Actor, at: Timestamp) -> Self {
        let is_end = operation == AuditOperation::CancelJob;
        let counter = (job.key.0.cast_unsigned() << 1) | u64::from(is_end);
        Self {
            // Jobs have numbers of their own, so they have a name of their own too.
            id: hub_event_id(&format!("{} jobs", job.hub), counter),
            hub: job.hub.clone(),
            at,
            actor: by.clone(),
            operation,
            target: format!("jobs/{}", job.spec.id),
            device: None,
            outcome: AuditOutcome::Accepted,
            detail: vec![
                ("type", job.spec.kind.as_str().to_owned()),
                ("queryCondition", job.spec.condition.clone()),
            ],
            count: 1,
        }
    }
}

impl AuditRecord {
    /// The record of changed limits, which stand at `version` after the write. To be stored with it.
    pub fn of_limits(hub: &HubName, version: u64, by: &Actor, at: Timestamp) -> Self {
        Self {
            id: hub_event_id(&format!("{hub} limits"), version),
            hub: hub.clone(),
            at,
            actor: by.clone(),
            operation: AuditOperation::ChangeLimits,
            target: "limits".to_owned(),
            device: None,
            outcome: AuditOutcome::Accepted,
            detail: Vec::new(),
            count: 1,
        }
    }
}

/// The event of a record.
pub fn audit_event(record: &AuditRecord) -> Event {
    let name = record.device.as_ref().map(|(_, name)| name);
    let operation = record.operation.name();
    let mut properties = wrapper(&record.hub, name, record.at);
    properties.extend(described("auditEvents", "auditNotification", operation));
    properties.push(pair("door", cut(&record.actor.door, MAX_TEXT_BYTES)));
    Event {
        id: record.id,
        hub: record.hub.clone(),
        device_key: record
            .device
            .as_ref()
            .map_or(Event::HUB_KEY, |(key, _)| *key),
        device: name.map(|name| name.device.clone()),
        module: name.and_then(|name| name.module.clone()),
        kind: EventKind::Audit,
        at: record.at,
        properties,
        body: body(record),
    }
}

/// The last part of a target that is an identity.
pub fn identity_target(name: &IdentityName) -> String {
    match &name.module {
        None => format!("devices/{}", name.device.as_str()),
        Some(module) => format!(
            "devices/{}/modules/{}",
            name.device.as_str(),
            module.as_str()
        ),
    }
}

fn body(record: &AuditRecord) -> Bytes {
    let (level, result, description) = match record.outcome {
        AuditOutcome::Accepted => ("Information", "Success", ""),
        AuditOutcome::Refused(code) => ("Warning", "Failure", code.name()),
    };
    let (address, port) = address_parts(&record.actor.address);
    let mut details = serde_json::Map::new();
    details.insert("target".into(), cut(&record.target, MAX_TEXT_BYTES).into());
    if let Some((_, name)) = &record.device {
        details.insert("deviceId".into(), name.device.as_str().into());
        if let Some(module) = &name.module {
            details.insert("moduleId".into(), module.as_str().into());
        }
    }
    if let Some(port) = port {
        details.insert("callerPort".into(), port.to_string().into());
    }
    for (name, value) in &record.detail {
        details.insert((*name).into(), cut(value, MAX_TEXT_BYTES).into());
    }
    to_bytes(&json!({
        "time": record.at.to_string(),
        "resourceId": record.hub.as_str(),
        "operationName": record.operation.name(),
        "category": "Audit",
        "level": level,
        "resultType": result,
        "resultDescription": description,
        "callerIpAddress": address,
        "who": cut(&record.actor.credential, MAX_WHO_BYTES),
        "door": cut(&record.actor.door, MAX_TEXT_BYTES),
        "count": record.count,
        "properties": Value::Object(details).to_string(),
    }))
}

/// An address without its port, and the port. What is not an address with a port stays whole.
fn address_parts(address: &str) -> (String, Option<u16>) {
    match address.parse::<SocketAddr>() {
        Ok(address) => (
            address.ip().to_canonical().to_string(),
            Some(address.port()),
        ),
        Err(_) => (cut(address, MAX_TEXT_BYTES).to_owned(), None),
    }
}

/// The first `most` bytes, or fewer where a character would be cut.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// An id of something of a hub: 48 bits of a hash of a name that begins with the hub's, a tag, 62 bits of `counter`.
///
/// Only the operator names hubs, so that no caller can look for two that share the hash.
fn hub_event_id(name: &str, counter: u64) -> [u8; 16] {
    /// Above the tags of kinds.
    const TAG: u8 = 15;
    // FNV-1a.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut id = [0; 16];
    id[..6].copy_from_slice(&hash.to_be_bytes()[..6]);
    id[6] = 0x80 | TAG;
    id[8..].copy_from_slice(&counter.to_be_bytes());
    id[8] = 0x80 | (id[8] & 0x3f);
    id
}

#[cfg(test)]
mod tests;
