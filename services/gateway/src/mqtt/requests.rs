//! What the device asks: packets become work of its session or output at once.

use bytes::Bytes;
use downlink_domain::message::Verdict;
use downlink_domain::method::MethodAnswer;
use downlink_mqtt::filter::Feature;
use downlink_mqtt::packet::{Delivery, PacketId, encode_pingresp, encode_puback, encode_unsuback};
use downlink_mqtt::session::Action;
use downlink_mqtt::topic::ExpectedVersion;
use tracing::warn;

use super::conversation::{Conversation, Held, Persistence, Tag, to_hub_subscriptions};
use super::end::End;
use super::stored_session;
use super::twin_reply::{self, TwinReply};
use crate::device::{Operation, StoredSession};
use crate::tracking::Tracking;

/// Writes the request id of a method call: sixteen hexadecimal digits, which every SDK returns as they are.
pub(super) fn write_rid(rid: u64) -> String {
    format!("{rid:016x}")
}

/// Reads what [`write_rid`] has written; nothing else is one of ours.
fn parse_rid(text: &str) -> Option<u64> {
    let is_ours = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_ours {
        u64::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

impl Conversation {
    /// Does what a packet means.
    pub(super) fn act(&mut self, action: Action<Held>) -> Result<(), End> {
        match action {
            Action::Telemetry { telemetry, puback } => self.store(puback, telemetry),
            Action::MethodResponse {
                rid,
                status,
                payload,
                puback,
            } => {
                self.acknowledge(puback);
                if let Some(rid) = parse_rid(&rid) {
                    self.session.answer(rid, MethodAnswer { status, payload });
                }
            }
            Action::TwinGet { rid, puback } => {
                self.acknowledge(puback);
                self.operate(Tag::TwinGet(rid), Operation::GetTwin, 0);
            }
            Action::TwinPatchReported {
                rid,
                version,
                body,
                puback,
            } => {
                self.report(rid, puback, &body, version);
            }
            Action::Subscribed {
                suback,
                desired_since,
                is_changed,
                ..
            } => {
                if let Some(version) = desired_since {
                    self.session.name_desired(version);
                }
                let is_changed = is_changed || desired_since.is_some();
                self.change_subscriptions(Tag::Subscribe(suback), is_changed)?;
            }
            Action::Unsubscribed {
                packet_id,
                is_changed,
                ..
            } => {
                self.change_subscriptions(Tag::Unsubscribe(packet_id), is_changed)?;
            }
            Action::Acknowledged(held) => {
                // A lock that was lost meanwhile is no error: the message comes again.
                self.session.settle(held.token, Verdict::Complete);
            }
            Action::Ping => {
                self.note_ping();
                self.output.append(encode_pingresp);
            }
            Action::Disconnect => return Err(End::Disconnected),
        }
        Ok(())
    }

    /// Queues a PUBACK, if one is due.
    pub(super) fn acknowledge(&mut self, puback: Option<PacketId>) {
        if let Some(id) = puback {
            self.output.append(|out| encode_puback(id, out));
        }
    }

    /// Queues a twin answer, if the device listens for it; else it is dropped (mqtt.md §6.3).
    pub(super) fn reply(&mut self, reply: TwinReply) {
        if self.machine.has_feature(Feature::TwinResponses) {
            self.publish_once(&reply.topic, reply.body);
        }
    }

    /// Queues a PUBLISH of quality of service 0.
    pub(super) fn publish_once(&mut self, topic: &str, payload: Bytes) {
        if let Err(error) = self.output.publish(topic, Delivery::AtMostOnce, payload) {
            // Every topic made here has a bounded length, and so has every payload.
            warn!(%error, "a publish does not fit mqtt and is dropped");
        }
    }

    /// Answers a SUBSCRIBE or UNSUBSCRIBE.
    ///
    /// # Errors
    /// [`End`] when the answer cannot be written.
    pub(super) fn answer_subscriptions(&mut self, tag: &Tag) -> Result<(), End> {
        match tag {
            Tag::Subscribe(suback) => {
                let encoded = self.output.append(|out| suback.encode(out));
                encoded.map_err(|_| End::Lost)?;
            }
            Tag::Unsubscribe(id) => self.output.append(|out| encode_unsuback(*id, out)),
            Tag::Telemetry(_) | Tag::TwinGet(_) | Tag::TwinPatch(..) => {}
        }
        Ok(())
    }

    /// Makes changed subscriptions known and stores them before they are acknowledged. Clients subscribe again
    /// after every reconnect; what is stored already is answered at once.
    fn change_subscriptions(&mut self, tag: Tag, is_changed: bool) -> Result<(), End> {
        if !is_changed && self.pending_subscriptions == 0 {
            return self.answer_subscriptions(&tag);
        }
        let held = self.machine.subscriptions();
        let session = match self.persistence {
            Persistence::Stored => {
                let stored = held.to_stored(self.machine.identity());
                stored_session::encode(&stored)
                    .map_or(StoredSession::Removed, StoredSession::Written)
            }
            Persistence::Clean => StoredSession::Kept,
        };
        let subscriptions = to_hub_subscriptions(held);
        self.pending_subscriptions += 1;
        self.operate(
            tag,
            Operation::Subscribe {
                subscriptions,
                session,
            },
            0,
        );
        Ok(())
    }

    fn report(
        &mut self,
        rid: String,
        puback: Option<PacketId>,
        body: &[u8],
        version: ExpectedVersion,
    ) {
        match twin_reply::read_report(body, version) {
            Ok(change) => {
                self.operate(
                    Tag::TwinPatch(rid, puback),
                    Operation::Report(change),
                    body.len(),
                );
            }
            Err(refusal) => {
                self.acknowledge(puback);
                let tracking = Tracking::new(&self.shared);
                let reply = twin_reply::of_refusal(&rid, &refusal, &tracking);
                self.reply(reply);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_come_back_as_they_went_out() {
        for rid in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(parse_rid(&write_rid(rid)), Some(rid));
        }
        for foreign in [
            "",
            "1",
            "+123456789abcdef",
            "0123456789abcdeg",
            "00123456789abcdef",
        ] {
            assert_eq!(parse_rid(foreign), None, "{foreign}");
        }
    }
}
