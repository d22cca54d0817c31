//! One state of the policies and authorities of a hub.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use downlink_domain::Timestamp;
use downlink_domain::access::{Access, Action};
use downlink_domain::authority::{CertificateAuthority, Possession};
use downlink_domain::id::HubName;
use downlink_domain::policy::{Coverage, Policy, PolicyScope};
use downlink_domain::twin::Object;
use downlink_ports::AccessSnapshot;

use crate::authenticate::CredentialId;

/// One state of the policies and authorities of a hub.
#[derive(Debug)]
pub struct AccessView {
    version: u64,
    policies: HashMap<String, Arc<KnownPolicy>>,
    authorities: Vec<KnownAuthority>,
    alive: HashSet<CredentialId>,
}

/// A policy, and what connections live by that its keys have opened.
#[derive(Debug)]
pub struct KnownPolicy {
    policy: Policy,
    credentials: [CredentialId; 2],
    /// The limits without those to devices and methods.
    verbs: Option<PolicyScope>,
}

/// An authority whose owner holds its key, and what connections live by that it has vouched for.
#[derive(Debug)]
pub struct KnownAuthority {
    /// The authority.
    pub authority: CertificateAuthority,
    /// By what its connections live.
    pub credential: CredentialId,
}

impl AccessView {
    /// Takes over what a store knows of `hub`.
    pub fn new(hub: &HubName, snapshot: AccessSnapshot) -> Self {
        let policies = snapshot.policies.into_iter();
        let policies = policies.map(|policy| KnownPolicy::new(hub, policy));
        let policies: HashMap<_, _> = policies
            .map(|known| (known.policy.name.clone(), Arc::new(known)))
            .collect();
        let is_proved =
            |authority: &CertificateAuthority| authority.possession == Possession::Verified;
        let authorities = snapshot.authorities.into_iter().filter(is_proved);
        let authorities: Vec<_> = authorities
            .map(|authority| KnownAuthority {
                credential: CredentialId::of_authority(hub, &authority.certificate),
                authority,
            })
            .collect();
        let of_policies = policies.values().flat_map(|known| known.credentials);
        let of_authorities = authorities.iter().map(|known| known.credential);
        let alive = of_policies.chain(of_authorities).collect();
        Self {
            version: snapshot.version,
            policies,
            authorities,
            alive,
        }
    }

    /// What the store counts the writes by.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The policy of that name.
    pub fn policy(&self, name: &str) -> Option<&Arc<KnownPolicy>> {
        self.policies.get(name)
    }

    /// The authorities whose devices are believed at `now`.
    pub fn trusted(&self, now: Timestamp) -> impl Iterator<Item = &KnownAuthority> {
        let known = self.authorities.iter();
        known.filter(move |known| known.authority.is_trusted(now))
    }

    /// What was alive in `before` and no longer is.
    pub fn gone_since(&self, before: &Self) -> HashSet<CredentialId> {
        before.alive.difference(&self.alive).copied().collect()
    }

    /// Tells whether what lives by `credential` may go on.
    pub fn is_alive(&self, credential: CredentialId) -> bool {
        credential == CredentialId::OWN || self.alive.contains(&credential)
    }
}

impl KnownPolicy {
    fn new(hub: &HubName, policy: Policy) -> Self {
        let verbs = policy.scope.as_ref().map(|scope| PolicyScope {
            verbs: scope.verbs.clone(),
            ..PolicyScope::default()
        });
        Self {
            credentials: [0, 1].map(|key| CredentialId::of_policy(hub, &policy, key)),
            policy,
            verbs,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.policy.name
    }

    /// Its keys, as tokens are verified with them.
    pub fn keys(&self) -> [&[u8]; 2] {
        let [primary, secondary] = &self.policy.keys;
        [primary, secondary]
    }

    /// By what lives that the key in that place has opened.
    pub fn credential(&self, key: usize) -> CredentialId {
        self.credentials[key.min(1)]
    }

    /// Whether a token of the policy may do what `access` asks.
    pub fn covers(&self, access: &Access<'_>) -> Coverage {
        self.policy.covers(access)
    }

    /// Whether it may, for a device with these tags.
    pub fn covers_tags(&self, tags: &Object) -> bool {
        let scope = self.policy.scope.as_ref();
        scope.is_none_or(|scope| scope.covers_tags(tags))
    }

    /// Whether it may do `action` to any device, by any method.
    pub fn may_ever(&self, action: Action) -> bool {
        let is_granted = self.policy.permissions.actions().contains(action);
        let verbs = self.verbs.as_ref();
        let passes = |verbs: &PolicyScope| verbs.covers(&Access::to_hub(action)) == Coverage::Yes;
        is_granted && verbs.is_none_or(passes)
    }

    /// Whether it is limited to some devices.
    pub fn is_limited_to_devices(&self) -> bool {
        let scope = self.policy.scope.as_ref();
        scope.is_some_and(|scope| !scope.devices.is_empty())
    }
}
