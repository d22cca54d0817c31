//! One server-side AMQP connection as a machine without I/O.
//!
//! [`Engine::receive`] takes bytes, [`Engine::poll_event`] hands out what they mean,
//! [`Engine::output`] what is to be written, [`Engine::deadline`] when to call
//! [`Engine::on_deadline`]. Commands ([`Engine::accept`], [`Engine::send`], [`Engine::settle`], …)
//! never fail on a link that has gone meanwhile: they do nothing, because its
//! [`Event::Detached`] is already on the way.
//!
//! States carry the standard's names: `Start`, `HdrExch`, `Opened`, `CloseSent`, `End` for the
//! connection (2.4.6), `Mapped`, `EndSent` for sessions (2.5.5), `AttachRcvd`, `Attached`,
//! `DetachSent` for links (2.6). The server answers on the client's channel and handle numbers.
//!
//! Every part is bounded by [`Options`]: sessions, links, their names, attaches that wait for an
//! answer, bytes of unfinished messages, deliveries that are unsettled or lapsed, credit and output.
//! A disposition costs what it changes, whatever range it names. Unread output above its bound
//! stops [`Engine::send`] and tells the caller, by [`Engine::wants_input`], to stop reading; should
//! it still reach four times the bound, the connection is cut.

mod attaching;
mod deliveries;
mod effects;
mod event;
mod incoming;
mod link;
mod negotiation;
mod options;
mod outgoing;
mod session;
mod timing;

use std::{collections::BTreeMap, mem, sync::Arc, time::Instant};

pub use event::{
    Accept, AttachRequest, CloseCause, DeliveryId, Event, IncomingMessage, LinkId, SendError,
    SendSettled, UnsettledDelivery,
};
pub use options::Options;

use self::{effects::Effects, link::Link, session::Session, timing::Timing};
use crate::{
    frame::{self, FrameType},
    performative::{AmqpError, Begin, Close, Detach, End, Open, Performative, condition},
};

/// A server-side connection: its protocol state, sessions, links and unsent bytes.
#[derive(Debug)]
pub struct Engine {
    options: Arc<Options>,
    state: State,
    is_admitted: bool,
    /// The incomplete frame at the end of what was received; empty and unallocated otherwise.
    input: Vec<u8>,
    effects: Effects,
    sessions: BTreeMap<u16, Box<Session>>,
    next_generation: u32,
    peer_channel_max: u16,
    timing: Timing,
}

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A protocol header is awaited; after SASL it must be the plain one.
    Start { is_sasl_done: bool },
    /// Mechanisms are offered, sasl-init is awaited.
    SaslInit,
    /// The caller is checking a credential; input waits.
    SaslVerdict,
    /// Headers are exchanged, open is awaited.
    HdrExch,
    /// Both sides are open.
    Opened,
    /// Close was sent and its answer is awaited.
    CloseSent,
    /// Nothing more is read; what is left of the output may be written.
    End,
}

/// A fault of the peer and what it costs.
#[derive(Debug)]
enum Violation {
    /// The session ends.
    Session(AmqpError),
    /// The connection closes.
    Connection(AmqpError),
}

impl Violation {
    fn session(condition: crate::types::Symbol, description: &str) -> Self {
        Self::Session(AmqpError::new(condition, description))
    }

    fn connection(condition: crate::types::Symbol, description: &str) -> Self {
        Self::Connection(AmqpError::new(condition, description))
    }
}

impl Engine {
    /// Returns the machine of a connection accepted at `now`.
    pub fn new(options: Arc<Options>, now: Instant) -> Self {
        let timing = Timing::new(&options, now);
        let effects = Effects::new(&options);
        Self {
            options,
            state: State::Start {
                is_sasl_done: false,
            },
            is_admitted: false,
            input: Vec::new(),
            effects,
            sessions: BTreeMap::new(),
            next_generation: 0,
            peer_channel_max: 0,
            timing,
        }
    }

    /// Takes bytes from the peer. Events they cause are at most a few per frame: poll all of them
    /// before the next call.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        if self.input.is_empty() {
            let used = self.consume(bytes, now);
            self.keep_tail(bytes.get(used..).unwrap_or_default());
        } else {
            let mut input = mem::take(&mut self.input);
            input.extend_from_slice(bytes);
            self.consume_kept(input, now);
        }
        if self.effects.output.is_beyond_repair() {
            self.finish(CloseCause::OutputOverflow, None);
        }
    }

    fn consume_kept(&mut self, input: Vec<u8>, now: Instant) {
        let used = self.consume(&input, now);
        if used == 0 && self.state != State::End {
            self.input = input;
            self.bound_waiting_input();
        } else {
            self.keep_tail(input.get(used..).unwrap_or_default());
        }
    }

    fn keep_tail(&mut self, tail: &[u8]) {
        if self.state != State::End && !tail.is_empty() {
            self.input = tail.to_vec();
            self.bound_waiting_input();
        }
    }

    /// Cuts a peer that floods the connection while its credential is being checked.
    fn bound_waiting_input(&mut self) {
        let limit = self.options.max_guest_frame_bytes;
        if self.state == State::SaslVerdict && self.input.len() > limit as usize {
            self.finish(CloseCause::Protocol, None);
        }
    }

    /// Works through `bytes` and returns how many were used up.
    fn consume(&mut self, bytes: &[u8], now: Instant) -> usize {
        let mut used: usize = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            let step = match self.state {
                State::End => return bytes.len(),
                State::SaslVerdict => 0,
                State::Start { is_sasl_done } => self.on_header_bytes(rest, is_sasl_done),
                State::SaslInit | State::HdrExch | State::Opened | State::CloseSent => {
                    self.on_frame_bytes(rest, now)
                }
            };
            if step == 0 {
                return used;
            }
            used = used.saturating_add(step);
        }
    }

    fn on_frame_bytes(&mut self, bytes: &[u8], now: Instant) -> usize {
        let frame = match frame::parse_frame(bytes, self.frame_limit()) {
            Ok(None) => return 0,
            Ok(Some(frame)) => frame,
            Err(error) => {
                self.fail(AmqpError::new(condition::FRAMING_ERROR, error.to_string()));
                return bytes.len();
            }
        };
        self.timing.on_frame_received(now);
        let result = match (self.state, frame.frame_type) {
            (State::SaslInit, FrameType::Sasl) => {
                self.on_sasl_frame(frame.body);
                Ok(())
            }
            (State::HdrExch | State::Opened | State::CloseSent, FrameType::Amqp) => {
                self.on_amqp_frame(frame.channel, frame.body)
            }
            _ => Err(Violation::connection(
                condition::FRAMING_ERROR,
                "frame of the wrong type",
            )),
        };
        match result {
            Ok(()) => {}
            Err(Violation::Session(error)) => self.end_session(frame.channel, Some(error)),
            Err(Violation::Connection(error)) => self.fail(error),
        }
        frame.size
    }

    /// Largest frame taken now: small until the caller has admitted the peer.
    fn frame_limit(&self) -> u32 {
        if self.is_admitted {
            self.options.max_frame_bytes
        } else {
            self.options.max_guest_frame_bytes
        }
    }

    fn on_amqp_frame(&mut self, channel: u16, body: &[u8]) -> Result<(), Violation> {
        let decoded = frame::decode_body(body)
            .map_err(|error| Violation::connection(condition::DECODE_ERROR, &error.to_string()))?;
        let Some((performative, payload)) = decoded else {
            return Ok(());
        };
        match (self.state, performative) {
            (State::HdrExch, Performative::Open(open)) => self.on_open(open),
            (State::Opened | State::CloseSent, Performative::Close(close)) => {
                self.on_close(close);
                Ok(())
            }
            // After close was sent, everything but its answer is passed over (2.4.6).
            (State::CloseSent, _) => Ok(()),
            (State::Opened, Performative::Begin(begin)) => self.on_begin(channel, begin),
            (State::Opened, Performative::End(_)) => self.on_end(channel),
            (State::Opened, performative) => self.on_session_frame(channel, performative, payload),
            _ => Err(Violation::connection(
                condition::ILLEGAL_STATE,
                "frame before open",
            )),
        }
    }

    fn on_close(&mut self, close: Close) {
        if self.state == State::Opened {
            self.drop_all_sessions();
            self.effects.write(0, &Close::default().into());
        }
        self.finish(CloseCause::Peer, close.error);
    }

    fn on_begin(&mut self, channel: u16, begin: Begin) -> Result<(), Violation> {
        let limit = self.options.channel_max.min(self.peer_channel_max);
        if channel > limit || begin.remote_channel.is_some() {
            return Err(Violation::connection(
                condition::FRAMING_ERROR,
                "channel out of range",
            ));
        }
        if self.sessions.contains_key(&channel) {
            return Err(Violation::connection(
                condition::ILLEGAL_STATE,
                "channel is in use",
            ));
        }
        if self.sessions.len() >= self.options.max_sessions {
            let text = "too many sessions on one connection";
            return Err(Violation::connection(
                condition::RESOURCE_LIMIT_EXCEEDED,
                text,
            ));
        }
        let session = Session::new(channel, &begin, &self.options);
        self.effects
            .write(channel, &session.begin(self.options.handle_max).into());
        self.sessions.insert(channel, Box::new(session));
        Ok(())
    }

    fn on_end(&mut self, channel: u16) -> Result<(), Violation> {
        let Some(mut session) = self.sessions.remove(&channel) else {
            return Err(Violation::connection(
                condition::FRAMING_ERROR,
                "end of no session",
            ));
        };
        if session.is_mapped() {
            session.drop_links(&mut self.effects);
            self.effects.write(channel, &End::default().into());
        }
        Ok(())
    }

    fn on_session_frame(
        &mut self,
        channel: u16,
        performative: Performative,
        payload: &[u8],
    ) -> Result<(), Violation> {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Err(Violation::connection(
                condition::FRAMING_ERROR,
                "no session on channel",
            ));
        };
        if !session.is_mapped() {
            return Ok(());
        }
        match performative {
            Performative::Attach(attach) => self.on_attach(channel, *attach),
            Performative::Detach(detach) => {
                session.on_detach(&detach, &mut self.effects);
                Ok(())
            }
            Performative::Flow(flow) => {
                session.on_flow(&flow, &mut self.effects);
                Ok(())
            }
            Performative::Transfer(transfer) => {
                session.on_transfer(&transfer, payload, &self.options, &mut self.effects)
            }
            Performative::Disposition(disposition) => {
                session.on_disposition(disposition, &mut self.effects);
                Ok(())
            }
            Performative::Open(_)
            | Performative::Begin(_)
            | Performative::End(_)
            | Performative::Close(_) => Err(Violation::connection(
                condition::ILLEGAL_STATE,
                "connection is open already",
            )),
        }
    }

    /// Returns the next event, in the order things happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.effects.poll_event()
    }

    /// Returns the bytes to be written. Settlements made since the last call join in few frames.
    pub fn output(&mut self) -> &[u8] {
        self.effects.flush_settling();
        self.effects.output.pending()
    }

    /// Notes that the first `count` bytes of [`Self::output`] were written at `now`.
    pub fn consume_output(&mut self, count: usize, now: Instant) {
        if count > 0 {
            self.effects.output.consume(count);
            self.timing.on_bytes_sent(now);
        }
    }

    /// Returns how many sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Returns how many messages of a session are without their settlement: from the peer, and to
    /// it.
    pub fn unsettled_in(&self, channel: u16) -> (usize, usize) {
        self.sessions.get(&channel).map_or((0, 0), |session| {
            (session.received.len(), session.unsettled.len())
        })
    }

    /// Whether the caller should read on: no longer when the peer leaves too much output unread,
    /// a credential is being checked, too much waits for [`Self::accept`] or [`Self::refuse`], or
    /// the connection is over.
    pub fn wants_input(&self) -> bool {
        let is_waiting = matches!(self.state, State::SaslVerdict | State::End);
        let is_attaching = self.effects.attach_bytes() >= self.options.max_attach_bytes;
        !is_waiting && !is_attaching && !self.effects.output.is_full()
    }

    /// Whether the connection is over: write the rest of the output, then close the socket.
    pub fn is_finished(&self) -> bool {
        self.state == State::End
    }

    /// Lifts the limits that hold for strangers, once the caller knows who the peer is.
    pub fn admit(&mut self) {
        self.is_admitted = true;
    }

    /// Detaches a link that was accepted; its [`Event::Detached`] tells what was unsettled. One
    /// that still waits for its answer is refused instead.
    pub fn detach(&mut self, link: LinkId, error: Option<AmqpError>) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        if !session.find(link).is_some_and(Link::is_attached) {
            return;
        }
        let handle = link.handle;
        let detach = Detach {
            handle,
            closed: true,
            error: error.clone(),
        };
        self.effects.write(link.channel, &detach.into());
        session.leave_link(handle, error, &mut self.effects);
    }

    /// Ends a session with all its links.
    pub fn end_session(&mut self, channel: u16, error: Option<AmqpError>) {
        let Some(session) = self
            .sessions
            .get_mut(&channel)
            .filter(|session| session.is_mapped())
        else {
            return;
        };
        session.drop_links(&mut self.effects);
        session.set_end_sent();
        self.effects.write(channel, &End { error }.into());
    }

    /// Closes the connection in order: close is sent, and its answer awaited for a bounded time.
    pub fn close(&mut self, error: Option<AmqpError>, now: Instant) {
        match self.state {
            State::Opened => {
                self.drop_all_sessions();
                self.effects.write(0, &Close { error }.into());
                self.state = State::CloseSent;
                self.timing.await_close(&self.options, now);
            }
            State::CloseSent | State::End => {}
            State::Start { .. } | State::SaslInit | State::SaslVerdict | State::HdrExch => {
                self.finish(CloseCause::Hub, error);
            }
        }
    }

    /// Ends the machine because the socket is gone, so that every link gets its last event.
    pub fn abandon(&mut self) {
        self.finish(CloseCause::Lost, None);
    }

    /// Closes because of a fault after which input cannot be trusted: no answer is awaited.
    fn fail(&mut self, error: AmqpError) {
        if self.state == State::HdrExch {
            let open = self.own_open();
            self.effects.write(0, &open.into());
        }
        if matches!(self.state, State::HdrExch | State::Opened) {
            self.drop_all_sessions();
            self.effects.write(
                0,
                &Close {
                    error: Some(error.clone()),
                }
                .into(),
            );
        }
        self.finish(CloseCause::Protocol, Some(error));
    }

    fn finish(&mut self, cause: CloseCause, error: Option<AmqpError>) {
        if self.state == State::End {
            return;
        }
        self.drop_all_sessions();
        self.state = State::End;
        self.input = Vec::new();
        self.timing.finish();
        self.effects.event(Event::Closed { cause, error });
    }

    fn drop_all_sessions(&mut self) {
        for (_, mut session) in mem::take(&mut self.sessions) {
            session.drop_links(&mut self.effects);
        }
    }

    fn own_open(&self) -> Open {
        Open {
            container_id: self.options.container_id.clone(),
            hostname: None,
            max_frame_size: self.options.max_frame_bytes,
            channel_max: self.options.channel_max,
            idle_time_out: Some(self.options.idle_time_out_ms()),
        }
    }
}

#[cfg(test)]
mod tests;
