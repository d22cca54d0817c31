//! Shared access policies of a hub.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::access::{Access, Action, Actions};

pub mod scope;

pub use scope::{Coverage, PolicyScope};

/// Most policies of a hub; those beyond Azure's 16 are for limited ones (errors-limits.md §5.2).
pub const MAX_POLICIES: usize = 100;
/// Longest name of a policy, in characters (auth.md §1).
pub const MAX_POLICY_NAME_CHARS: usize = 64;

/// A policy's name outside its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the name of a policy must have 1 to 64 letters, digits, '-', '.' or '_'")]
pub struct PolicyNameError;

/// Checks the name that a new policy is given: what stands in a connection string, a token and a
/// path without being escaped.
///
/// # Errors
/// [`PolicyNameError`].
pub fn check_policy_name(name: &str) -> Result<(), PolicyNameError> {
    let is_sized = (1..=MAX_POLICY_NAME_CHARS).contains(&name.len());
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if is_sized && name.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err(PolicyNameError)
    }
}

/// One right of a policy (auth.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Read identities, configurations and registry statistics.
    RegistryRead,
    /// Create, update and delete identities and configurations; includes [`Permission::RegistryRead`].
    RegistryWrite,
    /// Twins, methods, cloud-to-device messages, jobs.
    ServiceConnect,
    /// Act as any device.
    DeviceConnect,
    /// Administer the hub: its policies with their keys, its certificate authorities.
    Administer,
}

impl Permission {
    /// All rights, in the order in which they are written.
    pub const ALL: [Self; 5] = [
        Self::RegistryRead,
        Self::RegistryWrite,
        Self::ServiceConnect,
        Self::DeviceConnect,
        Self::Administer,
    ];

    const fn bit(self) -> u8 {
        match self {
            Self::RegistryRead => 1,
            Self::RegistryWrite => 2,
            Self::ServiceConnect => 4,
            Self::DeviceConnect => 8,
            Self::Administer => 16,
        }
    }

    /// Returns the name the product's users know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
            Self::Administer => "Administer",
        }
    }

    /// Reads the name of [`Self::name`] without case; `RegistryReadWrite` is another word for
    /// [`Self::RegistryWrite`].
    pub fn parse(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("RegistryReadWrite") {
            return Some(Self::RegistryWrite);
        }
        let mut all = Self::ALL.into_iter();
        all.find(|right| right.name().eq_ignore_ascii_case(name))
    }

    /// What the right allows (auth.md §4, §6.4).
    pub fn actions(self) -> Actions {
        match self {
            Self::RegistryRead => Actions::of(&[
                Action::DevicesRead,
                Action::RegistryStatisticsRead,
                Action::ServiceStatisticsRead,
                Action::ConfigurationsRead,
                Action::JobsRead,
            ]),
            Self::RegistryWrite => Actions::of(&[
                Action::DevicesWrite,
                Action::DevicesDelete,
                Action::ConfigurationsWrite,
                Action::ConfigurationsDelete,
                Action::JobsWrite,
                Action::JobsDelete,
            ]),
            Self::ServiceConnect => Actions::of(&[
                Action::TwinsRead,
                Action::TwinsWrite,
                Action::InvokeMethod,
                Action::SendMessage,
                Action::ReceiveFeedback,
                Action::PurgeQueue,
                Action::FileNotifications,
                Action::ServiceStatisticsRead,
                Action::JobsRead,
                Action::JobsWrite,
                Action::JobsDelete,
            ]),
            Self::DeviceConnect => Actions::of(&[Action::ActAsDevice]),
            Self::Administer => {
                Actions::of(&[Action::AdministrationRead, Action::AdministrationWrite])
            }
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// Makes the set of the given rights; writing the registry brings reading it (registry.md §0.4).
    pub fn of(rights: &[Permission]) -> Self {
        Self::from_bits(rights.iter().fold(0, |bits, right| bits | right.bit()))
    }

    /// Reads the set from the number it is stored under; unknown bits are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        let known = bits & 0b1_1111;
        let write = Permission::RegistryWrite.bit();
        if known & write == 0 {
            Self(known)
        } else {
            Self(known | Permission::RegistryRead.bit())
        }
    }

    /// Returns the number the set is stored under.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Tells whether the set holds `right`.
    pub const fn grants(self, right: Permission) -> bool {
        self.0 & right.bit() != 0
    }

    /// What the rights allow together.
    pub fn actions(self) -> Actions {
        Permission::ALL
            .into_iter()
            .filter(|right| self.grants(*right))
            .fold(Actions::NONE, |all, right| all.union(right.actions()))
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for right in Permission::ALL
            .into_iter()
            .filter(|right| self.grants(*right))
        {
            write!(f, "{separator}{}", right.name())?;
            separator = ", ";
        }
        Ok(())
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permissions({self})")
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
    /// What narrows that down, `None` for all devices, verbs and methods.
    pub scope: Option<PolicyScope>,
    /// Rises by one with every write; 1 at first.
    pub etag: u64,
}

impl Policy {
    /// Makes a policy without limits.
    pub fn new(name: impl Into<String>, keys: [Vec<u8>; 2], permissions: Permissions) -> Self {
        Self {
            name: name.into(),
            keys,
            permissions,
            scope: None,
            etag: 1,
        }
    }

    /// The etag on the wire: base64 of the counter in decimal, as that of an identity.
    pub fn etag_text(&self) -> String {
        STANDARD.encode(self.etag.to_string())
    }

    /// Tells whether whoever holds a key of the policy may administer the hub.
    pub fn administers(&self) -> bool {
        self.covers(&Access::to_hub(Action::AdministrationWrite)) == Coverage::Yes
    }

    /// Tells whether a token of the policy may do what `access` asks; where its limits name tags,
    /// those of the device are needed to know.
    pub fn covers(&self, access: &Access<'_>) -> Coverage {
        if !self.permissions.actions().contains(access.action) {
            return Coverage::No;
        }
        let scope = self.scope.as_ref();
        scope.map_or(Coverage::Yes, |scope| scope.covers(access))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .field("permissions", &self.permissions)
            .field("scope", &self.scope)
            .field("etag", &self.etag)
            .finish_non_exhaustive()
    }
}

/// Returns the five policies of a new hub with their rights (auth.md §4).
pub fn default_policies() -> [(&'static str, Permissions); 5] {
    use Permission::{DeviceConnect, RegistryRead, RegistryWrite, ServiceConnect};
    [
        ("iothubowner", Permissions::of(&Permission::ALL)),
        ("service", Permissions::of(&[ServiceConnect])),
        ("device", Permissions::of(&[DeviceConnect])),
        ("registryRead", Permissions::of(&[RegistryRead])),
        (
            "registryReadWrite",
            Permissions::of(&[RegistryRead, RegistryWrite]),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::Permission::{DeviceConnect, RegistryRead, RegistryWrite, ServiceConnect};
    use super::scope::{PolicyScope, Verb};
    use super::{
        MAX_POLICY_NAME_CHARS, Permission, Permissions, Policy, check_policy_name, default_policies,
    };

    #[test]
    fn each_default_policy_grants_its_rights_and_no_other() {
        let expected: [(&str, &[Permission]); 5] = [
            ("iothubowner", &Permission::ALL),
            ("service", &[ServiceConnect]),
            ("device", &[DeviceConnect]),
            ("registryRead", &[RegistryRead]),
            ("registryReadWrite", &[RegistryRead, RegistryWrite]),
        ];
        for ((name, rights), (expected_name, expected)) in default_policies().iter().zip(expected) {
            assert_eq!(*name, expected_name);
            for right in Permission::ALL {
                assert_eq!(
                    rights.grants(right),
                    expected.contains(&right),
                    "{name} {right:?}"
                );
            }
        }
    }

    #[test]
    fn only_the_owner_without_limits_administers() {
        let policy = |rights| Policy::new("p", [vec![1; 32], vec![2; 32]], rights);
        for (name, rights) in default_policies() {
            assert_eq!(policy(rights).administers(), name == "iothubowner");
        }
        let limited = Policy {
            scope: Some(PolicyScope {
                verbs: Some(vec![Verb::Send]),
                ..PolicyScope::default()
            }),
            ..policy(Permissions::of(&Permission::ALL))
        };
        assert!(!limited.administers());
    }

    #[test]
    fn the_name_of_a_policy_needs_no_escaping_anywhere() {
        for name in ["a", "iothubowner", "North.wing_2-b"] {
            assert!(check_policy_name(name).is_ok());
        }
        let long = "a".repeat(MAX_POLICY_NAME_CHARS + 1);
        for name in [
            "", "a b", "a;b", "a@b", "a/b", "a&b", "a%b", "\u{e9}", "a\0", &long,
        ] {
            assert!(check_policy_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn writing_the_registry_brings_reading_it() {
        assert!(Permissions::of(&[RegistryWrite]).grants(RegistryRead));
        assert!(!Permissions::of(&[RegistryRead]).grants(RegistryWrite));
    }

    #[test]
    fn a_stored_set_reads_back_and_unknown_bits_are_dropped() {
        let set = Permissions::of(&[RegistryRead, ServiceConnect]);
        assert_eq!(Permissions::from_bits(set.bits()), set);
        assert_eq!(Permissions::from_bits(0xe0), Permissions::default());
    }
}
