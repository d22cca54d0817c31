//! Policies and certificate authorities.

use downlink_domain::authority::{
    AuthorityError, CertificateAuthority, MAX_AUTHORITIES, Possession,
};
use downlink_domain::caps;
use downlink_domain::policy::scope::MAX_SCOPE_BYTES;
use downlink_domain::policy::{
    MAX_POLICIES, MAX_POLICY_NAME_CHARS, Permission, Permissions, Policy, PolicyScope,
};
use downlink_domain::twin::parse_json;
use downlink_ports::AccessSnapshot;
use downlink_proto::v1;

use super::{FromWire, ToWire, WireError, instant, present};

/// Longest name of a policy or an authority, in bytes: a character has at most four.
const MAX_NAME_BYTES: usize = 4 * MAX_POLICY_NAME_CHARS;

impl ToWire for Permissions {
    type Wire = Option<v1::PolicyPermissions>;

    fn to_wire(self) -> Option<v1::PolicyPermissions> {
        Some(v1::PolicyPermissions {
            registry_read: self.grants(Permission::RegistryRead),
            registry_write: self.grants(Permission::RegistryWrite),
            service_connect: self.grants(Permission::ServiceConnect),
            device_connect: self.grants(Permission::DeviceConnect),
            administer: self.grants(Permission::Administer),
        })
    }
}

impl FromWire<Option<v1::PolicyPermissions>> for Permissions {
    fn from_wire(wire: Option<v1::PolicyPermissions>) -> Result<Self, WireError> {
        let named = present("permissions", wire)?;
        let rights: Vec<Permission> = [
            (named.registry_read, Permission::RegistryRead),
            (named.registry_write, Permission::RegistryWrite),
            (named.service_connect, Permission::ServiceConnect),
            (named.device_connect, Permission::DeviceConnect),
            (named.administer, Permission::Administer),
        ]
        .into_iter()
        .filter_map(|(is_granted, right)| is_granted.then_some(right))
        .collect();
        Ok(Self::of(&rights))
    }
}

impl ToWire for Policy {
    type Wire = v1::Policy;

    fn to_wire(self) -> v1::Policy {
        let [primary, secondary] = self.keys;
        v1::Policy {
            name: self.name,
            primary_key: primary.into(),
            secondary_key: secondary.into(),
            permissions: self.permissions.to_wire(),
            scope: self.scope.map(|scope| scope.to_json().to_string().into()),
            etag: self.etag,
        }
    }
}

impl FromWire<v1::Policy> for Policy {
    fn from_wire(wire: v1::Policy) -> Result<Self, WireError> {
        let is_sized = |key: &bytes::Bytes| caps::KEY_BYTES.contains(&key.len());
        if !is_sized(&wire.primary_key) || !is_sized(&wire.secondary_key) {
            return Err(WireError::OutOfRange("policy key"));
        }
        Ok(Self {
            name: name(wire.name)?,
            keys: [wire.primary_key.into(), wire.secondary_key.into()],
            permissions: Permissions::from_wire(wire.permissions)?,
            scope: wire.scope.map(|text| scope(&text)).transpose()?,
            etag: wire.etag,
        })
    }
}

/// The name of a policy or an authority; its alphabet is for the service to check.
pub(crate) fn name(text: String) -> Result<String, WireError> {
    if text.len() > MAX_NAME_BYTES {
        return Err(WireError::OutOfRange("name"));
    }
    Ok(text)
}

fn scope(text: &[u8]) -> Result<PolicyScope, WireError> {
    if text.len() > MAX_SCOPE_BYTES {
        return Err(WireError::OutOfRange("scope"));
    }
    // A scope that is not understood must not be taken for none.
    PolicyScope::parse(&parse_json(text)?).map_err(|_| WireError::OutOfRange("scope"))
}

impl ToWire for CertificateAuthority {
    type Wire = v1::CertificateAuthority;

    fn to_wire(self) -> v1::CertificateAuthority {
        let (is_verified, verification_code) = match self.possession {
            Possession::Unverified => (false, None),
            Possession::Challenged { code } => (false, Some(code)),
            Possession::Verified => (true, None),
        };
        v1::CertificateAuthority {
            name: self.name,
            certificate: self.certificate,
            subject: self.subject,
            thumbprint: self.thumbprint,
            not_before: self.not_before.as_millis(),
            not_after: self.not_after.as_millis(),
            is_verified,
            verification_code,
            etag: self.etag,
            created_at: self.created_at.as_millis(),
            updated_at: self.updated_at.as_millis(),
        }
    }
}

impl FromWire<v1::CertificateAuthority> for CertificateAuthority {
    fn from_wire(wire: v1::CertificateAuthority) -> Result<Self, WireError> {
        let possession = match (wire.is_verified, wire.verification_code) {
            (true, None) => Possession::Verified,
            (true, Some(_)) => return Err(WireError::OutOfRange("verification_code")),
            (false, Some(code)) => Possession::Challenged { code },
            (false, None) => Possession::Unverified,
        };
        let authority = Self {
            name: wire.name,
            // Held as long as the snapshot is: it must not keep a whole frame in memory.
            certificate: bytes::Bytes::copy_from_slice(&wire.certificate),
            subject: wire.subject,
            thumbprint: wire.thumbprint,
            not_before: instant("not_before", wire.not_before)?,
            not_after: instant("not_after", wire.not_after)?,
            possession,
            etag: wire.etag,
            created_at: instant("created_at", wire.created_at)?,
            updated_at: instant("updated_at", wire.updated_at)?,
        };
        authority.check().map_err(|error| {
            WireError::OutOfRange(match error {
                AuthorityError::Name(_) => "name",
                AuthorityError::Certificate => "certificate",
                AuthorityError::Subject => "subject",
                AuthorityError::Thumbprint => "thumbprint",
                AuthorityError::Code => "verification_code",
            })
        })?;
        Ok(authority)
    }
}

impl ToWire for AccessSnapshot {
    type Wire = v1::AccessSnapshot;

    fn to_wire(self) -> v1::AccessSnapshot {
        let policies = self.policies.into_iter().map(ToWire::to_wire);
        let authorities = self.authorities.into_iter().map(ToWire::to_wire);
        v1::AccessSnapshot {
            version: self.version,
            policies: policies.collect(),
            authorities: authorities.collect(),
        }
    }
}

impl FromWire<v1::AccessSnapshot> for AccessSnapshot {
    fn from_wire(wire: v1::AccessSnapshot) -> Result<Self, WireError> {
        if wire.policies.len() > MAX_POLICIES || wire.authorities.len() > MAX_AUTHORITIES {
            return Err(WireError::OutOfRange("number of items"));
        }
        Ok(Self {
            version: wire.version,
            policies: super::read_all(wire.policies)?,
            authorities: super::read_all(wire.authorities)?,
        })
    }
}
