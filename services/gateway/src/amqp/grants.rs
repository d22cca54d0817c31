//! What a connection's tokens allow.

use std::collections::HashMap;
use std::time::Duration;

use downlink_domain::access::{Access, Action};
use downlink_domain::device::Device;
use downlink_domain::id::IdentityName;
use downlink_domain::policy::Coverage;
use downlink_domain::{ErrorCode, Timestamp};
use thiserror::Error;

use super::address::Address;
use crate::authenticate::{CredentialId, Principal, PrincipalKey};
use crate::device::StampedBy;

/// Where messages are sent to.
pub(super) const DEVICEBOUND: [&str; 2] = ["messages", "devicebound"];

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
    BackEnd(PrincipalKey),
}

/// The connection holds as many tokens as it may (403005).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the connection holds as many tokens as it may")]
pub(super) struct TooManyTokens;

impl Grant {
    fn expires_at(&self) -> Timestamp {
        match self {
            Self::Service(principal) => principal.expires_at(),
            Self::Device(grant) => grant.expires_at,
        }
    }

    /// By what it lives.
    pub(super) fn credential(&self) -> CredentialId {
        match self {
            Self::Service(principal) => principal.credential(),
            Self::Device(grant) => grant.by.credential(),
        }
    }

    fn scope(&self) -> Scope {
        match self {
            Self::Service(principal) => Scope::BackEnd(principal.key()),
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
        let (action, path): (_, &[&str]) = match address {
            Address::Cbs => return true,
            Address::Device(_) => return false,
            // To whom, each message says for itself.
            Address::Commands => return self.senders().next().is_some(),
            Address::Feedback => (
                Action::ReceiveFeedback,
                &["messages", "serviceBound", "feedback"],
            ),
            Address::FileNotifications => (
                Action::FileNotifications,
                &["messages", "serviceBound", "filenotifications"],
            ),
        };
        let access = Access::to_hub(action);
        self.principals()
            .any(|principal| principal.coverage(&access, path) == Coverage::Yes)
    }

    /// The code of a link that no token allows.
    pub(super) fn denial(&self) -> ErrorCode {
        let first = self.principals().next();
        first.map_or(ErrorCode::IotHubUnauthorizedAccess, |principal| {
            principal.denied().code()
        })
    }

    /// Who may send messages, to whomever.
    fn senders(&self) -> impl Iterator<Item = &Principal> {
        let principals = self.principals();
        principals.filter(|principal| principal.may_ever(Action::SendMessage, &DEVICEBOUND))
    }

    /// Who may send messages to some devices only; `None` when somebody may send to all of them.
    pub(super) fn limited_senders(&self) -> Option<Vec<Principal>> {
        let is_limited = self.senders().all(Principal::is_limited_to_devices);
        is_limited.then(|| self.senders().cloned().collect())
    }

    /// The token that an identity has shown.
    pub(super) fn of_device(&self, name: &IdentityName) -> Option<&DeviceGrant> {
        match self.live.get(&Scope::Device(name.clone())) {
            Some(Grant::Device(grant)) => Some(grant),
            Some(Grant::Service(_)) | None => None,
        }
    }

    /// Tells whether a token of a policy may let its holder speak for the identity (amqp.md §2.4); where that depends on
    /// the tags of the device, it is asked when its unit opens.
    pub(super) fn has_policy_for(&self, name: &IdentityName) -> bool {
        self.may_speak(name, |coverage| coverage != Coverage::No)
    }

    fn may_speak(&self, name: &IdentityName, is_enough: impl Fn(Coverage) -> bool) -> bool {
        let device = name.device.as_str();
        let module = name.module.as_ref();
        let path: &[&str] = match module {
            None => &["devices", device],
            Some(module) => &["devices", device, "modules", module.as_str()],
        };
        let access = Access::to_device(Action::ActAsDevice, &name.device);
        self.principals()
            .any(|principal| is_enough(principal.coverage(&access, path)))
    }

    /// All who have shown tokens as back-ends.
    pub(super) fn back_ends(&self) -> Vec<Principal> {
        self.principals().cloned().collect()
    }

    /// Tells whether any token lets its holder speak for the identity, without a look at tags: a unit whose last token of
    /// another kind has ended opens anew, and is asked for them then.
    pub(super) fn cover(&self, name: &IdentityName) -> bool {
        self.of_device(name).is_some() || self.may_speak(name, |coverage| coverage == Coverage::Yes)
    }

    /// Who has shown a token as a back-end on the connection, for the log.
    pub(super) fn actor(&self) -> Option<String> {
        self.principals().next().map(Principal::actor_name)
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

    /// Drops the tokens whose keys are gone; answers whether there was any.
    pub(super) fn drop_dead(&mut self, is_alive: impl Fn(CredentialId) -> bool) -> bool {
        let before = self.live.len();
        self.live.retain(|_, grant| is_alive(grant.credential()));
        let is_any_dead = self.live.len() < before;
        if is_any_dead {
            self.find_first_end();
        }
        is_any_dead
    }

    /// Drops the tokens that have ended, `grace` included.
    pub(super) fn expire(&mut self, grace: Duration, now: Timestamp) {
        self.live
            .retain(|_, grant| grant.expires_at() + grace > now);
        self.find_first_end();
    }
}
