//! What a write of a policy or an authority makes of those that a hub has.
//!
//! Every store decides by a [`Desk`], on records that it holds locked, so that the same write has
//! the same answer and the same audit event whichever store is asked.

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::authority::{CertificateAuthority, MAX_AUTHORITIES, Possession};
use downlink_domain::device::IfMatch;
use downlink_domain::event::Event;
use downlink_domain::id::HubName;
use downlink_domain::policy::{MAX_POLICIES, Policy};

use crate::AccessError;
use crate::events::{AuditOperation, AuditRecord, audit_event};

/// Where one write is decided.
#[derive(Clone, Copy, Debug)]
pub struct Desk<'a> {
    /// The tenant.
    pub hub: &'a HubName,
    /// The version of the hub's snapshot after the write.
    pub version: u64,
    /// Who asks for it.
    pub by: &'a Actor,
    /// When.
    pub now: Timestamp,
}

impl Desk<'_> {
    /// The policy as it will stand among `policies`, and the event to store with it.
    ///
    /// # Errors
    /// [`AccessError`]: it will not.
    pub fn put_policy(
        &self,
        policies: &[Policy],
        policy: Policy,
        if_match: &IfMatch,
    ) -> Result<(Policy, Event), AccessError> {
        let rights = ("permissions", policy.permissions.to_string());
        let mut detail = vec![rights];
        if let Some(scope) = &policy.scope {
            detail.push(("scope", scope.to_json().to_string()));
        }
        if *if_match == IfMatch::Absent {
            check_new(policies, &policy.name, MAX_POLICIES)?;
            let event = self.event(AuditOperation::CreatePolicy, &policy.name, detail);
            return Ok((Policy { etag: 1, ..policy }, event));
        }
        let current = find_current(policies, &policy.name, if_match)?;
        if !policy.administers() {
            check_administrator(policies, current)?;
        }
        detail.push(("replacedKeys", replaced_keys(current, &policy).to_owned()));
        let event = self.event(AuditOperation::UpdatePolicy, &policy.name, detail);
        let etag = current.etag + 1;
        Ok((Policy { etag, ..policy }, event))
    }

    /// The event to store with the deletion of a policy; an absent condition holds for any etag.
    ///
    /// # Errors
    /// [`AccessError`]: it may not go.
    pub fn delete_policy(
        &self,
        policies: &[Policy],
        name: &str,
        if_match: &IfMatch,
    ) -> Result<Event, AccessError> {
        let current = find_current(policies, name, of_deletion(if_match))?;
        check_administrator(policies, current)?;
        Ok(self.event(AuditOperation::DeletePolicy, name, Vec::new()))
    }

    /// The authority as it will stand among `authorities`, and the event to store with it.
    ///
    /// # Errors
    /// [`AccessError`]: it will not.
    pub fn put_authority(
        &self,
        authorities: &[CertificateAuthority],
        authority: CertificateAuthority,
        if_match: &IfMatch,
    ) -> Result<(CertificateAuthority, Event), AccessError> {
        let (operation, etag, created_at) = if *if_match == IfMatch::Absent {
            check_new(authorities, &authority.name, MAX_AUTHORITIES)?;
            (AuditOperation::CreateAuthority, 1, self.now)
        } else {
            let current = find_current(authorities, &authority.name, if_match)?;
            let etag = current.etag + 1;
            (AuditOperation::UpdateAuthority, etag, current.created_at)
        };
        let is_same = |other: &&CertificateAuthority| {
            other.thumbprint == authority.thumbprint && other.name != authority.name
        };
        if let Some(other) = authorities.iter().find(is_same) {
            return Err(AccessError::AlreadyExists(other.name.clone()));
        }
        let is_verified = authority.possession == Possession::Verified;
        let detail = vec![
            ("thumbprint", authority.thumbprint.clone()),
            ("isVerified", is_verified.to_string()),
        ];
        let event = self.event(operation, &authority.name, detail);
        let written = CertificateAuthority {
            etag,
            created_at,
            updated_at: self.now,
            ..authority
        };
        Ok((written, event))
    }

    /// The event to store with the removal of an authority; an absent condition holds for any
    /// etag.
    ///
    /// # Errors
    /// [`AccessError`]: it may not go.
    pub fn delete_authority(
        &self,
        authorities: &[CertificateAuthority],
        name: &str,
        if_match: &IfMatch,
    ) -> Result<Event, AccessError> {
        let current = find_current(authorities, name, of_deletion(if_match))?;
        let detail = vec![("thumbprint", current.thumbprint.clone())];
        Ok(self.event(AuditOperation::DeleteAuthority, name, detail))
    }

    fn event(
        &self,
        operation: AuditOperation,
        name: &str,
        detail: Vec<(&'static str, String)>,
    ) -> Event {
        let record =
            AuditRecord::of_access(operation, self.hub, name, self.version, self.by, self.now);
        audit_event(&AuditRecord { detail, ..record })
    }
}

/// Which keys of a policy are others than before.
fn replaced_keys(before: &Policy, after: &Policy) -> &'static str {
    let [primary, secondary] = [0, 1].map(|key| before.keys[key] != after.keys[key]);
    match (primary, secondary) {
        (false, false) => "none",
        (true, false) => "primary",
        (false, true) => "secondary",
        (true, true) => "both",
    }
}

/// A record that has a name of its own.
trait Record {
    fn name(&self) -> &str;
    fn etag_text(&self) -> String;
}

impl Record for Policy {
    fn name(&self) -> &str {
        &self.name
    }

    fn etag_text(&self) -> String {
        Self::etag_text(self)
    }
}

impl Record for CertificateAuthority {
    fn name(&self) -> &str {
        &self.name
    }

    fn etag_text(&self) -> String {
        Self::etag_text(self)
    }
}

/// Refuses a record whose name is taken, and one beyond `most`.
fn check_new<R: Record>(records: &[R], name: &str, most: usize) -> Result<(), AccessError> {
    if records.iter().any(|record| record.name() == name) {
        return Err(AccessError::AlreadyExists(name.to_owned()));
    }
    if records.len() >= most {
        return Err(AccessError::TooMany(most));
    }
    Ok(())
}

/// The record of that name, if the condition holds for it.
fn find_current<'a, R: Record>(
    records: &'a [R],
    name: &str,
    if_match: &IfMatch,
) -> Result<&'a R, AccessError> {
    let found = records.iter().find(|record| record.name() == name);
    match found {
        None => Err(AccessError::NotFound(name.to_owned())),
        Some(found) if if_match.names(&found.etag_text()) => Ok(found),
        Some(_) => Err(AccessError::PreconditionFailed(name.to_owned())),
    }
}

fn of_deletion(if_match: &IfMatch) -> &IfMatch {
    match if_match {
        IfMatch::Absent => &IfMatch::Any,
        named => named,
    }
}

/// Refuses to do without `current` if it alone administers the hub.
fn check_administrator(policies: &[Policy], current: &Policy) -> Result<(), AccessError> {
    let is_other = |policy: &Policy| policy.name != current.name && policy.administers();
    if current.administers() && !policies.iter().any(is_other) {
        return Err(AccessError::LastAdministrator(current.name.clone()));
    }
    Ok(())
}
