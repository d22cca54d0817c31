//! Short checks on answers.

use downlink_domain::message::Message;

use crate::LockedMessage;

/// The bodies of messages, as text.
pub(super) fn bodies(messages: &[LockedMessage]) -> Vec<String> {
    messages
        .iter()
        .map(|locked| body(&locked.message))
        .collect()
}

/// The body of a message, as text.
pub(super) fn body(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}
