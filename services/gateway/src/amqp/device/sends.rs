//! Telemetry of devices on its way to storage (amqp.md §4.6).

use downlink_amqp::engine::IncomingMessage;
use downlink_amqp::performative::DeliveryState;
use downlink_ports::PeerError;
use tracing::warn;

use super::telemetry;
use super::unit::{Tag, UnitId};
use crate::amqp::condition::{error_of, error_of_peer};
use crate::amqp::conversation::Conversation;
use crate::device::Telemetry;

/// What one property costs besides its text.
const PROPERTY_COST_BYTES: usize = 96;
/// What one message costs besides its parts.
const MESSAGE_COST_BYTES: usize = 512;

impl Conversation {
    /// Takes a message, or a batch of them, which has one acknowledgement for all.
    pub(super) fn on_telemetry(&mut self, unit: UnitId, message: &IncomingMessage) {
        let (link, delivery) = (message.link, message.delivery);
        let most = self.shared.options.max_telemetry_bytes;
        let read = telemetry::read(message.message_format, &message.payload, most);
        let mut messages = match read {
            Ok(messages) => messages,
            Err(refused) => {
                let error = error_of(refused.code, refused.text);
                self.engine
                    .settle(link, delivery, DeliveryState::rejected(error));
                return;
            }
        };
        let Some(open) = self.units.open_mut(unit) else {
            return;
        };
        let bytes = messages.iter().map(cost).sum();
        let Some(last) = messages.pop() else {
            self.engine.settle(link, delivery, DeliveryState::Accepted);
            return;
        };
        if let Err(throttled) = open.session.admit_telemetry() {
            let error = error_of_peer(&throttled.into());
            self.engine
                .settle(link, delivery, DeliveryState::rejected(error));
            return;
        }
        for part in messages {
            open.session.store(Tag::Part { link, delivery }, part);
        }
        let tag = Tag::Telemetry {
            link,
            delivery,
            bytes,
        };
        open.session.store(tag, last);
        open.held.add(1, bytes);
        self.held.add(1, bytes);
        self.wake_unit(unit);
    }

    /// Acknowledges telemetry that is on disk.
    pub(super) fn on_stored(&mut self, unit: UnitId, tags: Vec<Tag>) {
        for tag in tags {
            self.shared.metrics.telemetry_stored.increment();
            self.end_telemetry(unit, &tag, || DeliveryState::Accepted);
        }
    }

    /// Refuses telemetry that could not be stored. Never released: Node would take that for done
    /// (amqp.md §4.6).
    pub(super) fn on_not_stored(&mut self, unit: UnitId, tags: Vec<Tag>, error: &PeerError) {
        warn!(%error, messages = tags.len(), "telemetry could not be stored");
        for tag in tags {
            let state = || DeliveryState::rejected(error_of_peer(error));
            match tag {
                // Its batch may go to storage in several turns, and ends with the last.
                Tag::Part { link, delivery } => {
                    if let Some(open) = self.units.open_mut(unit) {
                        open.broken.insert((link, delivery), state());
                    }
                }
                tag => self.end_telemetry(unit, &tag, state),
            }
        }
    }

    fn end_telemetry(&mut self, unit: UnitId, tag: &Tag, state: impl Fn() -> DeliveryState) {
        let Tag::Telemetry {
            link,
            delivery,
            bytes,
        } = *tag
        else {
            return;
        };
        let mut broken = None;
        if let Some(open) = self.units.open_mut(unit) {
            open.held.remove(1, bytes);
            self.held.remove(1, bytes);
            broken = open.broken.remove(&(link, delivery));
        }
        let state = broken.unwrap_or_else(state);
        self.engine.settle(link, delivery, state);
    }
}

/// About the memory that a message takes until it is stored.
fn cost(telemetry: &Telemetry) -> usize {
    let properties = telemetry.properties.iter();
    let properties: usize = properties
        .map(|(name, value)| name.len() + value.len() + PROPERTY_COST_BYTES)
        .sum();
    MESSAGE_COST_BYTES + telemetry.body.len() + properties
}
