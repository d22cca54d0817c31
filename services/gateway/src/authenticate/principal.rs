//! Whoever proved to be a back-end, and what it may do.

use std::sync::Arc;

use downlink_auth::TokenScope;
use downlink_domain::Timestamp;
use downlink_domain::access::{Access, Action};
use downlink_domain::policy::Coverage;
use downlink_domain::twin::Object;
use downlink_oidc::Bearer;

use super::{CredentialId, Denied};
use crate::access::KnownPolicy;

/// Longest name of an actor, in bytes (`domain::access::Actor`).
const MAX_ACTOR_BYTES: usize = 512;

/// A back-end that proved itself, and for how long. Clones share what it is.
#[derive(Clone, Debug)]
pub struct Principal {
    kind: Arc<Kind>,
    expires_at: Timestamp,
}

#[derive(Debug)]
enum Kind {
    /// The holder of a token of a policy.
    Policy {
        policy: Arc<KnownPolicy>,
        scope: TokenScope,
        /// The scope as it was signed.
        scope_text: Box<str>,
        credential: CredentialId,
    },
    /// The holder of a token of an issuer.
    Bearer(Bearer),
}

/// For what a principal's token is: one that is renewed takes the place of the older one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PrincipalKey {
    by: String,
    scope: String,
    is_bearer: bool,
}

impl Principal {
    pub(super) fn of_policy(
        policy: &Arc<KnownPolicy>,
        key: usize,
        scope: TokenScope,
        scope_text: &str,
        expires_at: Timestamp,
    ) -> Self {
        let kind = Kind::Policy {
            policy: Arc::clone(policy),
            scope,
            scope_text: scope_text.into(),
            credential: policy.credential(key),
        };
        let kind = Arc::new(kind);
        Self { kind, expires_at }
    }

    pub(super) fn of_bearer(bearer: Bearer) -> Self {
        let expires_at_seconds = bearer.expires_at_seconds;
        Self {
            kind: Arc::new(Kind::Bearer(bearer)),
            expires_at: Timestamp::from_millis(expires_at_seconds.saturating_mul(1000)),
        }
    }

    /// When the token ends.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// By what lives that the token has opened.
    pub fn credential(&self) -> CredentialId {
        match *self.kind {
            Kind::Policy { credential, .. } => credential,
            Kind::Bearer(_) => CredentialId::OWN,
        }
    }

    /// Name of the policy whose key signed the token; `None` for a token of an issuer.
    pub fn policy(&self) -> Option<&str> {
        match &*self.kind {
            Kind::Policy { policy, .. } => Some(policy.name()),
            Kind::Bearer(_) => None,
        }
    }

    /// Who it is, for log and audit; at most 512 bytes, and no secret.
    pub fn actor_name(&self) -> String {
        let mut name = match &*self.kind {
            Kind::Policy { policy, .. } => format!("policy {}", policy.name()),
            Kind::Bearer(bearer) => format!("subject {} of {}", bearer.subject, bearer.issuer),
        };
        name.truncate(name.floor_char_boundary(MAX_ACTOR_BYTES));
        name
    }

    /// What a token that renews this one has in common with it.
    pub fn key(&self) -> PrincipalKey {
        match &*self.kind {
            Kind::Policy {
                policy, scope_text, ..
            } => PrincipalKey {
                by: policy.name().to_owned(),
                scope: scope_text.to_string(),
                is_bearer: false,
            },
            Kind::Bearer(bearer) => PrincipalKey {
                by: bearer.issuer.to_string(),
                scope: bearer.subject.clone(),
                is_bearer: true,
            },
        }
    }

    /// Whether the token lets its holder do what `access` asks to what `path` names by its decoded segments:
    /// `["devices", "dev1"]`. Tokens of policies are scoped by it (auth.md §3.3 step 4).
    pub fn coverage(&self, access: &Access<'_>, path: &[&str]) -> Coverage {
        match &*self.kind {
            Kind::Policy { policy, scope, .. } if scope.covers(path) => policy.covers(access),
            Kind::Bearer(bearer) if bearer.actions.contains(access.action) => Coverage::Yes,
            Kind::Policy { .. } | Kind::Bearer(_) => Coverage::No,
        }
    }

    /// Whether it does for a device with these tags, where [`Self::coverage`] depends on them.
    pub fn covers_tags(&self, tags: &Object) -> bool {
        match &*self.kind {
            Kind::Policy { policy, .. } => policy.covers_tags(tags),
            Kind::Bearer(_) => false,
        }
    }

    /// Whether it may do `action` to some device, by some method, through `path`.
    pub fn may_ever(&self, action: Action, path: &[&str]) -> bool {
        match &*self.kind {
            Kind::Policy { policy, scope, .. } => scope.covers(path) && policy.may_ever(action),
            Kind::Bearer(bearer) => bearer.actions.contains(action),
        }
    }

    /// Whether it may do what it may to some devices only.
    pub fn is_limited_to_devices(&self) -> bool {
        match &*self.kind {
            Kind::Policy { policy, .. } => policy.is_limited_to_devices(),
            Kind::Bearer(_) => false,
        }
    }

    /// The refusal of what it may not do.
    pub fn denied(&self) -> Denied {
        match *self.kind {
            Kind::Policy { .. } => Denied::Policy,
            Kind::Bearer(_) => Denied::Bearer,
        }
    }
}
