//! What a step of the machine leaves behind: bytes to write and events to hand out.

use std::collections::VecDeque;

use super::{DeliveryId, Event, Options, link::Termini, outgoing::PendingTransfer};
use crate::{
    frame::{self, FrameType},
    performative::{DeliveryState, Disposition, Performative, Role},
};

#[derive(Debug)]
pub(super) struct Effects {
    pub(super) output: Output,
    events: VecDeque<Event>,
    settling: Option<Settling>,
    /// Largest frame both sides take, in bytes.
    pub(super) max_frame_bytes: usize,
    /// Links of all sessions.
    pub(super) link_count: usize,
    /// Bytes of incomplete messages of all links.
    pub(super) reassembly_bytes: usize,
    /// Bytes of attaches that wait for the caller's answer, on all links.
    attach_bytes: usize,
}

/// A disposition that waits for its neighbours: settlements of consecutive deliveries with the
/// same state go out as one range.
#[derive(Debug)]
struct Settling {
    channel: u16,
    role: Role,
    first: DeliveryId,
    last: DeliveryId,
    state: DeliveryState,
}

impl Effects {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            output: Output {
                bytes: Vec::new(),
                sent: 0,
                limit: options.max_output_bytes,
            },
            events: VecDeque::new(),
            settling: None,
            max_frame_bytes: options.max_frame_bytes as usize,
            link_count: 0,
            reassembly_bytes: 0,
            attach_bytes: 0,
        }
    }

    pub(super) fn hold_attach(&mut self, termini: &Termini) {
        self.attach_bytes = self.attach_bytes.saturating_add(termini.len());
    }

    pub(super) fn release_attach(&mut self, termini: &Termini) {
        self.attach_bytes = self.attach_bytes.saturating_sub(termini.len());
    }

    pub(super) fn attach_bytes(&self) -> usize {
        self.attach_bytes
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            self.events = VecDeque::new();
        }
        event
    }

    /// Writes a frame; settlements made before it go out before it.
    pub(super) fn write(&mut self, channel: u16, performative: &Performative) {
        self.flush_settling();
        self.write_now(channel, performative);
    }

    fn write_now(&mut self, channel: u16, performative: &Performative) {
        let out = &mut self.output.bytes;
        frame::write_frame(out, FrameType::Amqp, channel, |out| {
            performative.encode(out);
        });
    }

    /// Settles one delivery towards the peer.
    pub(super) fn settle(
        &mut self,
        channel: u16,
        role: Role,
        delivery: DeliveryId,
        state: DeliveryState,
    ) {
        if let Some(settling) = &mut self.settling {
            let is_next = settling.last.0.checked_add(1) == Some(delivery.0);
            let is_same = settling.channel == channel && settling.role == role;
            if is_next && is_same && settling.state == state {
                settling.last = delivery;
                return;
            }
        }
        self.flush_settling();
        self.settling = Some(Settling {
            channel,
            role,
            first: delivery,
            last: delivery,
            state,
        });
    }

    pub(super) fn flush_settling(&mut self) {
        let Some(Settling {
            channel,
            role,
            first,
            last,
            state,
        }) = self.settling.take()
        else {
            return;
        };
        let disposition = Disposition {
            role,
            first: first.wire(),
            last: (last != first).then(|| last.wire()),
            settled: true,
            state: Some(state),
        };
        self.write_now(channel, &disposition.into());
    }

    /// Writes the next frame of a message and returns whether it was the last.
    pub(super) fn write_transfer(&mut self, channel: u16, pending: &mut PendingTransfer) -> bool {
        self.flush_settling();
        let out = &mut self.output.bytes;
        let start = out.len();
        frame::write_frame(out, FrameType::Amqp, channel, |out| {
            Performative::from(pending.transfer(false)).encode(out);
        });
        let head = out.len().saturating_sub(start);
        let room = self.max_frame_bytes.saturating_sub(head);
        let is_last = pending.rest.len() <= room;
        if !is_last {
            // `more` is as long true as false, so the room stays what it was.
            out.truncate(start);
            frame::write_frame(out, FrameType::Amqp, channel, |out| {
                Performative::from(pending.transfer(true)).encode(out);
            });
        }
        pending.rest.move_to(out, room);
        if let Some(frame) = out.get_mut(start..) {
            frame::finish_frame(frame, 0);
        }
        pending.is_begun = true;
        is_last
    }
}

/// Bytes for the peer.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    sent: usize,
    limit: usize,
}

impl Output {
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Forgets bytes that were written, and the buffer with the last of them.
    pub(super) fn consume(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count);
        if self.sent >= self.bytes.len() {
            self.bytes = Vec::new();
            self.sent = 0;
        } else if self.sent > self.limit {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending().len() >= self.limit
    }

    pub(super) fn is_beyond_repair(&self) -> bool {
        self.pending().len() > self.limit.saturating_mul(4)
    }
}
