//! What the door knows of one connection and decides, without a socket.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use downlink_amqp::engine::{
    Accept, AttachRequest, CloseCause, DeliveryId, Engine, Event, IncomingMessage, LinkId, Options,
    UnsettledDelivery,
};
use downlink_amqp::performative::{AmqpError, DeliveryState, Role, condition};
use downlink_amqp::sasl::SaslCode;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::message::Verdict;
use downlink_ports::PeerError;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::address::{Address, parse_link};
use super::command;
use super::condition::{error_of, error_of_peer};
use super::grants::{Grant, Grants};
use super::nodes::{Commands, FeedbackNode, Node};
use super::work::{self, Done, Enqueued, IdReading, Work};
use crate::authenticate::Refusal;
use crate::metrics::RefusedFor;
use crate::options::AmqpOptions;
use crate::shared::Shared;

/// Largest message the hub sends to a back-end, as announced (amqp.md §4.4).
const MAX_SENT_BYTES: u64 = 1024 * 1024;
/// Bytes of messages on their way to the queue; beyond it nothing is read from the socket.
const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// One connection of a back-end.
pub(super) struct BackEnd {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Engine,
    pub(super) links: BTreeMap<LinkId, Node>,
    pub(super) grants: Grants,
    works: FuturesUnordered<Work>,
    /// Bytes of messages that were taken and have no answer yet.
    held_bytes: usize,
    /// Bytes of the batches on their way, by link.
    in_flight_bytes: BTreeMap<LinkId, usize>,
    /// Whether the connection authenticated by SASL PLAIN, whose token cannot be renewed.
    is_plain: bool,
    pub(super) next_reply_tag: u32,
    cause: Option<CloseCause>,
    accepted_messages: u64,
    /// Cancelled when nobody is there any more to be handed what is waited for.
    pub(super) gone: CancellationToken,
}

impl BackEnd {
    pub(super) fn new(shared: Arc<Shared>, accepted_at: Instant) -> Self {
        let options = Arc::new(engine_options(&shared.options.amqp));
        let gone = shared.lifecycle.drain_token().child_token();
        Self {
            engine: Engine::new(options, accepted_at.into_std()),
            shared,
            links: BTreeMap::new(),
            grants: Grants::default(),
            works: FuturesUnordered::new(),
            held_bytes: 0,
            in_flight_bytes: BTreeMap::new(),
            is_plain: false,
            next_reply_tag: 0,
            cause: None,
            accepted_messages: 0,
            gone,
        }
    }

    /// Whether more input may be read: the engine takes it, and the queue keeps up.
    pub(super) fn wants_input(&self) -> bool {
        self.engine.wants_input() && self.held_bytes < MAX_HELD_BYTES
    }

    /// Whether every message that was taken has its answer.
    pub(super) fn is_idle(&self) -> bool {
        self.links.values().all(|node| match node {
            Node::Commands(commands) => commands.is_idle(),
            Node::TokenRequests { .. }
            | Node::TokenReplies
            | Node::Feedback(_)
            | Node::FileNotifications => true,
        })
    }

    /// Works off the engine's events, then starts what they call for.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(event) = self.engine.poll_event() {
            self.on_event(event, now);
        }
        self.start_batches();
        self.start_receiving();
    }

    /// Takes the next finished call and acts on it.
    pub(super) fn poll_work(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        match self.works.poll_next_unpin(cx) {
            Poll::Ready(Some(done)) => {
                self.on_done(done, now);
                Poll::Ready(())
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    pub(super) fn start(&mut self, work: Work) {
        self.works.push(work);
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::SaslPlain(credential) => {
                self.start(work::check_plain(Arc::clone(&self.shared), credential));
            }
            // Client certificates are not asked for yet, so this mechanism proves nothing.
            Event::SaslExternal => self.engine.answer_sasl(SaslCode::Auth, now.into_std()),
            Event::Opened { .. } => {}
            Event::AttachRequested(request) => self.on_attach(&request),
            Event::MessageReceived(message) => self.on_message(&message),
            Event::CreditChanged { link, is_drain, .. } => self.on_credit(link, is_drain),
            Event::WindowOpened { channel } => self.flush_replies(channel),
            Event::DispositionReceived {
                link,
                deliveries,
                state,
                is_settled,
            } => {
                self.on_disposition(link, &deliveries, state.as_ref(), is_settled);
            }
            Event::Detached {
                link, unsettled, ..
            } => self.on_detached(link, &unsettled),
            Event::Closed { cause, error } => {
                debug!(
                    ?cause,
                    error = error.map(|error| error.condition.into_string()),
                    "amqp connection closed"
                );
                self.cause = Some(cause);
            }
        }
    }

    fn on_attach(&mut self, request: &AttachRequest) {
        match self.admit_link(request) {
            Ok((node, terms)) => {
                self.engine.accept(request.link, terms);
                self.links.insert(request.link, node);
                self.flush_replies(request.link.channel());
            }
            Err(error) => {
                debug!(condition = %error.condition, address = request.address, "link refused");
                self.engine.refuse(request.link, error);
            }
        }
    }

    /// Decides on a link: what it leads to and on which terms, or why not.
    fn admit_link(&self, request: &AttachRequest) -> Result<(Node, Accept), AmqpError> {
        let options = &self.shared.options.amqp;
        if request.is_dynamic {
            let text = "the hub makes no nodes on demand";
            return Err(AmqpError::new(condition::NOT_IMPLEMENTED, text));
        }
        let Some(address) = request.address.as_deref().and_then(parse_link) else {
            let text = "the link address did not match any of the expected formats";
            return Err(error_of(ErrorCode::AmqpAddressNotFound, text));
        };
        let channel = request.link.channel();
        let in_session = self
            .links
            .keys()
            .filter(|link| link.channel() == channel)
            .count();
        if in_session >= options.max_links as usize {
            let text = "too many links in one session";
            return Err(AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
        }
        if address == Address::Device && !self.grants.is_empty() {
            let text = "devices are not served over AMQP yet; they can use MQTT";
            return Err(error_of(
                ErrorCode::OperationNotAvailableInCurrentTier,
                text,
            ));
        }
        if !self.grants.allow(address) {
            let text = "the token of the connection does not allow this link";
            return Err(error_of(ErrorCode::IotHubUnauthorizedAccess, text));
        }
        let node = node_of(address, request.role).ok_or_else(|| {
            let text = "the address cannot be used in this direction";
            error_of(ErrorCode::InvalidOperation, text)
        })?;
        let terms = terms_of(&node, options);
        Ok((node, terms))
    }

    fn on_message(&mut self, message: &IncomingMessage) {
        match self.links.get_mut(&message.link) {
            Some(Node::TokenRequests { .. }) => self.on_token_request(message),
            Some(Node::Commands(commands)) => {
                match command::read(message, &self.shared.options.hub) {
                    Ok(read) => {
                        self.held_bytes =
                            self.held_bytes.saturating_add(read.message.counted_bytes());
                        commands.push(message.delivery, read);
                    }
                    Err(refused) => {
                        self.shared.metrics.messages_refused.increment();
                        let error = error_of(refused.code, refused.text);
                        let state = DeliveryState::rejected(error);
                        self.engine.settle(message.link, message.delivery, state);
                    }
                }
            }
            Some(Node::TokenReplies | Node::Feedback(_) | Node::FileNotifications) | None => {}
        }
    }

    fn on_credit(&mut self, link: LinkId, is_drain: bool) {
        if let Some(Node::TokenReplies) = self.links.get(&link) {
            self.flush_replies(link.channel());
        }
        if is_drain {
            // A batch that arrives later finds no credit and goes back to the queue.
            self.engine.drained(link);
        }
    }

    /// Takes leave of a link: feedback that was under way goes back to the queue.
    fn on_detached(&mut self, link: LinkId, unsettled: &[UnsettledDelivery]) {
        match self.links.remove(&link) {
            Some(Node::Feedback(_)) => {
                for delivery in unsettled {
                    self.settle_feedback(delivery.tag, Verdict::ReleaseDelivered, None);
                }
            }
            // What was not offered to the queue yet was not confirmed either; its sender knows.
            Some(Node::Commands(commands)) => {
                self.held_bytes = self.held_bytes.saturating_sub(commands.waiting_bytes());
            }
            Some(Node::TokenRequests { .. } | Node::TokenReplies | Node::FileNotifications)
            | None => {}
        }
    }

    fn on_done(&mut self, done: Done, now: Instant) {
        match done {
            Done::Plain(outcome) => self.on_plain(outcome, now),
            Done::Token {
                request,
                request_id,
                outcome,
            } => {
                self.on_token(request, request_id, outcome);
            }
            Done::Enqueued {
                link,
                deliveries,
                outcome,
            } => {
                self.on_enqueued(link, deliveries, outcome);
            }
            Done::Received { link, outcome } => self.on_feedback(link, outcome),
            Done::Settled { answer_to, outcome } => self.on_settled(answer_to, outcome),
            Done::Rested { link } => self.set_receiving(link, false),
        }
    }

    fn on_plain(&mut self, outcome: Result<Grant, Refusal>, now: Instant) {
        let code = match outcome {
            Ok(grant) => {
                self.is_plain = true;
                self.engine.admit();
                self.grants.add(grant);
                SaslCode::Ok
            }
            Err(Refusal::Unauthorized | Refusal::Disabled) => {
                self.shared
                    .metrics
                    .connect_refused(RefusedFor::Unauthorized);
                SaslCode::Auth
            }
            Err(Refusal::Unavailable(_)) => {
                self.shared.metrics.connect_refused(RefusedFor::Unavailable);
                SaslCode::SysTemp
            }
        };
        self.engine.answer_sasl(code, now.into_std());
    }

    fn on_enqueued(
        &mut self,
        link: LinkId,
        deliveries: Vec<DeliveryId>,
        outcome: Result<Enqueued, PeerError>,
    ) {
        let bytes = self.in_flight_bytes.remove(&link).unwrap_or_default();
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        let node = self.links.get_mut(&link);
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
                    Err(error) => {
                        DeliveryState::rejected(error_of(error.code(), error.to_string()))
                    }
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
    }

    /// Sends on what has gathered on each link without a batch under way.
    fn start_batches(&mut self) {
        let mut works = Vec::new();
        for (link, node) in &mut self.links {
            let Node::Commands(commands) = node else {
                continue;
            };
            let Some(batch) = commands.take_batch() else {
                continue;
            };
            let bytes = batch
                .iter()
                .map(|(_, command)| command.message.counted_bytes())
                .sum();
            self.in_flight_bytes.insert(*link, bytes);
            let queue = Arc::clone(&self.shared.peers.queue);
            works.push(work::enqueue(queue, *link, batch, commands.reading));
        }
        self.works.extend(works);
    }

    /// When tokens are to be looked at next.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.grants
            .next_expiry(self.shared.options.amqp.token_grace)
    }

    /// Drops tokens that have ended: links they held are detached, and a connection that
    /// authenticated by SASL PLAIN is closed, since it cannot renew (amqp.md §1.3, §3.4).
    pub(super) fn expire_grants(&mut self, now: Timestamp, at: Instant) {
        self.grants
            .expire(self.shared.options.amqp.token_grace, now);
        let error = || error_of(ErrorCode::IotHubUnauthorized, "Token Invalid.");
        if self.is_plain && self.grants.is_empty() {
            self.engine.close(Some(error()), at.into_std());
            return;
        }
        for (link, node) in &self.links {
            if !self.grants.allow(node.address()) {
                self.engine.detach(*link, Some(error()));
            }
        }
    }

    /// Closes because the gateway goes away; clients connect again, elsewhere.
    pub(super) fn leave(&mut self, now: Instant) {
        let error = AmqpError::new(condition::CONNECTION_FORCED, "the node is going away");
        self.engine.close(Some(error), now.into_std());
    }

    /// Closes because no token came in time.
    pub(super) fn give_up_on_stranger(&mut self, now: Instant) {
        self.shared.metrics.connect_refused(RefusedFor::Deadline);
        let text = "no token was put in time";
        let error = error_of(ErrorCode::IotHubUnauthorized, text);
        self.engine.close(Some(error), now.into_std());
    }

    /// Finishes calls that were under way when the connection ended: accepted messages are
    /// counted, feedback goes back.
    ///
    /// # Cancellation
    /// Safe, at the price of what is not given back yet; its locks lapse by themselves.
    pub(super) async fn wind_down(&mut self) {
        self.gone.cancel();
        self.advance(Instant::now());
        while let Some(done) = self.works.next().await {
            self.on_done(done, Instant::now());
        }
    }

    pub(super) fn cause(&self) -> &'static str {
        match self.cause {
            Some(CloseCause::Peer) => "closed",
            Some(CloseCause::Hub) => "refused",
            Some(CloseCause::Protocol) => "violation",
            Some(CloseCause::Unauthorized) => "unauthorized",
            Some(CloseCause::TimedOut) => "timed out",
            Some(CloseCause::OutputOverflow) => "output not read",
            Some(CloseCause::Lost) | None => "lost",
        }
    }

    pub(super) fn accepted_messages(&self) -> u64 {
        self.accepted_messages
    }
}

fn engine_options(options: &AmqpOptions) -> Options {
    let links = (options.max_links as usize).saturating_mul(usize::from(options.max_sessions));
    Options {
        max_frame_bytes: options.max_frame_bytes,
        max_sessions: usize::from(options.max_sessions),
        max_links: links.min(Options::default().max_links),
        max_output_bytes: options.max_output_bytes,
        idle_time_out: options.idle_timeout,
        open_timeout: options.open_deadline,
        ..Options::default()
    }
}

fn node_of(address: Address, role: Role) -> Option<Node> {
    match (address, role) {
        (Address::Cbs, Role::Receiver) => Some(Node::TokenRequests {
            replies: VecDeque::new(),
        }),
        (Address::Cbs, Role::Sender) => Some(Node::TokenReplies),
        (Address::Commands, Role::Receiver) => Some(Node::Commands(Commands::default())),
        (Address::Feedback, Role::Sender) => Some(Node::Feedback(FeedbackNode::default())),
        (Address::FileNotifications, Role::Sender) => Some(Node::FileNotifications),
        (Address::Commands, Role::Sender)
        | (Address::Feedback | Address::FileNotifications, Role::Receiver)
        | (Address::Device, _) => None,
    }
}

fn terms_of(node: &Node, options: &AmqpOptions) -> Accept {
    match node {
        Node::TokenRequests { .. } => super::tokens::TERMS,
        Node::Commands(_) => Accept {
            credit_window: options.link_credit,
            max_message_bytes: options.max_message_bytes,
        },
        Node::TokenReplies | Node::Feedback(_) | Node::FileNotifications => Accept {
            credit_window: 0,
            max_message_bytes: MAX_SENT_BYTES,
        },
    }
}
