//! What a connection's tokens allow.

use std::collections::HashMap;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::device::Device;
use downlink_domain::id::IdentityName;
use downlink_domain::policy::Permission;
use thiserror::Error;

use super::address::Address;
use crate::authenticate::Principal;
use crate::device::StampedBy;

/// Live tokens of a connection, by what they are for: a renewal takes the place of the older one
/// (amqp.md §3.4).
pub(super) struct Grants {
    live: HashMap<Scope, Grant>,
    most: usize,
    /// When the first of them ends, without grace.
    first_end: Option<Timestamp>,
}

/// What a checked token stands for.
pub(super) enum Grant {
    /// A policy.
    Service(Principal),
    /// A device or module.
    Device(Box<DeviceGrant>),
}

/// A device or module that has shown a token of its own.
pub(super) struct DeviceGrant {
    /// The identity as it was when the token was checked.
    pub(super) device: Device,
    /// Whose key signed the token.
    pub(super) by: StampedBy,
    /// When the token ends.
    pub(super) expires_at: Timestamp,
}

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Device(IdentityName),
    Policy { name: String, scope: String },
}

/// The connection holds as many tokens as it may (403005).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the connection holds as many tokens as it may")]
pub(super) struct TooManyTokens;

impl Grant {
    fn expires_at(&self) -> Timestamp {
        match self {
            Self::Service(principal) => principal.expires_at,
            Self::Device(grant) => grant.expires_at,
        }
    }

    fn scope(&self) -> Scope {
        match self {
            Self::Service(principal) => Scope::Policy {
                name: principal.policy().to_owned(),
                scope: principal.scope().to_owned(),
            },
            Self::Device(grant) => Scope::Device(grant.device.name.clone()),
        }
    }
}

impl Grants {
    /// Makes room for `most` tokens.
    pub(super) fn new(most: usize) -> Self {
        Self {
            live: HashMap::new(),
            most,
            first_end: None,
        }
    }

    /// Takes a token, in the place of an older one of the same scope.
    ///
    /// # Errors
    /// [`TooManyTokens`]: it was not taken.
    pub(super) fn add(&mut self, grant: Grant) -> Result<(), TooManyTokens> {
        let scope = grant.scope();
        if self.live.len() >= self.most && !self.live.contains_key(&scope) {
            return Err(TooManyTokens);
        }
        self.live.insert(scope, grant);
        self.find_first_end();
        Ok(())
    }

    /// Forgets the token that `ended` has shown, unless the identity has shown another since it
    /// was created anew or got other keys.
    pub(super) fn revoke_of(&mut self, ended: &Device) {
        let is_same = self.of_device(&ended.name).is_some_and(|grant| {
            grant.device.key == ended.key && grant.device.authentication == ended.authentication
        });
        if is_same {
            self.revoke(&ended.name);
        }
    }

    /// Forgets the token of an identity, which is no longer what it was.
    pub(super) fn revoke(&mut self, name: &IdentityName) {
        if self.live.remove(&Scope::Device(name.clone())).is_some() {
            self.find_first_end();
        }
    }

    fn find_first_end(&mut self) {
        self.first_end = self.live.values().map(Grant::expires_at).min();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Tells whether a token lets its holder use what stands at `address`, a node of the hub and
    /// not of a device.
    pub(super) fn allow(&self, address: &Address) -> bool {
        let path: &[&str] = match address {
            Address::Cbs => return true,
            Address::Device(_) => return false,
            Address::Commands => &["messages", "devicebound"],
            Address::Feedback => &["messages", "serviceBound", "feedback"],
            Address::FileNotifications => &["messages", "serviceBound", "filenotifications"],
        };
        self.principals()
            .any(|principal| principal.allows(Permission::ServiceConnect, path))
    }

    /// The token that an identity has shown.
    pub(super) fn of_device(&self, name: &IdentityName) -> Option<&DeviceGrant> {
        match self.live.get(&Scope::Device(name.clone())) {
            Some(Grant::Device(grant)) => Some(grant),
            Some(Grant::Service(_)) | None => None,
        }
    }

    /// Tells whether a token of a policy lets its holder speak for the identity (amqp.md §2.4).
    pub(super) fn has_policy_for(&self, name: &IdentityName) -> bool {
        let device = name.device.as_str();
        let module = name.module.as_ref();
        let path: &[&str] = match module {
            None => &["devices", device],
            Some(module) => &["devices", device, "modules", module.as_str()],
        };
        self.principals()
            .any(|principal| principal.allows(Permission::DeviceConnect, path))
    }

    /// Tells whether any token lets its holder speak for the identity.
    pub(super) fn cover(&self, name: &IdentityName) -> bool {
        self.of_device(name).is_some() || self.has_policy_for(name)
    }

    /// Name of a policy that the connection has shown a token of, for the log.
    pub(super) fn policy(&self) -> Option<&str> {
        self.principals().next().map(Principal::policy)
    }

    fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.live.values().filter_map(|grant| match grant {
            Grant::Service(principal) => Some(principal),
            Grant::Device(_) => None,
        })
    }

    /// When the next token ends, `grace` included.
    pub(super) fn next_expiry(&self, grace: Duration) -> Option<Timestamp> {
        self.first_end.map(|end| end + grace)
    }

    /// Drops the tokens that have ended, `grace` included.
    pub(super) fn expire(&mut self, grace: Duration, now: Timestamp) {
        self.live
            .retain(|_, grant| grant.expires_at() + grace > now);
        self.find_first_end();
    }
}
