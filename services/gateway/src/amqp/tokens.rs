//! The `$cbs` node: tokens in, replies out (amqp.md §3).

use std::sync::Arc;

use bytes::Bytes;
use downlink_amqp::cbs::{self, CbsOperation, CbsRequest};
use downlink_amqp::engine::{Accept, DeliveryId, IncomingMessage, LinkId, SendSettled};
use downlink_amqp::message::MessageId;
use downlink_amqp::performative::{AmqpError, DeliveryState, DeliveryTag, condition};

use super::back_end::BackEnd;
use super::grants::Grant;
use super::nodes::Node;
use super::work;
use crate::authenticate::Refusal;

/// Requests taken at a time, and the largest of them: strangers may fill no more than this.
pub(super) const TERMS: Accept = Accept {
    credit_window: 32,
    max_message_bytes: 16 * 1024,
};

/// `status-code` when the token cannot be checked now.
const STATUS_UNAVAILABLE: i32 = 503;

impl BackEnd {
    pub(super) fn on_token_request(&mut self, message: &IncomingMessage) {
        let request = (message.link, message.delivery);
        let CbsRequest {
            message_id,
            operation,
        } = match CbsRequest::decode(&message.payload) {
            Ok(read) => read,
            Err(error) => {
                let error = AmqpError::new(condition::DECODE_ERROR, error.to_string());
                let state = DeliveryState::rejected(error);
                self.engine.settle(message.link, message.delivery, state);
                return;
            }
        };
        match operation {
            CbsOperation::PutToken(put) => {
                let shared = Arc::clone(&self.shared);
                self.start(work::check_token(shared, request, message_id, put.token));
            }
            CbsOperation::DeleteToken => self.reply(request, message_id, cbs::STATUS_OK, "OK"),
            CbsOperation::Unknown => {
                let text = "the operation is not put-token or carries no token";
                self.reply(request, message_id, cbs::STATUS_BAD_REQUEST, text);
            }
        }
    }

    pub(super) fn on_token(
        &mut self,
        request: (LinkId, DeliveryId),
        request_id: Option<MessageId>,
        outcome: Result<Grant, Refusal>,
    ) {
        let (status, text) = match outcome {
            Ok(grant) => {
                self.engine.admit();
                self.grants.add(grant);
                (cbs::STATUS_OK, "OK")
            }
            // One code and one text for every fault of a credential (auth.md §7).
            Err(Refusal::Unauthorized | Refusal::Disabled) => {
                (cbs::STATUS_UNAUTHORIZED, "the token is not valid")
            }
            Err(Refusal::Unavailable(_)) => (STATUS_UNAVAILABLE, "the token cannot be checked now"),
        };
        self.reply(request, request_id, status, text);
    }

    fn reply(
        &mut self,
        (link, delivery): (LinkId, DeliveryId),
        request_id: Option<MessageId>,
        status: i32,
        text: &str,
    ) {
        if let Some(Node::TokenRequests { replies }) = self.links.get_mut(&link) {
            replies.push_back((delivery, cbs::encode_reply(request_id, status, text)));
            self.flush_replies(link.channel());
        }
    }

    /// Sends replies of a session as far as the credit of its reply link goes. Each request is
    /// confirmed right before its reply, never after it: uamqp takes that for a failure.
    pub(super) fn flush_replies(&mut self, channel: u16) {
        let is_here = |link: &LinkId| link.channel() == channel;
        let reply_link = self
            .links
            .iter()
            .find(|(link, node)| is_here(link) && matches!(node, Node::TokenReplies))
            .map(|(link, _)| *link);
        let Some(reply_link) = reply_link else {
            return;
        };
        for (link, node) in &mut self.links {
            let Node::TokenRequests { replies } = node else {
                continue;
            };
            while is_here(link) && self.engine.sendable(reply_link) > 0 {
                let Some((delivery, reply)) = replies.pop_front() else {
                    break;
                };
                self.engine.settle(*link, delivery, DeliveryState::Accepted);
                self.next_reply_tag = self.next_reply_tag.wrapping_add(1);
                let tag = DeliveryTag::new(&self.next_reply_tag.to_be_bytes())
                    .expect("four bytes, a tag holds 32");
                send_reply(&mut self.engine, reply_link, tag, reply);
            }
        }
    }
}

/// Sends a reply, settled where the link leaves that to the hub.
fn send_reply(
    engine: &mut downlink_amqp::engine::Engine,
    link: LinkId,
    tag: DeliveryTag,
    reply: Bytes,
) {
    let sent = engine.send(link, tag, reply, SendSettled::Yes);
    debug_assert!(sent.is_ok(), "the link was sendable: {sent:?}");
}
