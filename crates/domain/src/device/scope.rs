//! Where a device stands among Edge devices (registry.md §2.1).

use super::DeviceSpec;
use crate::caps;
use crate::id::{DeviceId, GenerationId, IdentityName};

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

/// Whose scope the text is: the name of an Edge device and its life; `None` when it is no scope.
pub fn parse_scope(text: &str) -> Option<(IdentityName, GenerationId)> {
    if text.len() > caps::MAX_SCOPE_BYTES {
        return None;
    }
    let (device, generation) = text.strip_prefix(SCHEME)?.rsplit_once('-')?;
    let is_number = generation.bytes().all(|b| b.is_ascii_digit());
    let generation = generation.parse().ok().filter(|_| is_number)?;
    let device: DeviceId = device.parse().ok()?;
    Some((device.into(), GenerationId(generation)))
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
        // Who was an Edge device a moment ago still names the scope that it had then.
        let own = edge_scope(name, generation);
        let parent = spec.device_scope.clone().filter(|scope| *scope != own);
        Self {
            parent_scopes: parent.iter().cloned().collect(),
            device_scope: parent,
        }
    }
}
