//! What the hub wants of the device: session events become packets.

use bytes::Bytes;
use downlink_domain::message::{AckMode, Message, Verdict};
use downlink_domain::method::{MethodAnswer, MethodName};
use downlink_mqtt::cloud_to_device::{FeedbackRequest, MessageProperties, TopicTooLong, topic};
use downlink_mqtt::filter::Feature;
use downlink_mqtt::packet::Delivery;
use downlink_mqtt::session::{Placed, Redelivery};
use downlink_mqtt::topic::{desired_patch, method_call};
use downlink_ports::{LockedMessage, Notify};
use tracing::{debug, warn};

use super::conversation::{Conversation, Held, Tag, Work};
use super::end::End;
use super::requests::write_rid;
use super::twin_reply::{self, TwinReply};
use crate::device::{OperationOutcome, SessionEvent, TwinRefusal};
use crate::tracking::Tracking;

/// The status for a call of a method that the device has not subscribed to while it has to others.
const NOT_IMPLEMENTED: i32 = 501;

impl Conversation {
    /// Does what the session says.
    pub(super) fn on_event(&mut self, event: SessionEvent<Work>) -> Result<(), End> {
        match event {
            SessionEvent::Messages(messages) => {
                for message in messages {
                    self.deliver(message);
                }
            }
            SessionEvent::Settled(outcomes) => {
                let lost = outcomes
                    .iter()
                    .filter(|(_, outcome)| outcome.is_err())
                    .count();
                if lost > 0 {
                    debug!(
                        lost,
                        "messages were acknowledged after their locks had ended"
                    );
                }
            }
            SessionEvent::Stored(works) => self.on_stored(works),
            SessionEvent::NotStored(_, error) => return Err(End::NotStored(error)),
            SessionEvent::Ended(work, outcome) => return self.on_ended(work.tag, outcome),
            SessionEvent::Invoke { rid, name, payload } => self.invoke(rid, &name, payload),
            SessionEvent::Desired(change) => self.tell_desired(change),
            SessionEvent::Close(reason) => return Err(End::Closed(reason)),
        }
        Ok(())
    }

    fn deliver(&mut self, locked: LockedMessage) {
        let LockedMessage { message, lock } = locked;
        let topic = match topic_of(self.machine.identity().device_id(), &message) {
            Ok(topic) => topic,
            Err(error) => {
                warn!(message.sequence = %message.sequence, %error, "message cannot go out over mqtt");
                self.session.settle(lock.token, Verdict::Reject);
                return;
            }
        };
        let held = Held {
            token: lock.token,
            until: lock.until,
        };
        let body = message.body.clone();
        match self.place(&message, held) {
            None => {
                self.session.settle(lock.token, Verdict::ReleaseUndelivered);
            }
            Some(Placed::CompleteOnWrite(held)) => {
                self.publish_message(&topic, Delivery::AtMostOnce, body);
                self.session.settle(held.token, Verdict::Complete);
            }
            Some(Placed::InFlight(delivery)) => self.publish_message(&topic, delivery, body),
        }
    }

    /// Finds a packet identifier; none when the device has unsubscribed meanwhile.
    ///
    /// The session counts what it holds and does not ask for more than the window has room for. A window
    /// that is full here thus holds messages whose locks have ended; the first to end makes room.
    fn place(&mut self, message: &Message, held: Held) -> Option<Placed<Held>> {
        let redelivery = if message.delivery_count > 0 {
            Redelivery::Yes
        } else {
            Redelivery::No
        };
        let sequence = message.sequence.0;
        match self.machine.place_delivery(sequence, held, redelivery) {
            Ok(placed) => Some(placed),
            Err(held) => {
                self.machine.withdraw_least(|held| held.until)?;
                self.machine.place_delivery(sequence, held, redelivery).ok()
            }
        }
    }

    fn publish_message(&mut self, topic: &str, delivery: Delivery, body: Bytes) {
        match self.output.publish(topic, delivery, body) {
            Ok(()) => self.shared.metrics.messages_delivered.increment(),
            // The topic was measured when it was made, and a body is far below MQTT's bound.
            Err(error) => warn!(%error, "a message does not fit mqtt"),
        }
    }

    fn on_stored(&mut self, works: Vec<Work>) {
        for work in works {
            if let Tag::Telemetry(puback) = work.tag {
                self.shared.metrics.telemetry_stored.increment();
                self.acknowledge(puback);
            }
        }
    }

    fn on_ended(&mut self, tag: Tag, outcome: OperationOutcome) -> Result<(), End> {
        match outcome {
            OperationOutcome::Subscribed(outcome) => {
                self.pending_subscriptions = self.pending_subscriptions.saturating_sub(1);
                outcome.map_err(End::NotStored)?;
                self.answer_subscriptions(&tag)
            }
            OperationOutcome::Twin(outcome) => {
                let Tag::TwinGet(rid) = tag else {
                    return Ok(());
                };
                let reply = match *outcome {
                    Ok(twin) => twin_reply::of_twin(&rid, &twin),
                    Err(error) => self.refusal(&error.into(), &rid),
                };
                self.reply(reply);
                Ok(())
            }
            OperationOutcome::Reported(outcome) => {
                let Tag::TwinPatch(rid, puback) = tag else {
                    return Ok(());
                };
                self.acknowledge(puback);
                let reply = match outcome {
                    Ok(version) => twin_reply::of_report(&rid, version),
                    Err(error) => self.refusal(&error.into(), &rid),
                };
                self.reply(reply);
                Ok(())
            }
        }
    }

    fn refusal(&self, refusal: &TwinRefusal, rid: &str) -> TwinReply {
        twin_reply::of_refusal(rid, refusal, &Tracking::new(&self.shared))
    }

    /// Calls a method. A device that listens for some methods only is spared the others (mqtt.md §6.1).
    fn invoke(&mut self, rid: u64, name: &MethodName, payload: Bytes) {
        if self.machine.subscriptions().takes_method(name.as_str()) {
            self.publish_once(&method_call(name.as_str(), &write_rid(rid)), payload);
        } else {
            let payload = Bytes::from_static(b"null");
            self.session.answer(
                rid,
                MethodAnswer {
                    status: NOT_IMPLEMENTED,
                    payload,
                },
            );
        }
    }

    fn tell_desired(&mut self, change: Notify) {
        if self.machine.has_feature(Feature::DesiredPatches) {
            self.publish_once(&desired_patch(change.version), change.body);
        }
    }
}

fn topic_of(device_id: &str, message: &Message) -> Result<String, TopicTooLong> {
    let properties = &message.properties;
    let application = properties
        .application
        .iter()
        .map(|(name, value)| (&**name, &**value));
    let system = MessageProperties {
        message_id: properties.message_id.as_deref(),
        correlation_id: properties.correlation_id.as_deref(),
        user_id: properties.user_id.as_deref(),
        to: properties.to.as_deref(),
        expiry_ms: properties.expiry.map(downlink_domain::Timestamp::as_millis),
        creation_time_ms: None,
        content_type: properties.content_type.as_deref(),
        content_encoding: properties.content_encoding.as_deref(),
        ack: feedback_request(message.ack),
    };
    topic(device_id, &system, application)
}

fn feedback_request(ack: AckMode) -> Option<FeedbackRequest> {
    match ack {
        AckMode::None => None,
        AckMode::Positive => Some(FeedbackRequest::Positive),
        AckMode::Negative => Some(FeedbackRequest::Negative),
        AckMode::Full => Some(FeedbackRequest::Full),
    }
}
