//! Where a device stands among Edge devices (registry.md §2.1).

use super::DeviceSpec;
use crate::caps;
use crate::id::{GenerationId, IdentityName};

/// How every scope begins.
const SCHEME: &str = "ms-azure-iot-edge://";

/// The modules that every Edge device has by itself (registry.md §3).
pub const EDGE_MODULES: [&str; 2] = ["$edgeAgent", "$edgeHub"];

/// Who looks after [`EDGE_MODULES`].
pub const EDGE_OWNER: &str = "iotEdge";

/// The scope that an Edge device opens for its children; each life has its own.
pub fn edge_scope(name: &IdentityName, generation: GenerationId) -> String {
    format!("{SCHEME}{}-{generation}", name.device)
}

/// Tells whether the text may be the scope of some Edge device.
pub(super) fn is_scope(text: &str) -> bool {
    let named = text
        .strip_prefix(SCHEME)
        .and_then(|rest| rest.rsplit_once('-'));
    text.len() <= caps::MAX_SCOPE_BYTES
        && named.is_some_and(|(device, generation)| {
            let is_number = generation.bytes().all(|b| b.is_ascii_digit());
            device.parse::<crate::id::DeviceId>().is_ok() && !generation.is_empty() && is_number
        })
}

/// The scopes of an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// As [`super::Device::device_scope`].
    pub device_scope: Option<String>,
    /// As [`super::Device::parent_scopes`].
    pub parent_scopes: Vec<String>,
}

impl Place {
    /// What a spec makes of the scopes of an identity: an Edge device has a scope of its own and
    /// the parents it names, another device has the parent whose scope it names, a module has
    /// none.
    pub fn of(spec: &DeviceSpec, name: &IdentityName, generation: GenerationId) -> Self {
        if name.module.is_some() {
            return Self::default();
        }
        if spec.is_edge {
            return Self {
                device_scope: Some(edge_scope(name, generation)),
                parent_scopes: spec.parent_scopes.clone(),
            };
        }
        Self {
            device_scope: spec.device_scope.clone(),
            parent_scopes: spec.device_scope.iter().cloned().collect(),
        }
    }
}
