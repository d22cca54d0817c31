//! Messages of back-ends on their way to the queue: per link at most one batch at a time, so that
//! one sender's order per device is kept and batches form by themselves.

use std::sync::Arc;

use downlink_amqp::engine::{IncomingMessage, LinkId};
use downlink_amqp::performative::DeliveryState;
use tracing::warn;

use super::commands::Commands;
use super::work::{Enqueued, EnqueuedBatch, IdReading, NotSent};
use super::{command, work};
use crate::amqp::condition::{error_of, error_of_peer};
use crate::amqp::conversation::Conversation;
use crate::amqp::links::Node;

impl Conversation {
    /// Takes a message of a back-end.
    pub(in crate::amqp) fn on_command(&mut self, message: &IncomingMessage) {
        let Some(Node::Commands(commands)) = self.links.get_mut(message.link) else {
            return;
        };
        match command::read(message, &self.shared.options.hub) {
            Ok(read) => {
                self.held.add(1, read.cost);
                commands.push(message.delivery, read);
                self.links.mark(message.link);
            }
            Err(refused) => {
                self.shared.metrics.messages_refused.increment();
                let error = error_of(refused.code, refused.text);
                let state = DeliveryState::rejected(error);
                self.engine.settle(message.link, message.delivery, state);
            }
        }
    }

    /// Offers what waits on a link to the queue, unless a batch of it is on its way.
    pub(in crate::amqp) fn start_batch(&mut self, link: LinkId) {
        let Some(Node::Commands(commands)) = self.links.get_mut(link) else {
            return;
        };
        let Some(batch) = commands.take_batch() else {
            return;
        };
        let reading = commands.reading;
        let senders = self.grants.limited_senders();
        let shared = Arc::clone(&self.shared);
        let senders = (self.origin, senders);
        let work = work::enqueue(shared, link, batch, reading, senders);
        self.start(work);
    }

    pub(super) fn on_enqueued(&mut self, batch: EnqueuedBatch) {
        let EnqueuedBatch {
            link,
            bytes,
            deliveries,
            outcome,
        } = batch;
        self.held.remove(deliveries.len(), bytes);
        let node = self.links.get_mut(link);
        let mut states = Vec::with_capacity(deliveries.len());
        match outcome {
            Ok(Enqueued {
                outcomes,
                is_decoded,
            }) => {
                if let Some(Node::Commands(commands)) = node {
                    commands.on_batch_done();
                    commands.reading = if is_decoded {
                        IdReading::Decoded
                    } else {
                        IdReading::Plain
                    };
                }
                states.extend(outcomes.into_iter().map(|outcome| match outcome {
                    Ok(()) => DeliveryState::Accepted,
                    Err(NotSent { code, text }) => DeliveryState::rejected(error_of(code, text)),
                }));
            }
            Err(error) => {
                if let Some(Node::Commands(commands)) = node {
                    commands.on_batch_done();
                }
                warn!(%error, messages = deliveries.len(), "messages of a back-end have no answer");
                let state = DeliveryState::rejected(error_of_peer(&error));
                states.resize(deliveries.len(), state);
            }
        }
        for (delivery, state) in deliveries.into_iter().zip(states) {
            if state == DeliveryState::Accepted {
                self.accepted_messages += 1;
                self.shared.metrics.messages_accepted.increment();
            } else {
                self.shared.metrics.messages_refused.increment();
            }
            self.engine.settle(link, delivery, state);
        }
        if self.links.get(link).is_some() {
            self.links.mark(link);
        }
    }

    /// Forgets what was not offered to the queue: it was not confirmed either; its sender knows.
    pub(in crate::amqp) fn drop_commands(&mut self, commands: &Commands) {
        self.held
            .remove(commands.waiting_count(), commands.waiting_bytes());
    }
}
