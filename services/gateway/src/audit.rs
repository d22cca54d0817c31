//! Who did what, and who was refused, for the audit (`docs/security.md`).
//!
//! A refusal is noted in a bounded ledger on the way to its answer, which waits for nothing; a task of its own turns
//! the ledger into records and hands them to the queue service. No token, key or certificate comes near it.

mod ledger;
mod metrics;
mod records;
#[cfg(test)]
mod tests;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;

use downlink_auth::SasToken;
use downlink_domain::access::{Action, Actor};
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::{ErrorCode, Timestamp};
use downlink_ports::events::identity_target;
use downlink_ports::{Clock, IdSource, QueueApi};
use downlink_runtime::{Lifecycle, OnError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::metrics::AuditMetrics;

use self::ledger::{Key, Ledger, What};
use crate::access::AccessWatch;
use crate::arrival::Arrival;
use crate::authenticate::{Cause, Denied, Principal, Refusal, RefusalKind};
use crate::metrics::Door;
use crate::peers::Peers;

/// Longest claim and longest target that are kept, in bytes: the longest name of a module, with its device.
const MAX_CLAIM_BYTES: usize = 300;

/// Who asks for something: whoever proved itself, on a connection that came so, through `door`.
pub(crate) fn actor(
    principal: Option<&Principal>,
    arrival: Option<&Arc<Arrival>>,
    door: &'static str,
) -> Actor {
    let peer = arrival.and_then(|arrival| arrival.peer);
    Actor {
        credential: principal.map(Principal::actor_name).unwrap_or_default(),
        address: peer.map(|peer| peer.to_string()).unwrap_or_default(),
        door: door.to_owned(),
    }
}

/// Through which door somebody came, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The door.
    pub door: Door,
    /// Address of the peer, if there is one.
    pub peer: Option<SocketAddr>,
}

impl Origin {
    /// Through a door of HTTP, whose requests carry how their connection came.
    pub fn http(door: Door, arrival: Option<&Arc<Arrival>>) -> Self {
        let peer = arrival.and_then(|arrival| arrival.peer);
        Self { door, peer }
    }
}

/// Takes note of refusals.
pub struct Audit {
    ledger: Mutex<Ledger>,
    /// There is something that was not there before.
    news: Notify,
    metrics: AuditMetrics,
    access: Arc<AccessWatch>,
    hub: HubName,
    queue: Arc<dyn QueueApi>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl Audit {
    /// Starts the task that writes records, in `scope`. Drain: what is noted is written, within a bound.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        hub: &HubName,
        peers: &Peers,
        access: Arc<AccessWatch>,
        metrics: AuditMetrics,
        scope: &Lifecycle,
    ) -> Arc<Self> {
        let audit = Arc::new(Self {
            ledger: Mutex::default(),
            news: Notify::new(),
            metrics,
            access,
            hub: hub.clone(),
            queue: Arc::clone(&peers.queue),
            clock: Arc::clone(&peers.clock),
            ids: Arc::clone(&peers.ids),
        });
        let writing = writer::run(Arc::clone(&audit), scope.drain_token());
        scope.spawn("audit", OnError::Log, writing);
        audit
    }

    /// Notes that the credential of whoever claims to be `name` was refused.
    pub fn refused_device(&self, origin: Origin, name: &IdentityName, refusal: &Refusal) {
        let target = identity_target(name);
        self.refused(origin, &format!("device {}", said(name)), &target, refusal);
    }

    /// Notes that a credential which should have been one of a back-end was refused. Of what stands in it, the name of
    /// the policy alone is kept, and only if there is such a policy: anything may stand there.
    pub fn refused_service(&self, origin: Origin, credential: &str, refusal: &Refusal) {
        let token = SasToken::parse(credential).ok();
        let policy = token.as_ref().and_then(|token| token.policy());
        let view = self.access.current().ok();
        let known = policy.filter(|name| view.is_some_and(|view| view.policy(name).is_some()));
        let who = known.map(|policy| format!("policy {policy}"));
        let who = who.unwrap_or_default();
        self.refused(origin, &who, "", refusal);
    }

    /// Notes that a credential was refused, which claimed to be that of `who`.
    pub fn refused(&self, origin: Origin, who: &str, target: &str, refusal: &Refusal) {
        let cause = refusal.cause();
        self.metrics.refused(origin.door, cause);
        // That nobody could be asked, says nothing of the credential.
        if refusal.kind() != RefusalKind::Unavailable {
            let code = ErrorCode::IotHubUnauthorized;
            self.note(origin, What::Credential(cause), who, target, code);
        }
    }

    /// Notes that `principal`, which proved itself, was refused `action` to what `path` names.
    pub fn denied(
        &self,
        origin: Origin,
        principal: &Principal,
        action: Action,
        path: &[&str],
        denied: &Denied,
    ) {
        if matches!(denied, Denied::Unavailable(_)) {
            self.metrics.refused(origin.door, Cause::Unavailable);
            return;
        }
        let (who, target) = (principal.actor_name(), path.join("/"));
        self.denied_to(origin, &who, action, &target, denied.code());
    }

    /// Notes that `who`, whose credential held, was refused `action` to `target`.
    pub fn denied_to(
        &self,
        origin: Origin,
        who: &str,
        action: Action,
        target: &str,
        code: ErrorCode,
    ) {
        self.metrics.refused(origin.door, Cause::Right);
        self.note(origin, What::Right(action), who, target, code);
    }

    fn note(&self, origin: Origin, what: What, who: &str, target: &str, code: ErrorCode) {
        let key = Key {
            what,
            door: origin.door.as_str(),
            who: cut(who).into(),
            address: origin.peer.map(|peer| peer.ip().to_canonical()),
        };
        let (at, now) = (self.clock.now(), Instant::now());
        let is_new = self.ledger.lock().note(key, cut(target), code, at, now);
        if is_new {
            self.news.notify_one();
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn said(name: &IdentityName) -> String {
    match &name.module {
        None => name.device.as_str().to_owned(),
        Some(module) => format!("{}/{}", name.device.as_str(), module.as_str()),
    }
}

/// The first bytes, as many as are kept.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_CLAIM_BYTES)]
}
