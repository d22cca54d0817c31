//! What a shared access policy allows, and what each operation asks for.

use std::fmt;

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
}

impl Permission {
    /// All rights, in the order in which they are written.
    pub const ALL: [Self; 4] = [
        Self::RegistryRead,
        Self::RegistryWrite,
        Self::ServiceConnect,
        Self::DeviceConnect,
    ];

    const fn bit(self) -> u8 {
        match self {
            Self::RegistryRead => 1,
            Self::RegistryWrite => 2,
            Self::ServiceConnect => 4,
            Self::DeviceConnect => 8,
        }
    }

    /// Returns the name the product's users know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
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
        let known = bits & 0b1111;
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

/// The groups of operations that share one right (auth.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Get or list identities, read registry statistics.
    ReadIdentities,
    /// Create, update, delete identities, in bulk too; import and export.
    WriteIdentities,
    /// Read configurations.
    ReadConfigurations,
    /// Create, change, delete or apply configurations.
    WriteConfigurations,
    /// Read, patch, replace or query twins.
    UseTwins,
    /// Invoke a direct method.
    InvokeMethods,
    /// Send messages to devices, receive and settle feedback, purge a queue.
    UseCloudToDevice,
    /// Create, read or cancel scheduled jobs.
    UseJobs,
    /// Read what devices send.
    ReadTelemetry,
    /// Anything a device does: send, receive and settle, its own twin and methods.
    ActAsDevice,
}

impl Operation {
    /// All groups.
    pub const ALL: [Self; 10] = [
        Self::ReadIdentities,
        Self::WriteIdentities,
        Self::ReadConfigurations,
        Self::WriteConfigurations,
        Self::UseTwins,
        Self::InvokeMethods,
        Self::UseCloudToDevice,
        Self::UseJobs,
        Self::ReadTelemetry,
        Self::ActAsDevice,
    ];

    /// Returns the right a policy must hold.
    pub const fn required(self) -> Permission {
        match self {
            Self::ReadIdentities | Self::ReadConfigurations => Permission::RegistryRead,
            Self::WriteIdentities | Self::WriteConfigurations => Permission::RegistryWrite,
            Self::UseTwins
            | Self::InvokeMethods
            | Self::UseCloudToDevice
            | Self::UseJobs
            | Self::ReadTelemetry => Permission::ServiceConnect,
            Self::ActAsDevice => Permission::DeviceConnect,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, Permission, Permissions, default_policies};

    #[test]
    fn each_default_policy_opens_exactly_its_operations() {
        use Operation::{
            ActAsDevice, InvokeMethods, ReadConfigurations, ReadIdentities, ReadTelemetry,
            UseCloudToDevice, UseJobs, UseTwins, WriteConfigurations, WriteIdentities,
        };
        let service = vec![
            UseTwins,
            InvokeMethods,
            UseCloudToDevice,
            UseJobs,
            ReadTelemetry,
        ];
        let read = vec![ReadIdentities, ReadConfigurations];
        let write = vec![
            ReadIdentities,
            WriteIdentities,
            ReadConfigurations,
            WriteConfigurations,
        ];
        let expected = [
            ("iothubowner", Operation::ALL.to_vec()),
            ("service", service),
            ("device", vec![ActAsDevice]),
            ("registryRead", read),
            ("registryReadWrite", write),
        ];
        let opened = default_policies().map(|(name, rights)| {
            let opens = |operation: &Operation| rights.grants(operation.required());
            (
                name,
                Operation::ALL.into_iter().filter(opens).collect::<Vec<_>>(),
            )
        });
        assert_eq!(opened, expected);
    }

    #[test]
    fn writing_the_registry_includes_reading_it() {
        let rights = Permissions::of(&[Permission::RegistryWrite]);
        assert!(rights.grants(Permission::RegistryRead));
        assert_eq!(Permissions::from_bits(2), rights);
        assert!(!rights.grants(Permission::ServiceConnect));
    }

    #[test]
    fn stored_number_reads_back_and_unknown_bits_are_dropped() {
        for (_, rights) in default_policies() {
            assert_eq!(Permissions::from_bits(rights.bits()), rights);
        }
        assert_eq!(Permissions::from_bits(0xf0), Permissions::default());
    }

    #[test]
    fn text_lists_the_rights() {
        let rights = Permissions::of(&[Permission::DeviceConnect, Permission::RegistryRead]);
        assert_eq!(rights.to_string(), "RegistryRead, DeviceConnect");
    }
}
