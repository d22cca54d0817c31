//! The engine of a connection, with its traffic counted.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::time::Instant;

use downlink_amqp::engine::{
    Accept, AttachRequest, DeliveryId, Engine, Event, LinkId, SendError, SendSettled,
};
use downlink_amqp::message::Encoded;
use downlink_amqp::performative::{AmqpError, DeliveryState, DeliveryTag, Role};
use downlink_runtime::telemetry::HotGauge;

use super::address::{Address, DeviceNode, parse_link};
use crate::metrics::amqp::{AmqpMetrics, LinkEnd, LinkLabel};

/// An engine whose links, sessions and messages are counted. What is not counted goes straight to
/// the engine.
pub(super) struct Metered {
    engine: Engine,
    metrics: AmqpMetrics,
    links: HashMap<LinkId, Seen>,
    sessions: usize,
    /// Unsettled messages, from the client and to it, of sessions that have some.
    unsettled: HashMap<u16, (usize, usize)>,
}

/// A link that the client has asked for.
struct Seen {
    label: LinkLabel,
    is_attached: bool,
}

impl Metered {
    pub(super) fn new(engine: Engine, metrics: AmqpMetrics) -> Self {
        Self {
            engine,
            metrics,
            links: HashMap::new(),
            sessions: 0,
            unsettled: HashMap::new(),
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let event = self.engine.poll_event();
        match &event {
            None => self.count_sessions(self.engine.session_count()),
            Some(event) => self.on_event(event),
        }
        event
    }

    fn on_event(&mut self, event: &Event) {
        match event {
            Event::AttachRequested(request) => {
                if let Some(label) = label_of(request) {
                    let is_attached = false;
                    self.links.insert(request.link, Seen { label, is_attached });
                }
            }
            Event::MessageReceived(message) => {
                self.count_message(message.link);
                self.count_unsettled(message.link.channel());
            }
            Event::DispositionReceived { link, .. } => self.count_unsettled(link.channel()),
            Event::Detached { link, error, .. } => {
                self.on_detached(*link, error.as_ref());
                self.count_unsettled(link.channel());
            }
            Event::SaslPlain(_)
            | Event::SaslExternal
            | Event::Opened { .. }
            | Event::CreditChanged { .. }
            | Event::WindowOpened { .. }
            | Event::Closed { .. } => {}
        }
    }

    fn on_detached(&mut self, link: LinkId, error: Option<&AmqpError>) {
        if let Some(Seen {
            label,
            is_attached: true,
        }) = self.links.remove(&link)
        {
            let condition = error.map(|error| error.condition.as_str());
            self.metrics.link_ended(label, LinkEnd::of(condition));
        }
    }

    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.metrics.bytes_in.add(bytes.len() as u64);
        self.engine.receive(bytes, now);
    }

    pub(super) fn consume_output(&mut self, count: usize, now: Instant) {
        self.metrics.bytes_out.add(count as u64);
        self.engine.consume_output(count, now);
    }

    pub(super) fn accept(&mut self, link: LinkId, terms: Accept) {
        if let Some(seen) = self.links.get_mut(&link) {
            seen.is_attached = true;
            self.metrics.link_attached(seen.label);
        }
        self.engine.accept(link, terms);
    }

    pub(super) fn refuse(&mut self, link: LinkId, error: AmqpError) {
        self.links.remove(&link);
        let condition = Some(error.condition.as_str());
        self.metrics.link_refused(LinkEnd::of(condition));
        self.engine.refuse(link, error);
    }

    pub(super) fn send(
        &mut self,
        link: LinkId,
        tag: DeliveryTag,
        message: impl Into<Encoded>,
        settled: SendSettled,
    ) -> Result<DeliveryId, SendError> {
        let delivery = self.engine.send(link, tag, message, settled)?;
        self.count_message(link);
        self.count_unsettled(link.channel());
        Ok(delivery)
    }

    pub(super) fn settle(&mut self, link: LinkId, delivery: DeliveryId, outcome: DeliveryState) {
        self.engine.settle(link, delivery, outcome);
        self.count_unsettled(link.channel());
    }

    pub(super) fn settle_outgoing(
        &mut self,
        link: LinkId,
        delivery: DeliveryId,
        state: DeliveryState,
    ) {
        self.engine.settle_outgoing(link, delivery, state);
        self.count_unsettled(link.channel());
    }

    pub(super) fn lapse(&mut self, link: LinkId, delivery: DeliveryId) {
        self.engine.lapse(link, delivery);
        self.count_unsettled(link.channel());
    }

    fn count_message(&self, link: LinkId) {
        if let Some(seen) = self.links.get(&link) {
            self.metrics.message_passed(seen.label);
        }
    }

    fn count_sessions(&mut self, sessions: usize) {
        change(&self.metrics.sessions, &mut self.sessions, sessions);
    }

    fn count_unsettled(&mut self, channel: u16) {
        let (inward, outward) = self.engine.unsettled_in(channel);
        let known = self.unsettled.entry(channel).or_default();
        change(&self.metrics.unsettled_in, &mut known.0, inward);
        change(&self.metrics.unsettled_out, &mut known.1, outward);
        if *known == (0, 0) {
            self.unsettled.remove(&channel);
        }
    }
}

/// Brings a level from what this connection had in it to what it has now.
fn change(gauge: &HotGauge, known: &mut usize, now: usize) {
    if *known != now {
        let level = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        gauge.add(level(now) - level(*known));
        *known = now;
    }
}

impl Deref for Metered {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl DerefMut for Metered {
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

/// Takes what is left out of the levels, whatever ended the connection.
impl Drop for Metered {
    fn drop(&mut self) {
        for seen in self.links.values().filter(|seen| seen.is_attached) {
            self.metrics.link_ended(seen.label, LinkEnd::Other);
        }
        self.count_sessions(0);
        for (inward, outward) in self.unsettled.values_mut() {
            change(&self.metrics.unsettled_in, inward, 0);
            change(&self.metrics.unsettled_out, outward, 0);
        }
    }
}

/// What a link is for; `None` when the hub has no use for it.
fn label_of(request: &AttachRequest) -> Option<LinkLabel> {
    let address = request.address.as_deref().and_then(parse_link)?;
    Some(match (address, request.role) {
        (Address::Cbs, Role::Receiver) => LinkLabel::TokenRequests,
        (Address::Cbs, Role::Sender) => LinkLabel::TokenReplies,
        (Address::Commands, Role::Receiver) => LinkLabel::Commands,
        (Address::Feedback, Role::Sender) => LinkLabel::Feedback,
        (Address::FileNotifications, Role::Sender) => LinkLabel::FileNotifications,
        (Address::Device(device), role) => match (device.node, role) {
            (DeviceNode::Events, Role::Receiver) => LinkLabel::Telemetry,
            (DeviceNode::Events, Role::Sender) => LinkLabel::ModuleInputs,
            (DeviceNode::Devicebound, Role::Sender) => LinkLabel::Messages,
            (DeviceNode::Methods, Role::Sender) => LinkLabel::MethodCalls,
            (DeviceNode::Methods, Role::Receiver) => LinkLabel::MethodAnswers,
            (DeviceNode::Twin, Role::Sender) => LinkLabel::TwinReplies,
            (DeviceNode::Twin, Role::Receiver) => LinkLabel::TwinRequests,
            (DeviceNode::Devicebound, Role::Receiver) => return None,
        },
        (Address::Commands, Role::Sender)
        | (Address::Feedback | Address::FileNotifications, Role::Receiver) => return None,
    })
}
