//! What the door knows of one connection and decides, without a socket.

use std::sync::Arc;
use std::task::{Context, Poll};

use downlink_amqp::engine::{
    CloseCause, Engine, Event, IncomingMessage, LinkId, Options, SendError, UnsettledDelivery,
};
use downlink_amqp::performative::{AmqpError, DeliveryState, condition};
use downlink_amqp::sasl::SaslCode;
use downlink_auth::ClientChain;
use downlink_domain::message::Verdict;
use downlink_domain::presence::Protocol;
use downlink_domain::{ErrorCode, Timestamp};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::condition::error_of;
use super::device::Units;
use super::grants::Grants;
use super::held::Held;
use super::links::{Links, Node};
use super::metered::Metered;
use super::work::{self, Done, Work};
use crate::arrival::{Arrival, Carrier};
use crate::audit::Origin;
use crate::metrics::amqp::ConnectionEnd;
use crate::metrics::{Door, RefusedFor};
use crate::options::AmqpOptions;
use crate::shared::Shared;

/// Calls of a connection on their way; beyond it nothing is read from the socket.
const MAX_WORKS: usize = 2048;
/// What clients are told when the gateway goes away.
const GOING_AWAY: &str = "the node is going away";

/// One connection.
pub(super) struct Conversation {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Metered,
    pub(super) links: Links,
    pub(super) grants: Grants,
    /// Devices and modules.
    pub(super) units: Units,
    pub(super) protocol: Protocol,
    /// Where the client came from.
    pub(super) origin: Origin,
    /// What the client presented in its TLS handshake; whose it is, the addresses of links say.
    pub(super) certificates: Option<ClientChain>,
    /// Links refused because the certificates are not those of the device they are for.
    pub(super) unproved: u32,
    works: FuturesUnordered<Work>,
    /// Messages that were taken and have no answer yet.
    pub(super) held: Held,
    /// Whether the connection authenticated by SASL PLAIN, whose token cannot be renewed.
    pub(super) is_plain: bool,
    /// Whether any credential of the client was ever good.
    pub(super) is_admitted: bool,
    /// Whether the gateway goes away and has detached the links.
    pub(super) is_parting: bool,
    pub(super) next_reply_tag: u32,
    cause: Option<CloseCause>,
    pub(super) accepted_messages: u64,
    /// Cancelled when nobody is there any more to be handed what is waited for.
    pub(super) gone: CancellationToken,
}

impl Conversation {
    pub(super) fn new(shared: Arc<Shared>, arrival: Arrival) -> Self {
        let options = Arc::new(engine_options(&shared.options.amqp));
        let engine = Engine::new(options, arrival.accepted_at.into_std());
        let gone = shared.lifecycle.drain_token().child_token();
        Self {
            engine: Metered::new(engine, shared.metrics.amqp.clone()),
            links: Links::default(),
            grants: Grants::new(shared.options.amqp.max_tokens as usize),
            units: Units::default(),
            protocol: match arrival.carrier {
                Carrier::Tls => Protocol::Amqp,
                Carrier::WebSocket => Protocol::AmqpWs,
            },
            origin: Origin {
                door: Door::Amqp,
                peer: arrival.peer,
            },
            certificates: arrival.certificates,
            unproved: 0,
            works: FuturesUnordered::new(),
            held: Held::default(),
            is_plain: false,
            is_admitted: false,
            is_parting: false,
            next_reply_tag: 0,
            cause: None,
            accepted_messages: 0,
            gone,
            shared,
        }
    }

    /// Whether more input may be read: the engine takes it, and the services keep up.
    pub(super) fn wants_input(&self) -> bool {
        self.engine.wants_input()
            && self.held.has_room(self.shared.options.amqp.max_held_bytes)
            && self.works.len() < MAX_WORKS
    }

    /// Whether every message that was taken has its answer.
    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty()
    }

    /// Works off the engine's events, then has every link that may go on do so.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(event) = self.engine.poll_event() {
            self.on_event(event, now);
        }
        while let Some(link) = self.links.take_marked() {
            self.go_on(link);
        }
        self.look_at_units();
        if self.is_plain && self.grants.is_empty() {
            // It cannot show another token (amqp.md §1.3).
            let error = error_of(ErrorCode::IotHubUnauthorized, "Token Invalid.");
            self.engine.close(Some(error), now.into_std());
        }
    }

    /// Notes that the peer has taken output: what waited for room may go on.
    pub(super) fn on_output_taken(&mut self) {
        if self.links.has_blocked() && self.engine.wants_input() {
            self.links.unblock_all();
        }
    }

    /// Does what can be done on a link.
    fn go_on(&mut self, link: LinkId) {
        match self.links.get(link) {
            Some(Node::TokenRequests { .. } | Node::TokenReplies) => {
                self.flush_replies(link.channel());
            }
            Some(Node::Commands(_)) => self.start_batch(link),
            Some(Node::Feedback(_)) => self.start_receiving(link),
            Some(Node::Device(of)) => {
                let of = *of;
                self.go_on_unit(of);
            }
            Some(Node::FileNotifications) | None => {}
        }
    }

    /// How many messages may be sent on a link now. At 0 the link is looked at again once the
    /// peer has made room.
    pub(super) fn room_on(&mut self, link: LinkId) -> u32 {
        match self.engine.check_room(link) {
            Ok(room) => room,
            Err(error) => {
                self.note_unsent(link, error);
                0
            }
        }
    }

    /// Notes why nothing could be sent, so that the link is looked at again when it may.
    pub(super) fn note_unsent(&mut self, link: LinkId, error: SendError) {
        match error {
            SendError::WindowClosed | SendError::UnsettledFull | SendError::OutputFull => {
                self.links.block(link);
            }
            // An event tells of new credit, and of the link's end.
            SendError::NoCredit | SendError::Detached => {}
        }
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
                self.start(work::check_plain(
                    Arc::clone(&self.shared),
                    self.origin,
                    credential,
                ));
            }
            // It grants nothing yet: each link is checked against the certificates (amqp.md §1.2).
            Event::SaslExternal => {
                let is_there = self.certificates.is_some();
                let code = if is_there {
                    SaslCode::Ok
                } else {
                    SaslCode::Auth
                };
                self.engine.answer_sasl(code, now.into_std());
            }
            Event::Opened { .. } => {}
            Event::AttachRequested(request) => self.on_attach(&request),
            Event::MessageReceived(message) => self.on_message(&message),
            Event::CreditChanged {
                link,
                credit,
                is_drain,
            } => self.on_credit(link, credit, is_drain),
            Event::WindowOpened { channel } => self.links.unblock_in(channel),
            Event::DispositionReceived {
                link,
                deliveries,
                state,
                is_settled,
            } => {
                self.links.unblock_in(link.channel());
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

    fn on_message(&mut self, message: &IncomingMessage) {
        match self.links.get(message.link) {
            Some(Node::TokenRequests { .. }) => self.on_token_request(message),
            Some(Node::Commands(_)) => self.on_command(message),
            Some(Node::Device(of)) => {
                let of = *of;
                self.on_device_message(of, message);
            }
            Some(Node::TokenReplies | Node::Feedback(_) | Node::FileNotifications) | None => {}
        }
    }

    fn on_credit(&mut self, link: LinkId, credit: u32, is_drain: bool) {
        match self.links.get(link) {
            Some(Node::TokenReplies | Node::Feedback(_)) => self.links.mark(link),
            Some(Node::Device(of)) => {
                let of = *of;
                return self.on_device_credit(link, of, credit, is_drain);
            }
            Some(Node::TokenRequests { .. } | Node::Commands(_) | Node::FileNotifications)
            | None => {}
        }
        if is_drain {
            // A batch that arrives later finds no credit and goes back to the queue.
            self.engine.drained(link);
        }
    }

    fn on_disposition(
        &mut self,
        link: LinkId,
        deliveries: &[UnsettledDelivery],
        state: Option<&DeliveryState>,
        is_settled: bool,
    ) {
        match self.links.get(link) {
            Some(Node::Feedback(_)) => {
                self.on_feedback_disposition(link, deliveries, state, is_settled);
            }
            Some(Node::Device(of)) => {
                let of = *of;
                self.on_device_disposition(of, link, deliveries, state, is_settled);
            }
            Some(
                Node::TokenRequests { .. }
                | Node::TokenReplies
                | Node::Commands(_)
                | Node::FileNotifications,
            )
            | None => {}
        }
    }

    /// Takes leave of a link: what was under way on it goes back to where it came from.
    fn on_detached(&mut self, link: LinkId, unsettled: &[UnsettledDelivery]) {
        match self.links.remove(link) {
            Some(Node::Feedback(_)) => {
                for delivery in unsettled {
                    self.settle_feedback(delivery.tag, Verdict::ReleaseDelivered, None);
                }
            }
            Some(Node::Commands(commands)) => self.drop_commands(&commands),
            Some(Node::Device(of)) => self.on_device_link_detached(link, of, unsettled),
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
                length,
                outcome,
            } => {
                self.on_token(request, request_id, length, outcome);
            }
            Done::BackEnd(done) => self.on_back_end_done(done),
            Done::Device(done) => self.on_device_done(done),
        }
    }

    /// When tokens are to be looked at next.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.grants
            .next_expiry(self.shared.options.amqp.token_grace)
    }

    /// Drops tokens that have ended: links they held are detached (amqp.md §3.4). A connection
    /// that authenticated by SASL PLAIN is closed next.
    pub(super) fn expire_grants(&mut self, now: Timestamp) {
        self.grants
            .expire(self.shared.options.amqp.token_grace, now);
        self.end_what_no_token_allows();
    }

    /// Drops tokens whose keys are gone, or whose policies have changed.
    pub(super) fn on_access_changed(&mut self) {
        let shared = Arc::clone(&self.shared);
        if self
            .grants
            .drop_dead(|credential| shared.access.is_alive(credential))
        {
            self.end_what_no_token_allows();
        }
    }

    /// Whether a client has anything here: a token, or a link besides those for tokens.
    pub(super) fn is_of_use(&self) -> bool {
        !self.grants.is_empty() || self.links.has_more_than_tokens()
    }

    fn end_what_no_token_allows(&mut self) {
        let error = || error_of(ErrorCode::IotHubUnauthorized, "Token Invalid.");
        if self.is_plain && self.grants.is_empty() {
            return;
        }
        for (link, node) in self.links.iter() {
            if node
                .address()
                .is_some_and(|address| !self.grants.allow(&address))
            {
                self.engine.detach(link, Some(error()));
            }
        }
        self.expire_units();
    }

    /// Detaches every link because the gateway goes away, and returns whether there were any. No
    /// other is attached from now on.
    pub(super) fn part(&mut self) -> bool {
        self.is_parting = true;
        let mut has_detached = false;
        for (link, _) in self.links.iter() {
            self.engine.detach(link, Some(going_away()));
            has_detached = true;
        }
        has_detached
    }

    /// Closes because the gateway goes away; clients connect again, elsewhere.
    pub(super) fn leave(&mut self, now: Instant) {
        let error = AmqpError::new(condition::CONNECTION_FORCED, GOING_AWAY);
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
    /// counted, what was held goes back.
    ///
    /// # Cancellation
    /// Safe, at the price of what is not given back yet; its locks lapse by themselves.
    pub(super) async fn wind_down(&mut self) {
        self.gone.cancel();
        self.advance(Instant::now());
        while let Some(done) = self.works.next().await {
            self.on_done(done, Instant::now());
            self.look_at_units();
        }
    }

    /// Why the connection has ended.
    pub(super) fn cause(&self) -> ConnectionEnd {
        match self.cause {
            Some(CloseCause::Peer) => ConnectionEnd::Closed,
            Some(CloseCause::Hub) => ConnectionEnd::Refused,
            Some(CloseCause::Protocol) => ConnectionEnd::Violation,
            Some(CloseCause::Unauthorized) => ConnectionEnd::Unauthorized,
            Some(CloseCause::TimedOut) => ConnectionEnd::TimedOut,
            Some(CloseCause::OutputOverflow) => ConnectionEnd::Unread,
            Some(CloseCause::Lost) | None => ConnectionEnd::Lost,
        }
    }
}

/// Why links end, and are refused, while the gateway goes away: SDKs try again elsewhere.
pub(super) fn going_away() -> AmqpError {
    AmqpError::new(condition::DETACH_FORCED, GOING_AWAY)
}

fn engine_options(options: &AmqpOptions) -> Options {
    let links = (options.max_links as usize).saturating_mul(usize::from(options.max_sessions));
    Options {
        max_frame_bytes: options.max_frame_bytes,
        max_sessions: usize::from(options.max_sessions),
        max_links: links.min(Options::default().max_links),
        max_unsettled: options.max_unsettled,
        max_reassembly_bytes: options.max_held_bytes,
        max_output_bytes: options.max_output_bytes,
        idle_time_out: options.idle_timeout,
        open_timeout: options.open_deadline,
        ..Options::default()
    }
}
