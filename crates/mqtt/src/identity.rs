//! Whose connection it is, in the raw form that topics carry.

/// The device or module that a connection belongs to.
///
/// Ids are raw, never percent-encoded, and compared with case (mqtt.md §7). Their alphabet is checked where
/// identities are looked up; here they are only non-empty and free of `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientIdentity {
    device_id: Box<str>,
    module_id: Option<Box<str>>,
}

impl ClientIdentity {
    /// Makes a device's identity, or nothing when the id is empty or holds `/`.
    pub fn device(device_id: &str) -> Option<Self> {
        is_segment(device_id).then(|| Self {
            device_id: device_id.into(),
            module_id: None,
        })
    }

    /// Makes a module's identity, or nothing when an id is empty or holds `/`.
    pub fn module(device_id: &str, module_id: &str) -> Option<Self> {
        (is_segment(device_id) && is_segment(module_id)).then(|| Self {
            device_id: device_id.into(),
            module_id: Some(module_id.into()),
        })
    }

    /// Returns the device's id.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// Returns the module's id, unless this is the device itself.
    pub fn module_id(&self) -> Option<&str> {
        self.module_id.as_deref()
    }

    /// Returns whether a client id names this identity, byte for byte (mqtt.md §2.1).
    pub fn is_named_by(&self, client_id: &str) -> bool {
        let Some(rest) = client_id.strip_prefix(&*self.device_id) else {
            return false;
        };
        match &self.module_id {
            None => rest.is_empty(),
            Some(module_id) => rest.strip_prefix('/') == Some(module_id),
        }
    }

    /// Returns what follows `devices/{d}/` or `devices/{d}/modules/{m}/`, if the text begins so.
    pub(crate) fn strip_prefix<'a>(&self, text: &'a str) -> Option<&'a str> {
        let rest = text
            .strip_prefix("devices/")?
            .strip_prefix(&*self.device_id)?;
        let rest = match &self.module_id {
            None => rest,
            Some(module_id) => rest.strip_prefix("/modules/")?.strip_prefix(&**module_id)?,
        };
        rest.strip_prefix('/')
    }
}

fn is_segment(id: &str) -> bool {
    !id.is_empty() && !id.contains('/')
}
