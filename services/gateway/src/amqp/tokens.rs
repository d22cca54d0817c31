//! The `$cbs` node: tokens in, replies out (amqp.md §3).

use std::sync::Arc;

use bytes::Bytes;
use downlink_amqp::cbs::{self, CbsOperation, CbsRequest};
use downlink_amqp::engine::{Accept, DeliveryId, IncomingMessage, LinkId, SendSettled};
use downlink_amqp::message::MessageId;
use downlink_amqp::performative::{AmqpError, DeliveryState, DeliveryTag, condition};
use downlink_amqp::sasl::SaslCode;
use tokio::time::Instant;

use super::conversation::Conversation;
use super::grants::{Grant, TooManyTokens};
use super::links::Node;
use super::metered::Metered;
use super::work;
use crate::authenticate::{Refusal, RefusalKind};
use crate::metrics::RefusedFor;

/// Requests taken at a time, and the largest of them: strangers may fill no more than this.
pub(super) const TERMS: Accept = Accept {
    credit_window: 32,
    // A token of an issuer has up to 16 KiB.
    max_message_bytes: 20 * 1024,
};

/// Longest message id of a request, in bytes: replies, which repeat it, wait for the credit of strangers.
const MAX_ID_BYTES: usize = 256;
/// `status-code` for a token beyond the bound of the connection (403005).
const STATUS_FORBIDDEN: i32 = 403;
/// `status-code` when the token cannot be checked now.
const STATUS_UNAVAILABLE: i32 = 503;

impl Conversation {
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
        let id_bytes = match &message_id {
            Some(MessageId::String(id)) => id.len(),
            Some(MessageId::Binary(id)) => id.len(),
            Some(MessageId::Ulong(_) | MessageId::Uuid(_)) | None => 0,
        };
        if id_bytes > MAX_ID_BYTES {
            let error = AmqpError::new(condition::INVALID_FIELD, "the message-id is too long");
            let state = DeliveryState::rejected(error);
            self.engine.settle(message.link, message.delivery, state);
            return;
        }
        match operation {
            CbsOperation::PutToken(put) => {
                self.held.add(1, put.token.len());
                let shared = Arc::clone(&self.shared);
                let origin = self.origin;
                let work = work::check_token(shared, origin, request, message_id, put.token);
                self.start(work);
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
        length: usize,
        outcome: Result<Grant, Refusal>,
    ) {
        self.held.remove(1, length);
        let (status, text) = match outcome {
            // What it lives by has gone while it was checked.
            Ok(grant) if !self.shared.access.is_alive(grant.credential()) => {
                (cbs::STATUS_UNAUTHORIZED, "the token is not valid")
            }
            Ok(grant) => {
                self.is_admitted = true;
                self.engine.admit();
                match self.grants.add(grant) {
                    Ok(()) => (cbs::STATUS_OK, "OK"),
                    Err(TooManyTokens) => (
                        STATUS_FORBIDDEN,
                        "the connection holds as many tokens as it may",
                    ),
                }
            }
            // One code and one text for every fault of a credential (auth.md §7).
            Err(refusal) => match refusal.kind() {
                RefusalKind::Unauthorized | RefusalKind::Disabled => {
                    (cbs::STATUS_UNAUTHORIZED, "the token is not valid")
                }
                RefusalKind::Unavailable => (STATUS_UNAVAILABLE, "the token cannot be checked now"),
            },
        };
        self.reply(request, request_id, status, text);
    }

    /// Acts on a checked SASL PLAIN credential.
    pub(super) fn on_plain(&mut self, outcome: Result<Grant, Refusal>, now: Instant) {
        let code = match outcome {
            Ok(grant) if !self.shared.access.is_alive(grant.credential()) => SaslCode::Auth,
            Ok(grant) => {
                self.is_plain = true;
                self.is_admitted = true;
                self.engine.admit();
                // It is the first of its connection, which has room for one.
                let _ = self.grants.add(grant);
                SaslCode::Ok
            }
            Err(refusal) => match refusal.kind() {
                RefusalKind::Unauthorized | RefusalKind::Disabled => {
                    self.shared
                        .metrics
                        .connect_refused(RefusedFor::Unauthorized);
                    SaslCode::Auth
                }
                RefusalKind::Unavailable => {
                    self.shared.metrics.connect_refused(RefusedFor::Unavailable);
                    SaslCode::SysTemp
                }
            },
        };
        self.engine.answer_sasl(code, now.into_std());
    }

    fn reply(
        &mut self,
        (link, delivery): (LinkId, DeliveryId),
        request_id: Option<MessageId>,
        status: i32,
        text: &str,
    ) {
        if let Some(Node::TokenRequests { replies }) = self.links.get_mut(link) {
            replies.push_back((delivery, cbs::encode_reply(request_id, status, text)));
            self.links.mark(link);
        }
    }

    /// Sends replies of a session as far as the credit of its reply link goes. Each request is
    /// confirmed right before its reply, never after it: uamqp takes that for a failure.
    pub(super) fn flush_replies(&mut self, channel: u16) {
        let links = self.links.token_links(channel);
        let is_reply_link =
            |link: &&LinkId| matches!(self.links.get(**link), Some(Node::TokenReplies));
        let Some(reply_link) = links.iter().find(is_reply_link).copied() else {
            return;
        };
        let links = links.to_vec();
        for link in links {
            while let Some((delivery, reply)) = self.next_reply(link, reply_link) {
                self.engine.settle(link, delivery, DeliveryState::Accepted);
                self.next_reply_tag = self.next_reply_tag.wrapping_add(1);
                let tag = DeliveryTag::new(&self.next_reply_tag.to_be_bytes())
                    .expect("four bytes, a tag holds 32");
                send_reply(&mut self.engine, reply_link, tag, reply);
            }
        }
    }

    /// Takes the next reply to the requests of a link, if there is one and room for it.
    fn next_reply(&mut self, link: LinkId, reply_link: LinkId) -> Option<(DeliveryId, Bytes)> {
        let Some(Node::TokenRequests { replies }) = self.links.get(link) else {
            return None;
        };
        if replies.is_empty() || self.room_on(reply_link) == 0 {
            return None;
        }
        match self.links.get_mut(link) {
            Some(Node::TokenRequests { replies }) => replies.pop_front(),
            _ => None,
        }
    }
}

/// Sends a reply, settled where the link leaves that to the hub.
fn send_reply(engine: &mut Metered, link: LinkId, tag: DeliveryTag, reply: Bytes) {
    let sent = engine.send(link, tag, reply, SendSettled::Yes);
    debug_assert!(sent.is_ok(), "the link was sendable: {sent:?}");
}
