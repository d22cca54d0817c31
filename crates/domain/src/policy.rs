//! Shared access policies of a hub.

use std::fmt;

/// One right of a policy (auth.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read identities and statistics.
    RegistryRead,
    /// Create, update and delete identities.
    RegistryWrite,
    /// Twins, methods, messages, feedback.
    ServiceConnect,
    /// Act as a device.
    DeviceConnect,
}

impl Permission {
    const fn bit(self) -> u8 {
        match self {
            Self::RegistryRead => 1,
            Self::RegistryWrite => 2,
            Self::ServiceConnect => 4,
            Self::DeviceConnect => 8,
        }
    }
}

/// A set of rights. Writing the registry includes reading it (registry.md §0.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// The set of the given rights.
    pub fn of(rights: &[Permission]) -> Self {
        Self(rights.iter().fold(0, |bits, right| bits | right.bit()))
    }

    /// Reads the set from its stored number; unknown bits are dropped.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 0b1111)
    }

    /// The number under which the set is stored.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Tells whether the set grants `right`.
    pub fn grants(self, right: Permission) -> bool {
        let implied = match right {
            Permission::RegistryRead => right.bit() | Permission::RegistryWrite.bit(),
            _ => right.bit(),
        };
        self.0 & implied != 0
    }
}

/// A named pair of keys and what they allow.
#[derive(Clone, PartialEq, Eq)]
pub struct Policy {
    /// Name, as in `SharedAccessKeyName`; at most 64 characters (auth.md §1).
    pub name: String,
    /// Primary and secondary key, raw bytes.
    pub keys: [Vec<u8>; 2],
    /// What a token of it may do.
    pub permissions: Permissions,
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("permissions", &self.permissions)
            .finish_non_exhaustive()
    }
}

/// The five policies of a new hub and their rights (auth.md §4).
pub fn default_policies() -> [(&'static str, Permissions); 5] {
    use Permission::{DeviceConnect, RegistryRead, RegistryWrite, ServiceConnect};
    [
        (
            "iothubowner",
            Permissions::of(&[RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect]),
        ),
        ("service", Permissions::of(&[ServiceConnect])),
        ("device", Permissions::of(&[DeviceConnect])),
        ("registryRead", Permissions::of(&[RegistryRead])),
        (
            "registryReadWrite",
            Permissions::of(&[RegistryRead, RegistryWrite]),
        ),
    ]
}
