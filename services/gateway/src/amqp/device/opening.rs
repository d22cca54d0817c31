//! How units begin: the first link of an identity on a session waits until the hub has let it in.

use std::collections::HashMap;
use std::sync::Arc;

use downlink_amqp::engine::{AttachRequest, LinkId};
use downlink_amqp::performative::{AmqpError, SenderSettleMode, condition};
use downlink_domain::ErrorCode;
use downlink_domain::access::Action;
use downlink_domain::id::IdentityName;
use downlink_domain::presence::ConnectionEnd;
use downlink_ports::events::identity_target;
use tokio::time::Instant;
use tracing::debug;

use super::calling::Calls;
use super::ending::{DRAINING, LINKS_DETACHED, TOKEN_EXPIRED};
use super::kind::{DeviceLink, LinkKind, UnitLinks};
use super::messages::Messages;
use super::twin_pair::TwinPair;
use super::unit::{Connected, Open, Opening, Phase, Tag, UnitId, WaitingLink, wanted};
use super::work;
use super::work::{Claim, NotOpened, Opened, Opener};
use crate::amqp::address::DeviceAddress;
use crate::amqp::attaching::wrong_direction;
use crate::amqp::condition::error_of;
use crate::amqp::conversation::{Conversation, going_away};
use crate::amqp::held::Held;
use crate::amqp::links::Node;
use crate::authenticate::{Cause, Refusal};
use crate::device::{DeviceSession, OpenError};
use crate::metrics::RefusedFor;

/// Links that may wait for one unit; more has no client.
const MAX_WAITING: usize = 16;
/// Property of a link that names the model of its device.
const MODEL_ID: &str = "com.microsoft:model-id";
/// Longest name of a model that is taken note of, in bytes.
const MAX_MODEL_ID_BYTES: usize = 256;

impl Conversation {
    /// Has a link of a device or module attached, now or when its unit has opened.
    ///
    /// # Errors
    /// The reason to refuse it.
    pub(in crate::amqp) fn admit_device_link(
        &mut self,
        request: &AttachRequest,
        address: DeviceAddress,
    ) -> Result<(), AmqpError> {
        let names = self.allowed_names(address.names);
        let Some(name) = names.first() else {
            let text = "no token of the connection allows this link";
            return Err(error_of(ErrorCode::IotHubUnauthorizedAccess, text));
        };
        let kind = LinkKind::of(address.node, request.role, name.module.is_some())
            .ok_or_else(wrong_direction)?;
        let channel = request.link.channel();
        let found = names.iter().find_map(|name| self.units.find(channel, name));
        let unit = found.unwrap_or_else(|| {
            let opening = Opening {
                names: names.clone(),
                waiting: Vec::new(),
                model_id: None,
            };
            self.units.enter(channel, name.clone(), Box::new(opening))
        });
        self.join(unit, request, kind)
    }

    /// The readings of an address that a token allows: the first that has one of its own, or all
    /// that a policy speaks for. Where none does and the client presented a certificate, any may be
    /// its own, which turns out when the unit opens.
    fn allowed_names(&self, mut names: Vec<IdentityName>) -> Vec<IdentityName> {
        let own = names
            .iter()
            .position(|name| self.grants.of_device(name).is_some());
        if let Some(index) = own {
            return vec![names.swap_remove(index)];
        }
        let has_policy = names.iter().any(|name| self.grants.has_policy_for(name));
        if has_policy || self.certificates.is_none() {
            names.retain(|name| self.grants.has_policy_for(name));
        }
        names
    }

    /// Adds a link to a unit, or to those that wait for it.
    fn join(
        &mut self,
        unit: UnitId,
        request: &AttachRequest,
        kind: LinkKind,
    ) -> Result<(), AmqpError> {
        let link = request.link;
        let node = DeviceLink {
            unit,
            kind,
            is_presettled: request.snd_settle_mode == Some(SenderSettleMode::Settled),
        };
        match &mut self.units.get_mut(unit).ok_or_else(no_unit)?.phase {
            Phase::Open(open) if open.links.is_full(kind) => return Err(too_many_links()),
            Phase::Open(_) => {
                self.links.insert(link, Node::Device(node));
                self.accept_device_link(unit, link, kind);
            }
            Phase::Opening(opening) if opening.waiting.len() >= MAX_WAITING => {
                return Err(too_many_links());
            }
            Phase::Opening(opening) => {
                opening.waiting.push(WaitingLink { link, kind });
                if opening.model_id.is_none() {
                    opening.model_id = model_of(request);
                }
                self.links.insert(link, Node::Device(node));
            }
        }
        Ok(())
    }

    /// Accepts a link of an open unit; an older one of its kind gives way.
    fn accept_device_link(&mut self, unit: UnitId, link: LinkId, kind: LinkKind) {
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let older = open.links.enter(kind, link);
        if let Some(older) = older {
            self.on_link_lost(unit, older, kind);
            let text = "another link of the device took its place";
            self.engine
                .detach(older, Some(AmqpError::new(condition::LINK_STOLEN, text)));
        }
        self.engine.accept(link, kind.terms(&self.shared.options));
        self.units.touch(unit);
    }

    /// Begins to open units, as many at a time as may.
    pub(in crate::amqp) fn open_units(&mut self) {
        while let Some(id) = self.units.take_queued(!self.is_admitted) {
            if self.is_parting {
                self.end_unit(id, &going_away(), DRAINING);
                continue;
            }
            let Some(unit) = self.units.get_mut(id) else {
                continue;
            };
            let Phase::Opening(opening) = &mut unit.phase else {
                continue;
            };
            let names = opening.names.clone();
            let model_id = opening.model_id.take();
            let has = |kind| opening.waiting.iter().any(|waiting| waiting.kind == kind);
            let subscriptions = wanted(has, false);
            let Some(claim) = self.claim(names) else {
                self.end_unit(id, &super::token_invalid(), TOKEN_EXPIRED);
                continue;
            };
            let opener = Opener {
                unit: id,
                claim,
                protocol: self.protocol,
                subscriptions,
                model_id,
            };
            self.units.begin_passing();
            let shared = Arc::clone(&self.shared);
            self.start(work::open(shared, opener));
        }
    }

    fn claim(&self, names: Vec<IdentityName>) -> Option<Claim> {
        let names = self.allowed_names(names);
        let own = names.first()?;
        let claim = match self.grants.of_device(own) {
            Some(grant) => Claim::Own(Box::new(grant.device.clone()), grant.by),
            None if self.grants.has_policy_for(own) => {
                Claim::Policy(names, self.grants.back_ends())
            }
            None => Claim::Certificate(names, self.certificates.clone()?),
        };
        Some(claim)
    }

    pub(super) fn on_opened(&mut self, id: UnitId, outcome: Result<Opened, NotOpened>) {
        self.units.end_passing();
        if self.is_parting {
            // No link is attached any more; a session that was opened is closed again.
            self.end_unit(id, &going_away(), DRAINING);
        }
        match outcome {
            Ok(Opened { session, grant }) => {
                let room = grant.map_or(Ok(()), |grant| self.on_proved(grant));
                self.on_let_in(id, session);
                if let Err(error) = room {
                    self.end_unit(id, &error, ("too many identities", ConnectionEnd::Refused));
                }
            }
            Err(not_opened) => {
                debug!(?not_opened, "a device was not let in");
                self.note_not_opened(id, &not_opened);
                let (error, cause) = self.refusal_of(id, &not_opened);
                if let Some(cause) = cause {
                    self.shared.metrics.connect_refused(cause);
                }
                self.end_unit(id, &error, ("not let in", ConnectionEnd::Refused));
            }
        }
    }

    fn on_let_in(&mut self, id: UnitId, mut session: Box<DeviceSession<Tag>>) {
        // Only credit lets messages out, and none is known yet.
        session.set_credit(0);
        let waker = self.units.waker_of(id);
        let name = session.device().name.clone();
        let asked = session.subscriptions();
        let open = Box::new(Open {
            session: *session,
            waker,
            links: UnitLinks::default(),
            asked,
            is_subscribing: false,
            wants_desired: false,
            held: Held::default(),
            broken: HashMap::new(),
            messages: Messages::default(),
            calls: Calls::default(),
            twin: TwinPair::default(),
            opened_at: Instant::now(),
            connected: Connected::count(&self.shared.metrics.devices),
        });
        let Some(unit) = self.units.get_mut(id) else {
            // Its links have gone meanwhile.
            self.close_session(name, open, LINKS_DETACHED);
            return;
        };
        let before = std::mem::replace(&mut unit.phase, Phase::Open(open));
        self.units.rename(id, &name);
        if let Phase::Opening(opening) = before {
            for WaitingLink { link, kind } in opening.waiting {
                self.accept_device_link(id, link, kind);
            }
        }
        self.units.touch(id);
        self.wake_unit(id);
    }

    /// Notes for the audit that a unit was not let in, if that was for what it showed.
    fn note_not_opened(&mut self, id: UnitId, not_opened: &NotOpened) {
        let Some(unit) = self.units.get_mut(id) else {
            return;
        };
        let (audit, origin, name) = (&self.shared.audit, self.origin, &unit.name);
        match not_opened {
            NotOpened::Unproved(refusal) => audit.refused_device(origin, name, refusal),
            NotOpened::Disabled => {
                audit.refused_device(origin, name, &Refusal::of(Cause::Disabled));
            }
            NotOpened::Denied => {
                let who = self.grants.actor().unwrap_or_default();
                let code = ErrorCode::IotHubUnauthorizedAccess;
                let target = identity_target(name);
                audit.denied_to(origin, &who, Action::ActAsDevice, &target, code);
            }
            NotOpened::NotFound | NotOpened::Refused(_) => {}
        }
    }

    /// What links are told of a unit that was not let in, and what is counted.
    fn refusal_of(
        &mut self,
        id: UnitId,
        not_opened: &NotOpened,
    ) -> (AmqpError, Option<RefusedFor>) {
        let refused = |code, text| error_of(code, text);
        match not_opened {
            NotOpened::NotFound => (
                refused(ErrorCode::DeviceNotFound, "the device is not registered"),
                Some(RefusedFor::Unauthorized),
            ),
            NotOpened::Disabled => (
                refused(ErrorCode::DeviceDisabled, "the device is disabled"),
                Some(RefusedFor::Disabled),
            ),
            NotOpened::Unproved(refusal) => self.on_unproved(refusal),
            NotOpened::Denied => (
                refused(
                    ErrorCode::IotHubUnauthorizedAccess,
                    "no token of the connection allows this link",
                ),
                Some(RefusedFor::Unauthorized),
            ),
            NotOpened::Refused(OpenError::Unavailable(_)) => (
                refused(
                    ErrorCode::ServiceUnavailable,
                    "the hub cannot be entered now",
                ),
                Some(RefusedFor::Unavailable),
            ),
            NotOpened::Refused(OpenError::Superseded) => (super::stolen(), None),
            NotOpened::Refused(OpenError::Revoked) => {
                if let Some(unit) = self.units.get_mut(id) {
                    self.grants.revoke(&unit.name);
                }
                (super::token_invalid(), Some(RefusedFor::Unauthorized))
            }
        }
    }
}

fn model_of(request: &AttachRequest) -> Option<Box<str>> {
    let (_, value) = request
        .properties
        .iter()
        .find(|(key, _)| key.as_str() == MODEL_ID)?;
    let model = value.as_text()?;
    let is_taken = !model.is_empty() && model.len() <= MAX_MODEL_ID_BYTES;
    is_taken.then(|| model.into())
}

fn too_many_links() -> AmqpError {
    let text = "too many links of one device";
    AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, text)
}

/// A unit that was just found or entered is there.
fn no_unit() -> AmqpError {
    error_of(ErrorCode::ServerError, "the device is leaving")
}
