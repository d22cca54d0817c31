//! What a caller shows, and by what a connection lives that it has opened.

use downlink_auth::{ClientChain, fingerprint};
use downlink_domain::id::HubName;
use downlink_domain::policy::{Policy, PolicyScope};

/// What a device shows.
#[derive(Clone, Copy, Debug)]
pub enum Credential<'a> {
    /// The text of a token.
    Token(&'a str),
    /// The certificates of its TLS handshake, which has proved that it holds the key of the first.
    Certificate(&'a ClientChain),
}

/// By what a connection lives, besides the identity itself: it ends when that is gone.
///
/// Half a digest: two that meet by chance would only have a connection outlive its key, and nobody can look for them
/// who does not hold the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CredentialId(pub u64);

impl CredentialId {
    /// By the identity's own key or thumbprint, or a token of an issuer: orders to disconnect, and its expiry, end it.
    pub const OWN: Self = Self(0);

    /// By the key in that place, 0 or 1, of a policy with these rights and limits.
    pub fn of_policy(hub: &HubName, policy: &Policy, key: usize) -> Self {
        let key = policy.keys.get(key).map_or(&[][..], Vec::as_slice);
        let scope = policy.scope.as_ref().map(PolicyScope::to_json);
        let scope = scope.map_or_else(String::new, |scope| scope.to_string());
        Self::of(&[
            b"policy",
            hub.as_str().as_bytes(),
            policy.name.as_bytes(),
            key,
            &[policy.permissions.bits()],
            scope.as_bytes(),
        ])
    }

    /// By an authority of this certificate, DER. Two hubs may trust the same.
    pub fn of_authority(hub: &HubName, certificate: &[u8]) -> Self {
        Self::of(&[b"authority", hub.as_str().as_bytes(), certificate])
    }

    fn of(parts: &[&[u8]]) -> Self {
        Self(fingerprint(parts).max(1))
    }
}

#[cfg(test)]
mod tests {
    use downlink_domain::policy::{Permission, Permissions};
    use serde_json::json;

    use super::*;

    fn hub() -> HubName {
        "hub.example".parse().unwrap()
    }

    #[test]
    fn whatever_changes_in_a_policy_but_its_other_key_makes_another_credential() {
        let rights = Permissions::of(&[Permission::ServiceConnect]);
        let policy = Policy::new("service", [vec![1; 32], vec![2; 32]], rights);
        let before = CredentialId::of_policy(&hub(), &policy, 0);
        assert_ne!(before, CredentialId::OWN);
        assert_ne!(before, CredentialId::of_policy(&hub(), &policy, 1));
        let after = |change: fn(&mut Policy)| {
            let mut changed = policy.clone();
            change(&mut changed);
            CredentialId::of_policy(&hub(), &changed, 0)
        };
        assert_eq!(after(|policy| policy.keys[1] = vec![3; 32]), before);
        assert_eq!(after(|policy| policy.etag += 1), before);
        assert_ne!(after(|policy| policy.keys[0] = vec![3; 32]), before);
        assert_ne!(after(|policy| policy.name.push('2')), before);
        assert_ne!(
            after(|policy| policy.permissions = Permissions::of(&Permission::ALL)),
            before
        );
        let limited = |policy: &mut Policy| {
            policy.scope = PolicyScope::parse(&json!({"verbs": ["send"]})).ok();
        };
        assert_ne!(after(limited), before);
        let other = "other.example".parse().unwrap();
        assert_ne!(CredentialId::of_policy(&other, &policy, 0), before);
    }

    #[test]
    fn an_authority_is_known_by_its_certificate() {
        let one = CredentialId::of_authority(&hub(), b"one");
        assert_eq!(one, CredentialId::of_authority(&hub(), b"one"));
        assert_ne!(one, CredentialId::of_authority(&hub(), b"two"));
        let other = "other.example".parse().unwrap();
        assert_ne!(one, CredentialId::of_authority(&other, b"one"));
    }
}
