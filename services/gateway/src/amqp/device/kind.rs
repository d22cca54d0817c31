//! What the links of a device or module are for.

use downlink_amqp::engine::{Accept, LinkId};
use downlink_amqp::performative::Role;

use super::UnitId;
use crate::amqp::address::DeviceNode;
use crate::options::GatewayOptions;

/// What a link of a device or module is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::amqp) enum LinkKind {
    /// Telemetry comes in.
    Telemetry,
    /// Messages of back-ends go out.
    Messages,
    /// Method calls go out.
    MethodCalls,
    /// Answers to method calls come in.
    MethodAnswers,
    /// Twin requests come in.
    TwinRequests,
    /// Twin replies and changed desired properties go out.
    TwinReplies,
    /// Messages for the inputs of a module would go out; there are none without an edge.
    ModuleInputs,
}

/// What the door keeps with each link of a device or module.
#[derive(Clone, Copy, Debug)]
pub(in crate::amqp) struct DeviceLink {
    pub(super) unit: UnitId,
    pub(super) kind: LinkKind,
    /// Whether the client asks for messages that are settled when they come.
    pub(super) is_presettled: bool,
}

/// Largest message the hub sends to a device, as announced: nothing it sends is larger.
const MAX_SENT_BYTES: u64 = 1024 * 1024;
/// What a message may have besides its payload.
const OVERHEAD_BYTES: usize = 16 * 1024;
/// Answers that may come at a time; each is worked off at once.
const ANSWER_CREDIT: u32 = 64;
/// Twin requests that may wait their turn; they are worked on one by one.
const REQUEST_CREDIT: u32 = 8;

impl LinkKind {
    /// Returns what a link to `node` is for, `None` when the client cannot use it this way.
    pub(super) fn of(node: DeviceNode, role: Role, is_module: bool) -> Option<Self> {
        match (node, role) {
            (DeviceNode::Events, Role::Receiver) => Some(Self::Telemetry),
            (DeviceNode::Events, Role::Sender) => is_module.then_some(Self::ModuleInputs),
            (DeviceNode::Devicebound, Role::Sender) => Some(Self::Messages),
            (DeviceNode::Devicebound, Role::Receiver) => None,
            (DeviceNode::Methods, Role::Sender) => Some(Self::MethodCalls),
            (DeviceNode::Methods, Role::Receiver) => Some(Self::MethodAnswers),
            (DeviceNode::Twin, Role::Sender) => Some(Self::TwinReplies),
            (DeviceNode::Twin, Role::Receiver) => Some(Self::TwinRequests),
        }
    }

    /// Terms on which such a link is accepted. C sizes its batches of telemetry by the size that
    /// is announced (amqp.md §4.4).
    pub(super) fn terms(self, options: &GatewayOptions) -> Accept {
        let (credit_window, max_message_bytes) = match self {
            Self::Telemetry => (options.amqp.link_credit, options.max_telemetry_bytes as u64),
            Self::MethodAnswers => {
                let most = options.max_method_bytes.saturating_add(OVERHEAD_BYTES);
                (ANSWER_CREDIT, most as u64)
            }
            Self::TwinRequests => (REQUEST_CREDIT, options.max_telemetry_bytes as u64),
            Self::Messages | Self::MethodCalls | Self::TwinReplies | Self::ModuleInputs => {
                (0, MAX_SENT_BYTES)
            }
        };
        Accept {
            credit_window,
            max_message_bytes,
        }
    }
}

/// Telemetry links that a unit may have.
pub(super) const MAX_TELEMETRY_LINKS: usize = 8;

/// The attached links of a unit: one of each kind, and some for telemetry.
#[derive(Debug, Default)]
pub(super) struct UnitLinks {
    single: [Option<LinkId>; 6],
    telemetry: Vec<LinkId>,
}

fn place(kind: LinkKind) -> Option<usize> {
    match kind {
        LinkKind::Telemetry => None,
        LinkKind::Messages => Some(0),
        LinkKind::MethodCalls => Some(1),
        LinkKind::MethodAnswers => Some(2),
        LinkKind::TwinRequests => Some(3),
        LinkKind::TwinReplies => Some(4),
        LinkKind::ModuleInputs => Some(5),
    }
}

impl UnitLinks {
    /// The link of a kind of which there is one.
    pub(super) fn get(&self, kind: LinkKind) -> Option<LinkId> {
        place(kind).and_then(|index| self.single[index])
    }

    /// Whether a further link of this kind takes the place of none, and there is no room.
    pub(super) fn is_full(&self, kind: LinkKind) -> bool {
        kind == LinkKind::Telemetry && self.telemetry.len() >= MAX_TELEMETRY_LINKS
    }

    /// Enters a link and returns the one whose place it takes.
    pub(super) fn enter(&mut self, kind: LinkKind, link: LinkId) -> Option<LinkId> {
        if let Some(index) = place(kind) {
            return self.single[index].replace(link);
        }
        self.telemetry.push(link);
        None
    }

    /// Takes out a link and returns whether it had its place.
    pub(super) fn leave(&mut self, kind: LinkKind, link: LinkId) -> bool {
        if let Some(index) = place(kind) {
            return self.single[index]
                .take_if(|current| *current == link)
                .is_some();
        }
        let before = self.telemetry.len();
        self.telemetry.retain(|other| *other != link);
        self.telemetry.len() < before
    }

    pub(super) fn is_empty(&self) -> bool {
        self.telemetry.is_empty() && self.single.iter().all(Option::is_none)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = LinkId> {
        self.single.iter().flatten().chain(&self.telemetry).copied()
    }
}
