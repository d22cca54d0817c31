//! State of one link.

use super::LinkId;
use crate::performative::{
    Attach, DeliveryTag, ReceiverSettleMode, Role, SenderSettleMode, Terminus,
};

/// A link of a session, seen from the hub.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) name: Box<str>,
    /// What the hub is.
    pub(super) role: Role,
    pub(super) state: LinkState,
    pub(super) snd_settle_mode: Option<SenderSettleMode>,
    pub(super) rcv_settle_mode: Option<ReceiverSettleMode>,
    pub(super) delivery_count: u32,
    /// Messages that may still be sent: by the hub as the peer said, or by the peer as the hub said.
    pub(super) credit: u32,
    /// Whether the peer waits for the rest of its credit to be used up.
    pub(super) is_draining: bool,
    /// Messages held: unsettled by the peer, or not yet settled by the caller.
    pub(super) held: u32,
    /// Messages the caller takes at a time, on links the hub receives on.
    pub(super) window: u32,
    pub(super) max_message_bytes: u64,
    /// Whether the link has had deliveries that were not settled at once.
    pub(super) has_deliveries: bool,
    pub(super) partial: Option<Box<Partial>>,
}

/// Where a link stands (AMQP 1.0 2.6).
#[derive(Debug)]
pub(super) enum LinkState {
    /// The peer's attach waits for the caller; its termini are kept for the echo.
    AttachRcvd(Box<Termini>),
    /// Both sides are attached.
    Attached,
    /// Detach was sent, its answer is awaited and everything else is passed over.
    DetachSent,
}

/// Both ends as the client gave them.
#[derive(Debug)]
pub(super) struct Termini {
    pub(super) source: Option<Terminus>,
    pub(super) target: Option<Terminus>,
}

impl Termini {
    /// Returns the length of their encodings, in bytes.
    pub(super) fn len(&self) -> usize {
        let ends = [&self.source, &self.target].into_iter().flatten();
        ends.map(|end| end.encoded().len()).sum()
    }
}

/// A message of which more frames are to come.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) delivery: u64,
    pub(super) tag: Option<DeliveryTag>,
    pub(super) message_format: u32,
    pub(super) is_settled: bool,
    pub(super) bytes: Vec<u8>,
    /// Bytes that came in all, those not kept of an oversized message included.
    pub(super) received_bytes: u64,
    pub(super) is_oversized: bool,
}

impl Link {
    pub(super) fn new(id: LinkId, attach: Attach) -> Self {
        Self {
            id,
            name: attach.name.into_boxed_str(),
            role: attach.role.opposite(),
            state: LinkState::AttachRcvd(Box::new(Termini {
                source: attach.source,
                target: attach.target,
            })),
            snd_settle_mode: attach.snd_settle_mode,
            rcv_settle_mode: attach.rcv_settle_mode,
            delivery_count: attach.initial_delivery_count.unwrap_or_default(),
            credit: 0,
            is_draining: false,
            held: 0,
            window: 0,
            max_message_bytes: 0,
            has_deliveries: false,
            partial: None,
        }
    }

    pub(super) fn is_attached(&self) -> bool {
        matches!(self.state, LinkState::Attached)
    }

    pub(super) fn is_leaving(&self) -> bool {
        matches!(self.state, LinkState::DetachSent)
    }

    /// Raises the credit of the peer to what the window leaves, once that is worth a frame.
    ///
    /// Returns whether a flow is due.
    pub(super) fn replenish(&mut self) -> bool {
        if self.role != Role::Receiver || !self.is_attached() {
            return false;
        }
        let target = self.window.saturating_sub(self.held);
        let worthwhile = (self.window / 4).max(1);
        let is_due = target.saturating_sub(self.credit) >= worthwhile;
        if is_due {
            self.credit = target;
        }
        is_due
    }

    /// Whether a message of this link is sent settled, given the caller's wish.
    pub(super) fn sends_settled(&self, is_wished: bool) -> bool {
        match self.snd_settle_mode {
            Some(SenderSettleMode::Settled) => true,
            Some(SenderSettleMode::Unsettled) => false,
            Some(SenderSettleMode::Mixed) | None => is_wished,
        }
    }

    /// Returns the echo of the client's attach (amqp.md §4.4).
    pub(super) fn attach(&self, termini: Termini, max_message_bytes: Option<u64>) -> Attach {
        Attach {
            name: self.name.to_string(),
            handle: self.id.handle,
            role: self.role,
            snd_settle_mode: self.snd_settle_mode,
            rcv_settle_mode: self.rcv_settle_mode,
            source: termini.source,
            target: termini.target,
            initial_delivery_count: (self.role == Role::Sender).then_some(0),
            max_message_size: max_message_bytes,
            properties: Vec::new(),
        }
    }
}
