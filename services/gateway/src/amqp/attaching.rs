//! Links that clients want to attach: what they lead to and on which terms, or why not.

use std::collections::VecDeque;

use downlink_amqp::engine::{Accept, AttachRequest};
use downlink_amqp::performative::{AmqpError, Role, condition};
use downlink_domain::ErrorCode;
use downlink_domain::access::Action;
use tracing::debug;

use super::address::{Address, is_of_event_reader, parse_link};
use super::back_end::{Commands, FeedbackNode};
use super::condition::error_of;
use super::conversation::{Conversation, going_away};
use super::links::Node;
use super::tokens;
use crate::options::AmqpOptions;

/// Largest message the hub sends to a back-end, as announced (amqp.md §4.4).
const MAX_SENT_BYTES: u64 = 1024 * 1024;

impl Conversation {
    /// Answers an attach.
    pub(super) fn on_attach(&mut self, request: &AttachRequest) {
        if let Err(error) = self.admit_link(request) {
            debug!(condition = %error.condition, address = request.address, "link refused");
            self.engine.refuse(request.link, error);
        }
    }

    fn admit_link(&mut self, request: &AttachRequest) -> Result<(), AmqpError> {
        let options = &self.shared.options.amqp;
        if self.is_parting {
            return Err(going_away());
        }
        if request.is_dynamic {
            let text = "the hub makes no nodes on demand";
            return Err(AmqpError::new(condition::NOT_IMPLEMENTED, text));
        }
        let Some(address) = request.address.as_deref().and_then(parse_link) else {
            return Err(unknown_address(request.address.as_deref()));
        };
        if self.links.count_in(request.link.channel()) >= options.max_links as usize {
            let text = "too many links in one session";
            return Err(AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
        }
        if let Address::Device(address) = address {
            return self.admit_device_link(request, address);
        }
        if !self.grants.allow(&address) {
            let text = "the token of the connection does not allow this link";
            let code = self.grants.denial();
            self.note_denied_link(&address, code);
            return Err(error_of(code, text));
        }
        let node = node_of(&address, request.role).ok_or_else(wrong_direction)?;
        let terms = terms_of(&node, options);
        self.engine.accept(request.link, terms);
        self.links.insert(request.link, node);
        Ok(())
    }
}

impl Conversation {
    /// Notes that no token of the connection allows a link to a node of the hub.
    fn note_denied_link(&self, address: &Address, code: ErrorCode) {
        let (action, target) = match address {
            Address::Commands => (Action::SendMessage, "messages/devicebound"),
            Address::Feedback => (Action::ReceiveFeedback, "messages/serviceBound/feedback"),
            Address::FileNotifications => {
                let target = "messages/serviceBound/filenotifications";
                (Action::FileNotifications, target)
            }
            Address::Cbs | Address::Device(_) => return,
        };
        let who = self.grants.actor().unwrap_or_default();
        let audit = &self.shared.audit;
        audit.denied_to(self.origin, &who, action, target, code);
    }
}

/// The refusal of a link whose client sends where the hub does, or takes where it takes.
pub(super) fn wrong_direction() -> AmqpError {
    let text = "the address cannot be used in this direction";
    error_of(ErrorCode::InvalidOperation, text)
}

/// The refusal of a link to an address that is none of the hub's.
fn unknown_address(address: Option<&str>) -> AmqpError {
    let text = if address.is_some_and(is_of_event_reader) {
        "the hub has no Event-Hub-compatible endpoint: telemetry is read from Kafka"
    } else {
        "the link address did not match any of the expected formats"
    };
    error_of(ErrorCode::AmqpAddressNotFound, text)
}

fn node_of(address: &Address, role: Role) -> Option<Node> {
    match (address, role) {
        (Address::Cbs, Role::Receiver) => Some(Node::TokenRequests {
            replies: VecDeque::new(),
        }),
        (Address::Cbs, Role::Sender) => Some(Node::TokenReplies),
        (Address::Commands, Role::Receiver) => Some(Node::Commands(Box::<Commands>::default())),
        (Address::Feedback, Role::Sender) => Some(Node::Feedback(FeedbackNode::default())),
        (Address::FileNotifications, Role::Sender) => Some(Node::FileNotifications),
        (Address::Commands, Role::Sender)
        | (Address::Feedback | Address::FileNotifications, Role::Receiver)
        | (Address::Device(_), _) => None,
    }
}

fn terms_of(node: &Node, options: &AmqpOptions) -> Accept {
    match node {
        Node::TokenRequests { .. } => tokens::TERMS,
        Node::Commands(_) => Accept {
            credit_window: options.link_credit,
            max_message_bytes: options.max_message_bytes,
        },
        // Links of devices have terms of their own.
        Node::TokenReplies | Node::Feedback(_) | Node::FileNotifications | Node::Device(_) => {
            Accept {
                credit_window: 0,
                max_message_bytes: MAX_SENT_BYTES,
            }
        }
    }
}
