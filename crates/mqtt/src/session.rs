//! The device session as types: [`AwaitingConnect`] is consumed to give a [`ConnectRequest`], from which the
//! gateway, once it has authenticated the client, makes a [`Session`].
//!
//! The machine decides what a packet means and what it breaks; it writes nothing. The gateway answers:
//! SUBACK, UNSUBACK and PINGRESP at once, PUBACK when a publish has been taken over for good. Time is handed in
//! as the duration since an origin of the caller's choosing, the same for every call on one session.

mod connect;
mod in_flight;
mod keep_alive;
mod subscriptions;
mod telemetry;

use std::time::Duration;

use bytes::Bytes;

pub use self::connect::{AwaitingConnect, ConnectRequest, Refusal};
pub use self::in_flight::{InFlight, Placement};
pub use self::keep_alive::KeepAlive;
pub use self::subscriptions::{FeatureChange, RestoreError, StoredSubscription, Subscriptions};
pub use self::telemetry::{Telemetry, Will};

use crate::error::Violation;
use crate::filter::{Feature, version_named};
use crate::identity::ClientIdentity;
use crate::limits::{DEFAULT_WINDOW, MAX_MESSAGE_BYTES, MAX_SUBSCRIPTIONS};
use crate::packet::{
    ClientPacket, Delivery, PacketId, Publish, Qos, Suback, Subscribe, SubscribeFilter, Unsubscribe,
};
use crate::topic::{DeviceTopic, ExpectedVersion};

/// What a session needs to know beside whose it is.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// How long the connection lives without a packet.
    pub keep_alive: KeepAlive,
    /// Most cloud-to-device messages delivered and not acknowledged; at least 1.
    pub window: u16,
    /// Most distinct active subscriptions.
    pub max_subscriptions: usize,
    /// Largest payload plus property names and values of a message to the cloud, in bytes.
    pub max_message_bytes: usize,
}

impl SessionOptions {
    /// Makes options with the limits of the contract and the window of the first-party servers.
    pub fn new(keep_alive: KeepAlive) -> Self {
        Self {
            keep_alive,
            window: DEFAULT_WINDOW,
            max_subscriptions: MAX_SUBSCRIPTIONS,
            max_message_bytes: MAX_MESSAGE_BYTES,
        }
    }
}

/// What the gateway is to do because of a packet. `T` is its token for a delivered message.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<T> {
    /// Take a message to the cloud over; when it is durable, acknowledge it.
    Telemetry {
        /// The message.
        telemetry: Telemetry,
        /// The identifier to acknowledge.
        puback: Option<PacketId>,
    },
    /// Hand the answer of a method call to who waits for it; an unknown `rid` is dropped (mqtt.md §10).
    MethodResponse {
        /// The call it answers.
        rid: String,
        /// The device's own status.
        status: i32,
        /// A JSON value, or empty.
        payload: Bytes,
        /// The identifier to acknowledge.
        puback: Option<PacketId>,
    },
    /// Answer with the whole twin.
    TwinGet {
        /// Returned unchanged in the answer's topic.
        rid: String,
        /// The identifier to acknowledge.
        puback: Option<PacketId>,
    },
    /// Patch the reported properties and answer.
    TwinPatchReported {
        /// Returned unchanged in the answer's topic.
        rid: String,
        /// The version the patch is meant for.
        version: ExpectedVersion,
        /// The patch as JSON text, not yet looked at.
        body: Bytes,
        /// The identifier to acknowledge.
        puback: Option<PacketId>,
    },
    /// Send this SUBACK; subscriptions have changed.
    Subscribed {
        /// The answer to the device.
        suback: Suback,
        /// Features that were off and are on now.
        changes: Vec<FeatureChange>,
        /// The version of desired that the device says it has, if it does.
        desired_since: Option<u64>,
        /// Whether the subscriptions differ from before in anything that is stored.
        is_changed: bool,
    },
    /// Send an UNSUBACK; subscriptions may have changed.
    Unsubscribed {
        /// The identifier of the UNSUBSCRIBE.
        packet_id: PacketId,
        /// Features that were on and are off now.
        changes: Vec<FeatureChange>,
        /// Whether the subscriptions differ from before in anything that is stored.
        is_changed: bool,
    },
    /// Complete the message behind this token.
    Acknowledged(T),
    /// Send a PINGRESP.
    Ping,
    /// The client ends in order: no will is published.
    Disconnect,
}

/// An authenticated connection.
#[derive(Debug)]
pub struct Session<T> {
    identity: ClientIdentity,
    subscriptions: Subscriptions,
    in_flight: InFlight<T>,
    options: SessionOptions,
    last_packet_at: Duration,
}

impl<T> Session<T> {
    /// Makes a session without subscriptions.
    pub fn new(identity: ClientIdentity, options: SessionOptions, now: Duration) -> Self {
        Self {
            identity,
            subscriptions: Subscriptions::default(),
            in_flight: InFlight::new(options.window),
            options,
            last_packet_at: now,
        }
    }

    /// Makes stored subscriptions active, before any SUBSCRIBE arrives (mqtt.md §4.1).
    ///
    /// # Errors
    /// [`RestoreError`] for a filter that is not granted to this identity or one too many; nothing is then
    /// restored.
    pub fn restore(&mut self, stored: &[StoredSubscription]) -> Result<(), RestoreError> {
        self.subscriptions =
            Subscriptions::restore(stored, &self.identity, self.options.max_subscriptions)?;
        Ok(())
    }

    /// Takes one packet of the client and returns what is to be done about it.
    ///
    /// Nothing is to be done for an acknowledgement of an unknown packet, which is normal after a lock was lost.
    ///
    /// # Errors
    /// [`Violation`]: the connection is to be closed without a word (mqtt.md §5).
    pub fn on_packet(
        &mut self,
        packet: ClientPacket,
        now: Duration,
    ) -> Result<Option<Action<T>>, Violation> {
        self.last_packet_at = now;
        match packet {
            ClientPacket::Connect(_) => Err(Violation::SecondConnect),
            ClientPacket::Publish(publish) => self.on_publish(publish).map(Some),
            ClientPacket::Puback(id) => {
                Ok(self.in_flight.acknowledge(id).map(Action::Acknowledged))
            }
            ClientPacket::Subscribe(subscribe) => self.on_subscribe(&subscribe).map(Some),
            ClientPacket::Unsubscribe(unsubscribe) => Ok(Some(self.on_unsubscribe(&unsubscribe))),
            ClientPacket::Pingreq => Ok(Some(Action::Ping)),
            ClientPacket::Disconnect => Ok(Some(Action::Disconnect)),
        }
    }

    /// Returns whose session it is.
    pub fn identity(&self) -> &ClientIdentity {
        &self.identity
    }

    /// Returns the active subscriptions, for storage and for presence.
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Returns whether a subscription switches this feature on.
    pub fn has_feature(&self, feature: Feature) -> bool {
        self.subscriptions.has_feature(feature)
    }

    /// Returns when the connection is to be closed unless a packet comes first, since the caller's origin.
    pub fn keep_alive_deadline(&self) -> Duration {
        self.last_packet_at
            .saturating_add(self.options.keep_alive.timeout())
    }

    /// Counts the client as alive at `now` although no packet was read, for times in which nobody was reading.
    pub fn defer_keep_alive(&mut self, now: Duration) {
        self.last_packet_at = self.last_packet_at.max(now);
    }

    /// Returns how many more messages may be delivered now: 0 without a subscription or with a full window.
    pub fn delivery_credit(&self) -> usize {
        match self.subscriptions.cloud_to_device_qos() {
            None => 0,
            // Nothing stays in flight, yet one answer to the queue should not ask for everything.
            Some(Qos::AtMostOnce) => self.in_flight.window(),
            Some(_) => self.in_flight.free(),
        }
    }

    /// Places a message for delivery and says with which header it goes out.
    ///
    /// `sequence` is the message's own number; a message that is still in flight here keeps its identifier and
    /// takes the new token. `is_redelivery` sets DUP, on quality of service 1 only.
    ///
    /// Without a subscription, or with a full window, nothing is placed and the token comes back.
    ///
    /// # Errors
    /// The token, when it cannot be placed.
    pub fn place_delivery(
        &mut self,
        sequence: u64,
        token: T,
        redelivery: Redelivery,
    ) -> Result<Placed<T>, T> {
        match self.subscriptions.cloud_to_device_qos() {
            None => Err(token),
            Some(Qos::AtMostOnce) => Ok(Placed::CompleteOnWrite(token)),
            Some(_) => {
                let placement = self.in_flight.place(sequence, token)?;
                let dup = placement.is_repeat || redelivery == Redelivery::Yes;
                Ok(Placed::InFlight(Delivery::AtLeastOnce {
                    packet_id: placement.packet_id,
                    dup,
                }))
            }
        }
    }

    /// Takes a message out of the window, as when its lock is known to be lost; its late PUBACK is then ignored.
    pub fn withdraw_delivery(&mut self, sequence: u64) -> Option<T> {
        self.in_flight.withdraw(sequence)
    }

    /// Takes the message with the least key out of the window, as when some lock must have lapsed.
    pub fn withdraw_least<K: Ord>(&mut self, key: impl Fn(&T) -> K) -> Option<T> {
        self.in_flight.withdraw_least(key)
    }

    /// Ends the session and returns the tokens of what was not acknowledged, oldest first.
    pub fn into_unacknowledged(self) -> impl Iterator<Item = T> {
        self.in_flight.into_tokens()
    }

    fn on_publish(&mut self, publish: Publish) -> Result<Action<T>, Violation> {
        let puback = publish.delivery.packet_id();
        Ok(match DeviceTopic::parse(&publish.topic, &self.identity)? {
            DeviceTopic::Telemetry { bag } => Action::Telemetry {
                telemetry: self.telemetry(bag, &publish)?,
                puback,
            },
            DeviceTopic::MethodResponse { status, rid } => Action::MethodResponse {
                rid: rid.to_owned(),
                status,
                payload: publish.payload,
                puback,
            },
            DeviceTopic::TwinGet { rid } => Action::TwinGet {
                rid: rid.to_owned(),
                puback,
            },
            DeviceTopic::TwinPatchReported { rid, version } => Action::TwinPatchReported {
                rid: rid.to_owned(),
                version,
                body: publish.payload,
                puback,
            },
        })
    }

    fn telemetry(&self, bag: &str, publish: &Publish) -> Result<Telemetry, Violation> {
        Telemetry::from_publish(bag, publish, &self.identity, self.options.max_message_bytes)
    }

    fn on_subscribe(&mut self, subscribe: &Subscribe) -> Result<Action<T>, Violation> {
        let before = self.subscriptions.clone();
        let max_subscriptions = self.options.max_subscriptions;
        let codes =
            self.subscriptions
                .add(&subscribe.filters, &self.identity, max_subscriptions)?;
        Ok(Action::Subscribed {
            suback: Suback {
                packet_id: subscribe.packet_id,
                codes,
            },
            changes: self.subscriptions.changes_since(&before),
            desired_since: subscribe.filters.iter().rev().find_map(named_version),
            is_changed: self.subscriptions != before,
        })
    }

    fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Action<T> {
        let before = self.subscriptions.clone();
        self.subscriptions
            .remove(&unsubscribe.filters, &self.identity);
        Action::Unsubscribed {
            packet_id: unsubscribe.packet_id,
            changes: self.subscriptions.changes_since(&before),
            is_changed: self.subscriptions != before,
        }
    }
}

fn named_version(asked: &SubscribeFilter) -> Option<u64> {
    version_named(&asked.filter)
}

/// Whether a message was delivered before, on this connection or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redelivery {
    /// It was.
    Yes,
    /// It was not.
    No,
}

/// How a placed message goes out.
#[derive(Debug, PartialEq, Eq)]
pub enum Placed<T> {
    /// At quality of service 0: complete it when it has been written (mqtt.md §8.2).
    CompleteOnWrite(T),
    /// At quality of service 1: its PUBACK will give the token back.
    InFlight(Delivery),
}

#[cfg(test)]
mod tests;
