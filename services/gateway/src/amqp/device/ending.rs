//! How units end. Each ends by itself: the others of the connection go on.

use downlink_amqp::engine::{LinkId, UnsettledDelivery};
use downlink_amqp::performative::AmqpError;
use downlink_domain::ErrorCode;
use downlink_domain::id::IdentityName;
use downlink_domain::presence::{ConnectionEnd, DisconnectReason};
use tracing::{info, warn};

use super::kind::{DeviceLink, LinkKind};
use super::unit::{Open, Phase, UnitId};
use super::work::{self, Ended};
use crate::amqp::condition::error_of;
use crate::amqp::conversation::{Conversation, going_away};
use crate::device::Departing;

/// Why a unit ends, for the log and for the record.
pub(super) type Cause = (&'static str, ConnectionEnd);

/// Its client took all its links back.
pub(super) const LINKS_DETACHED: Cause = ("links detached", ConnectionEnd::Closed);
/// Its connection ended, in whichever way.
const CONNECTION_ENDED: Cause = ("connection ended", ConnectionEnd::Lost);
/// Its token's time is over.
pub(super) const TOKEN_EXPIRED: Cause = ("token expired", ConnectionEnd::TokenExpired);
/// The gateway is going away.
pub(super) const DRAINING: Cause = (
    "draining",
    ConnectionEnd::Ordered(DisconnectReason::Draining),
);

impl Conversation {
    /// Takes leave of a link of a unit; the last one takes the unit along.
    pub(in crate::amqp) fn on_device_link_detached(
        &mut self,
        link: LinkId,
        of: DeviceLink,
        unsettled: &[UnsettledDelivery],
    ) {
        let Some(unit) = self.units.get_mut(of.unit) else {
            return;
        };
        match &mut unit.phase {
            Phase::Opening(opening) => opening.waiting.retain(|waiting| waiting.link != link),
            Phase::Open(open) => {
                if open.links.leave(of.kind, link) {
                    self.on_link_lost(of.unit, link, of.kind);
                }
                if of.kind == LinkKind::Messages {
                    self.give_back(of.unit, unsettled);
                }
            }
        }
        self.units.touch(of.unit);
    }

    /// Drops what a link had under way that has lost its place in its unit.
    pub(super) fn on_link_lost(&mut self, unit: UnitId, link: LinkId, kind: LinkKind) {
        match kind {
            LinkKind::Messages => self.stop_messages(unit, link),
            LinkKind::MethodCalls | LinkKind::MethodAnswers => self.end_calls(unit),
            LinkKind::TwinRequests | LinkKind::TwinReplies => self.end_twin(unit, link),
            LinkKind::Telemetry | LinkKind::ModuleInputs => {}
        }
    }

    /// Ends a unit because the hub wants it.
    pub(super) fn on_close_order(&mut self, id: UnitId, reason: DisconnectReason) {
        let (error, cause) = match reason {
            DisconnectReason::Superseded => (super::stolen(), "superseded"),
            DisconnectReason::Deleted => {
                let text = "the device was deleted";
                let error = error_of(ErrorCode::DeviceNotFound, text);
                (error, "identity deleted")
            }
            DisconnectReason::Disabled => (super::token_invalid(), "identity disabled"),
            DisconnectReason::KeysChanged => (super::token_invalid(), "keys changed"),
            DisconnectReason::Draining => (going_away(), "draining"),
        };
        let is_revoked = match reason {
            DisconnectReason::Deleted
            | DisconnectReason::Disabled
            | DisconnectReason::KeysChanged => true,
            DisconnectReason::Superseded | DisconnectReason::Draining => false,
        };
        if is_revoked && let Some(open) = self.units.open_mut(id) {
            self.grants.revoke_of(open.session.device());
        }
        self.end_unit(id, &error, (cause, ConnectionEnd::Ordered(reason)));
    }

    /// Ends a unit: its links are detached with `error`, or refused if they wait, and what it held
    /// goes back.
    pub(super) fn end_unit(&mut self, id: UnitId, error: &AmqpError, cause: Cause) {
        let Some(unit) = self.units.remove(id) else {
            return;
        };
        match unit.phase {
            Phase::Opening(opening) => {
                for waiting in opening.waiting {
                    self.links.remove(waiting.link);
                    self.engine.refuse(waiting.link, error.clone());
                }
            }
            Phase::Open(open) => {
                for link in open.links.iter() {
                    self.engine.detach(link, Some(error.clone()));
                }
                self.close_session(unit.name, open, cause);
            }
        }
    }

    /// Ends a unit whose last link has gone.
    pub(super) fn drop_unit(&mut self, id: UnitId) {
        let Some(unit) = self.units.remove(id) else {
            return;
        };
        // A session that is being opened for it is closed when it is open.
        if let Phase::Open(open) = unit.phase {
            let cause = if self.engine.is_finished() {
                CONNECTION_ENDED
            } else {
                LINKS_DETACHED
            };
            self.close_session(unit.name, open, cause);
        }
    }

    /// Has a session leave the hub.
    pub(super) fn close_session(&mut self, name: IdentityName, open: Box<Open>, cause: Cause) {
        let Open {
            mut session,
            held,
            opened_at,
            connected,
            ..
        } = *open;
        self.held.remove_all(&held);
        let ended = Ended {
            name,
            cause: cause.0,
            duration: opened_at.elapsed(),
            connected,
        };
        session.ends_by(cause.1);
        self.units.begin_passing();
        self.start(work::close(session, ended));
    }

    pub(super) fn on_closed(&mut self, ended: Ended, departing: Option<Departing>) {
        self.units.end_passing();
        drop(ended.connected);
        info!(
            device.id = %ended.name,
            duration = ?ended.duration,
            cause = ended.cause,
            "amqp device ended"
        );
        if departing.is_none() {
            warn!(device.id = %ended.name, "leaving took too long, locks and presence will lapse");
        }
    }
}
