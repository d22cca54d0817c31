//! One device or module on one session of the connection: a unit. Its fate is its own.

use std::collections::HashMap;
use std::sync::Arc;

use downlink_amqp::engine::{DeliveryId, LinkId};
use downlink_amqp::performative::DeliveryState;
use downlink_domain::id::IdentityName;
use downlink_domain::presence::Subscriptions;
use downlink_runtime::telemetry::HotGauge;
use tokio::time::Instant;

use super::calling::Calls;
use super::kind::{LinkKind, UnitLinks};
use super::messages::Messages;
use super::ready::UnitWaker;
use super::twin_pair::TwinPair;
use crate::amqp::held::Held;
use crate::device::DeviceSession;

/// Names a unit for as long as its connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::amqp) struct UnitId(pub(super) u64);

/// The way back from the end of a piece of work to the delivery that asked for it.
#[derive(Debug)]
pub(in crate::amqp) enum Tag {
    /// A message of a batch whose last one ends the delivery.
    Part { link: LinkId, delivery: DeliveryId },
    /// Telemetry: settle this when it is stored.
    Telemetry {
        link: LinkId,
        delivery: DeliveryId,
        /// About the memory it takes meanwhile.
        bytes: usize,
    },
    /// A change of subscriptions that links brought about.
    Subscriptions,
    /// The twin request that is worked on.
    Twin,
}

/// A link that waits for its unit to open.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitingLink {
    pub(super) link: LinkId,
    pub(super) kind: LinkKind,
}

/// One device or module on one session.
pub(super) struct Unit {
    pub(super) name: IdentityName,
    pub(super) channel: u16,
    pub(super) phase: Phase,
}

/// Where a unit stands.
pub(super) enum Phase {
    /// Its session with the hub is being opened, or is to be.
    Opening(Box<Opening>),
    /// It is open.
    Open(Box<Open>),
}

/// What a unit has while it is being opened.
pub(super) struct Opening {
    /// Who it may be: the id as it stands in the address, and decoded.
    pub(super) names: Vec<IdentityName>,
    /// Links that wait for it, in the order of their attaches.
    pub(super) waiting: Vec<WaitingLink>,
    /// The model that the device announced.
    pub(super) model_id: Option<Box<str>>,
}

/// What an open unit has.
pub(super) struct Open {
    pub(super) session: DeviceSession<Tag>,
    pub(super) waker: Arc<UnitWaker>,
    pub(super) links: UnitLinks,
    /// What presence was last asked to know.
    pub(super) asked: Subscriptions,
    /// Whether presence is being told what the links call for.
    pub(super) is_subscribing: bool,
    /// Whether the device wants to be told of desired properties.
    pub(super) wants_desired: bool,
    /// Messages taken and not answered yet, which the connection holds.
    pub(super) held: Held,
    /// Batches of which a part was not stored, with what is to be said of them; no more than deliveries are held.
    pub(super) broken: HashMap<(LinkId, DeliveryId), DeliveryState>,
    pub(super) messages: Messages,
    pub(super) calls: Calls,
    pub(super) twin: TwinPair,
    pub(super) opened_at: Instant,
    /// Counted among the connected devices as long as this lives.
    pub(super) connected: Connected,
}

/// A device that counts as connected until this is dropped, which also an end that is cut off
/// comes to.
pub(in crate::amqp) struct Connected(HotGauge);

impl Connected {
    pub(super) fn count(gauge: &HotGauge) -> Self {
        gauge.add(1);
        Self(gauge.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl Open {
    /// What the links of the unit call for.
    pub(super) fn wanted(&self) -> Subscriptions {
        let has = |kind| self.links.get(kind).is_some();
        wanted(has, self.wants_desired)
    }
}

/// What links of these kinds call for.
pub(super) fn wanted(has: impl Fn(LinkKind) -> bool, wants_desired: bool) -> Subscriptions {
    let has_twin = has(LinkKind::TwinRequests) && has(LinkKind::TwinReplies);
    Subscriptions {
        c2d: has(LinkKind::Messages),
        methods: has(LinkKind::MethodCalls) && has(LinkKind::MethodAnswers),
        desired: has_twin && wants_desired,
        twin_replies: has_twin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_unit_is_small() {
        let bytes = size_of::<Open>() + size_of::<Unit>();
        assert!(bytes <= 1536, "{bytes} bytes");
    }
}
