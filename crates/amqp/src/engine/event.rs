use bytes::Bytes;

use crate::{
    performative::{
        AmqpError, DeliveryState, DeliveryTag, ReceiverSettleMode, Role, SenderSettleMode,
    },
    sasl::PlainCredential,
    types::{Symbol, Value},
};

/// Names a link for as long as it lives; a later link on the same handle has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    pub(super) channel: u16,
    pub(super) handle: u32,
    pub(super) generation: u32,
}

impl LinkId {
    /// Returns the channel of the link's session.
    pub fn channel(&self) -> u16 {
        self.channel
    }
}

/// Names a delivery on a link; the wire carries its lower half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub(super) u64);

impl DeliveryId {
    /// Returns the id as it stands on the wire.
    pub(super) fn wire(self) -> u32 {
        let [_, _, _, _, low @ ..] = self.0.to_be_bytes();
        u32::from_be_bytes(low)
    }

    /// Returns the id whose wire form is `wire` and which is nearest below or at `latest`, `None`
    /// before the first.
    pub(super) fn at_or_before(latest: u64, wire: u32) -> Option<Self> {
        let behind = Self(latest).wire().wrapping_sub(wire);
        latest.checked_sub(u64::from(behind)).map(Self)
    }
}

/// What happened on the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// SASL PLAIN came; answer with [`super::Engine::answer_sasl`].
    SaslPlain(PlainCredential),
    /// SASL EXTERNAL came; answer with [`super::Engine::answer_sasl`].
    SaslExternal,
    /// The connection is open.
    Opened {
        /// The client's container; says nothing reliable (amqp.md §2.1).
        container_id: String,
        /// Host the client asked for.
        hostname: Option<String>,
    },
    /// A link is to be attached; answer with [`super::Engine::accept`] or
    /// [`super::Engine::refuse`].
    AttachRequested(Box<AttachRequest>),
    /// A whole message came; it takes a place in the link's window until
    /// [`super::Engine::settle`].
    MessageReceived(IncomingMessage),
    /// The peer tells how many messages it takes on a link the hub sends on.
    CreditChanged {
        /// The link.
        link: LinkId,
        /// Messages that may be sent now.
        credit: u32,
        /// Whether the peer waits for [`super::Engine::drained`].
        is_drain: bool,
    },
    /// A session has room it did not have: its window is open, or unsettled deliveries are below
    /// their bound, and nothing is half sent. Comes each time that becomes true, whether or not a
    /// send was refused.
    WindowOpened {
        /// Channel of the session.
        channel: u16,
    },
    /// The peer tells the state of deliveries it got on one link. Of each delivery it comes at most
    /// once unsettled and once settled.
    DispositionReceived {
        /// The link.
        link: LinkId,
        /// The deliveries, in order.
        deliveries: Vec<UnsettledDelivery>,
        /// The state, `None` when settled without one.
        state: Option<DeliveryState>,
        /// Whether the peer has settled. If not it waits for
        /// [`super::Engine::settle_outgoing`] (C#, amqp.md §5.4).
        is_settled: bool,
    },
    /// A link that was asked for and not refused is gone; comes exactly once for each.
    Detached {
        /// The link.
        link: LinkId,
        /// The peer's or the hub's reason.
        error: Option<AmqpError>,
        /// Deliveries to the peer that it had not settled.
        unsettled: Vec<UnsettledDelivery>,
    },
    /// The connection is over; comes exactly once, and last.
    Closed {
        /// Who or what ended it.
        cause: CloseCause,
        /// The reason given.
        error: Option<AmqpError>,
    },
}

/// Who or what ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer closed, or answered the hub's close.
    Peer,
    /// The hub closed before the connection was open.
    Hub,
    /// The peer broke the protocol.
    Protocol,
    /// The credential was refused.
    Unauthorized,
    /// The peer was silent for too long, or did not open or close in time.
    TimedOut,
    /// The peer left too much output unread.
    OutputOverflow,
    /// The socket is gone.
    Lost,
}

/// What a client wants to attach.
#[derive(Clone, Debug, PartialEq)]
pub struct AttachRequest {
    /// The link, by which it is accepted or refused.
    pub link: LinkId,
    /// The client's name for it; never parsed (amqp.md §2.5).
    pub name: String,
    /// What the hub would be on it.
    pub role: Role,
    /// Address at the hub's end: the source if the hub sends, the target if it receives.
    pub address: Option<String>,
    /// Whether the client asks the hub to make up a node.
    pub is_dynamic: bool,
    /// Properties of the link, `com.microsoft:…` among them.
    pub properties: Vec<(Symbol, Value)>,
    /// How the sending end settles, if said.
    pub snd_settle_mode: Option<SenderSettleMode>,
    /// How the receiving end settles, if said.
    pub rcv_settle_mode: Option<ReceiverSettleMode>,
    /// Largest message the client takes, in bytes, if it says so.
    pub max_message_size: Option<u64>,
}

/// Terms on which a link is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// On a link the hub receives on: messages it holds at a time, sent and not yet settled by the
    /// caller. Credit is topped up as they are settled. Without meaning on other links.
    pub credit_window: u32,
    /// Largest message in bytes, announced to the client. On a link the hub receives on it is
    /// enforced.
    pub max_message_bytes: u64,
}

/// A message from the peer.
#[derive(Clone, Debug, PartialEq)]
pub struct IncomingMessage {
    /// The link it came on.
    pub link: LinkId,
    /// The delivery, to be settled.
    pub delivery: DeliveryId,
    /// Format of the payload, 0 for an AMQP message.
    pub message_format: u32,
    /// The encoded message.
    pub payload: Bytes,
}

/// A delivery to the peer that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsettledDelivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its tag, as given to [`super::Engine::send`].
    pub tag: DeliveryTag,
}

/// Whether a message is sent settled, on links that leave it to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendSettled {
    /// No settlement is awaited.
    Yes,
    /// The peer is to settle.
    No,
}

/// Why a message was not sent; nothing of it has gone out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The link is gone or was never accepted.
    #[error("link is not attached")]
    Detached,
    /// The peer has given no credit; [`Event::CreditChanged`] tells when it does.
    #[error("link has no credit")]
    NoCredit,
    /// The session's window is closed; [`Event::WindowOpened`] tells when it opens.
    #[error("session window is closed")]
    WindowClosed,
    /// Too many deliveries of the session are unsettled; [`Event::WindowOpened`] tells when there
    /// are fewer.
    #[error("too many deliveries are unsettled")]
    UnsettledFull,
    /// The peer does not read; try after output has been written.
    #[error("output is full")]
    OutputFull,
}
