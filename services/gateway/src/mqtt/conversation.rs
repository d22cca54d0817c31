//! What a connection and the hub say to each other, apart from the stream: packets in, work, output.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::id::LockToken;
use downlink_domain::message::Verdict;
use downlink_domain::presence::Subscriptions;
use downlink_mqtt::filter::Feature;
use downlink_mqtt::packet::{FrameReader, PacketId, Suback};
use downlink_mqtt::session::{Session, Subscriptions as MqttSubscriptions, Will};
use tokio::time::Instant;

use super::admit::Admitted;
use super::end::End;
use super::output::Output;
use super::telemetry;
use crate::device::{DeviceSession, Operation, SessionEvent};
use crate::shared::Shared;

/// What a packet identifier in flight stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The message's lock.
    pub(super) token: LockToken,
    /// When the lock ends.
    pub(super) until: Timestamp,
}

/// The way back from the end of a piece of work to the packet that asked for it.
#[derive(Debug)]
pub(super) enum Tag {
    /// Telemetry; acknowledge it when it is on disk.
    Telemetry(Option<PacketId>),
    /// A SUBSCRIBE and its answer.
    Subscribe(Suback),
    /// An UNSUBSCRIBE.
    Unsubscribe(PacketId),
    /// A twin request and the id of its answer.
    TwinGet(String),
    /// A reported patch, the id of its answer, and the publish to acknowledge when it is on disk.
    TwinPatch(String, Option<PacketId>),
}

/// A piece of work on its way through the hub.
#[derive(Debug)]
pub(super) struct Work {
    /// What asked for it.
    pub(super) tag: Tag,
    /// About how much memory it holds meanwhile.
    pub(super) cost_bytes: usize,
}

/// Memory that work of one connection may hold; above it nothing more is read. One packet may go over it.
const MAX_PENDING_BYTES: usize = 1024 * 1024;
/// What one property costs besides its text.
const PROPERTY_COST_BYTES: usize = 96;
/// What one byte of JSON text costs once it is parsed, at worst some numbers in an array.
const JSON_COST_FACTOR: usize = 32;

/// Whether the session outlives the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It does: `CleanSession` was 0.
    Stored,
    /// It does not.
    Clean,
}

/// What the subscriptions of a session switch on.
pub(super) fn to_hub_subscriptions(subscriptions: &MqttSubscriptions) -> Subscriptions {
    Subscriptions {
        c2d: subscriptions.has_feature(Feature::CloudToDevice),
        methods: subscriptions.has_feature(Feature::Methods),
        desired: subscriptions.has_feature(Feature::DesiredPatches),
        twin_replies: subscriptions.has_feature(Feature::TwinResponses),
    }
}

/// Whether a poll moved anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It did: look at everything again.
    Made,
    /// It did not: whoever can change that knows whom to wake.
    None,
}

/// Everything of a connection but its stream.
pub(super) struct Conversation {
    pub(super) shared: Arc<Shared>,
    pub(super) machine: Session<Held>,
    pub(super) session: DeviceSession<Work>,
    pub(super) output: Output,
    pub(super) persistence: Persistence,
    /// Subscription changes whose end has not been seen.
    pub(super) pending_subscriptions: usize,
    frames: FrameReader,
    /// Read and not yet looked at, because work or output were at their bounds; at most one chunk.
    backlog: Bytes,
    will: Option<Box<Will>>,
    /// Pieces of work whose end has not been seen, and what they cost.
    pending: usize,
    pending_bytes: usize,
    started_at: Instant,
    is_reading_paused: bool,
    desired: Option<Box<DesiredSeen>>,
}

/// Which versions of desired the device has surely seen. Notifications have no acknowledgement, but a client that pings
/// has had the answer to its ping before, and all that was written before that answer.
#[derive(Clone, Copy, Debug, Default)]
struct DesiredSeen {
    /// What had been written when the last ping was answered.
    at_ping: Option<u64>,
    /// What had been written when the one before it was.
    surely: Option<u64>,
}

impl Conversation {
    /// Begins with CONNACK in the output.
    pub(super) fn new(shared: Arc<Shared>, admitted: Admitted) -> Self {
        let mut output = Output::new(shared.options.mqtt.max_output_bytes);
        output.append(|out| admitted.connack.encode(out));
        Self {
            shared,
            machine: admitted.machine,
            session: admitted.session,
            output,
            persistence: admitted.persistence,
            pending_subscriptions: 0,
            frames: admitted.frames,
            backlog: admitted.backlog,
            will: admitted.will.map(Box::new),
            pending: 0,
            pending_bytes: 0,
            started_at: Instant::now(),
            is_reading_paused: false,
            desired: None,
        }
    }

    /// Notes that the client pings.
    pub(super) fn note_ping(&mut self) {
        let at_ping = self.session.taken_desired();
        if at_ping.is_none() && self.desired.is_none() {
            return;
        }
        let seen = self.desired.get_or_insert_default();
        seen.surely = std::mem::replace(&mut seen.at_ping, at_ping);
    }

    /// Returns what writes down which version of desired the client has seen, if its session outlives the connection and
    /// anything is known.
    ///
    /// What was written and not pinged after may never have arrived: the client is told of it again.
    pub(super) fn note_desired(
        &self,
        was_told_everything: bool,
    ) -> impl Future<Output = ()> + Send + use<> {
        let seen = if was_told_everything {
            self.session.taken_desired()
        } else {
            self.desired.as_ref().and_then(|seen| seen.surely)
        };
        let seen = seen.filter(|_| self.persistence == Persistence::Stored);
        let noting = seen.map(|version| self.session.note_desired(version));
        async move {
            if let Some(noting) = noting {
                noting.await;
            }
        }
    }

    /// Returns when the conversation is over unless the client sends something.
    pub(super) fn keep_alive_deadline(&self) -> Instant {
        self.started_at + self.machine.keep_alive_deadline()
    }

    /// Returns whether packets may be taken: neither work nor output is at its bound.
    ///
    /// While they may not, time does not count against the client.
    pub(super) fn begin_reading(&mut self) -> bool {
        let was_paused = self.is_reading_paused;
        self.is_reading_paused = self.is_full();
        if was_paused || self.is_reading_paused {
            self.machine.defer_keep_alive(self.now());
        }
        !self.is_reading_paused
    }

    /// Takes what was left over, if anything.
    pub(super) fn take_backlog(&mut self) -> Result<Progress, End> {
        if self.backlog.is_empty() {
            return Ok(Progress::None);
        }
        let mut backlog = std::mem::take(&mut self.backlog);
        let left = self.take_packets(&backlog)?;
        self.backlog = backlog.split_off(backlog.len() - left);
        Ok(Progress::Made)
    }

    /// Takes a chunk of the stream; an empty one is its end.
    pub(super) fn take_chunk(&mut self, chunk: &[u8]) -> Result<Progress, End> {
        if chunk.is_empty() {
            return Err(End::Lost);
        }
        let left = self.take_packets(chunk)?;
        if let Some(rest) = chunk
            .len()
            .checked_sub(left)
            .and_then(|used| chunk.get(used..))
        {
            self.backlog = Bytes::copy_from_slice(rest);
        }
        Ok(Progress::Made)
    }

    /// Acts on whole packets until there is none left, or no room; returns how many bytes are left over.
    fn take_packets(&mut self, chunk: &[u8]) -> Result<usize, End> {
        let mut rest = chunk;
        let now = self.now();
        while !self.is_full() {
            let Some(frame) = self.frames.next(&mut rest)? else {
                break;
            };
            let packet = frame.into_client_packet()?;
            if let Some(action) = self.machine.on_packet(packet, now)? {
                self.act(action)?;
            }
        }
        Ok(rest.len())
    }

    /// Lets the device session work and acts on what it says, while the output has room.
    pub(super) fn poll_session(&mut self, cx: &mut Context<'_>) -> Result<Progress, End> {
        let mut progress = Progress::None;
        while self.output.has_room() {
            let Poll::Ready(event) = self.session.poll_event(cx) else {
                break;
            };
            self.note_ended(&event);
            self.on_event(event)?;
            progress = Progress::Made;
        }
        Ok(progress)
    }

    /// Queues telemetry and remembers to wait for its end.
    pub(super) fn store(&mut self, puback: Option<PacketId>, message: telemetry::MqttTelemetry) {
        let texts = message.properties.content_bytes();
        let properties = message
            .properties
            .iter()
            .count()
            .saturating_mul(PROPERTY_COST_BYTES);
        let cost_bytes = message
            .payload
            .len()
            .saturating_add(texts)
            .saturating_add(properties);
        let work = self.begin(Tag::Telemetry(puback), cost_bytes);
        self.session.store(work, telemetry::from_mqtt(message));
    }

    /// Queues an operation that carries `json_bytes` of JSON, and remembers to wait for its end.
    pub(super) fn operate(&mut self, tag: Tag, operation: Operation, json_bytes: usize) {
        let work = self.begin(tag, json_bytes.saturating_mul(JSON_COST_FACTOR));
        self.session.operate(work, operation);
    }

    fn begin(&mut self, tag: Tag, cost_bytes: usize) -> Work {
        self.pending += 1;
        self.pending_bytes = self.pending_bytes.saturating_add(cost_bytes);
        Work { tag, cost_bytes }
    }

    /// Takes what waits to be written; nothing more is to be said.
    pub(super) fn take_output(&mut self) -> Output {
        std::mem::replace(&mut self.output, Output::new(0))
    }

    /// Stops taking messages, and publishes the will unless the client said goodbye.
    pub(super) fn begin_end(&mut self, end: &End) {
        self.session.set_credit(0);
        if let Some(will) = self.will.take().filter(|_| !end.is_graceful()) {
            self.store(None, will.into_telemetry());
        }
    }

    /// Lets promised work end; ready when all has, or the session wants nothing but to close.
    pub(super) fn poll_last_work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.pending > 0 || self.session.is_letting_go() {
            let Poll::Ready(event) = self.session.poll_event(cx) else {
                // What ended by being polled wakes nobody.
                if self.pending == 0 && !self.session.is_letting_go() {
                    break;
                }
                return Poll::Pending;
            };
            self.note_ended(&event);
            match event {
                SessionEvent::Close(_) => return Poll::Ready(()),
                SessionEvent::Messages(messages) => {
                    for message in messages {
                        self.session
                            .settle(message.lock.token, Verdict::ReleaseUndelivered);
                    }
                }
                SessionEvent::Settled(_)
                | SessionEvent::Stored(_)
                | SessionEvent::NotStored(..)
                | SessionEvent::Ended(..)
                | SessionEvent::Invoke { .. }
                | SessionEvent::Desired(_) => {}
            }
        }
        Poll::Ready(())
    }

    fn note_ended(&mut self, event: &SessionEvent<Work>) {
        let ended = match event {
            SessionEvent::Stored(works) | SessionEvent::NotStored(works, _) => works.as_slice(),
            SessionEvent::Ended(work, _) => std::slice::from_ref(work),
            SessionEvent::Messages(_)
            | SessionEvent::Settled(_)
            | SessionEvent::Invoke { .. }
            | SessionEvent::Desired(_)
            | SessionEvent::Close(_) => &[],
        };
        for work in ended {
            self.pending = self.pending.saturating_sub(1);
            self.pending_bytes = self.pending_bytes.saturating_sub(work.cost_bytes);
        }
    }

    fn is_full(&self) -> bool {
        self.session.is_busy() || self.pending_bytes >= MAX_PENDING_BYTES || !self.output.has_room()
    }

    fn now(&self) -> Duration {
        self.started_at.elapsed()
    }
}
