//! Messages from the peer: windows, credit, reassembly, settlement.

use bytes::Bytes;

use super::{
    DeliveryId, Engine, Event, IncomingMessage, LinkId, Options, Violation,
    effects::Effects,
    link::{Link, Partial},
    session::Session,
};
use crate::performative::{
    AmqpError, DeliveryState, Detach, Disposition, Flow, Role, Transfer, condition,
};

/// What becomes of a link after a frame of a message.
enum Progress {
    /// More frames follow.
    Unfinished,
    /// The message is whole.
    Whole(Box<Partial>),
    /// The message was given up by the sender, or answered already.
    Dropped,
    /// The link must go.
    Broken(AmqpError),
}

impl Session {
    /// Takes one transfer frame.
    pub(super) fn on_transfer(
        &mut self,
        transfer: &Transfer,
        payload: &[u8],
        options: &Options,
        effects: &mut Effects,
    ) -> Result<(), Violation> {
        let Some(window) = self.incoming_window.checked_sub(1) else {
            return Err(Violation::session(
                condition::WINDOW_VIOLATION,
                "window is used up",
            ));
        };
        self.incoming_window = window;
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        if window <= self.full_window / 2 {
            self.write_flow(effects);
        }
        let handle = transfer.handle;
        let Some(link) = self.links.get_mut(&handle) else {
            return Err(Violation::session(
                condition::UNATTACHED_HANDLE,
                "no link on handle",
            ));
        };
        if link.is_leaving() {
            return Ok(());
        }
        if link.role == Role::Sender || !link.is_attached() {
            return Err(Violation::session(
                condition::ERRANT_LINK,
                "link takes no transfers",
            ));
        }
        let mut progress = Progress::Unfinished;
        if link.partial.is_none() {
            match begin_delivery(link, transfer, &mut self.latest_incoming)? {
                Ok(partial) => link.partial = Some(partial),
                Err(error) => progress = Progress::Broken(error),
            }
        }
        if let Progress::Unfinished = progress {
            progress = link.on_frame(transfer, payload, options, effects);
        }
        self.conclude(handle, progress, effects);
        Ok(())
    }

    fn conclude(&mut self, handle: u32, progress: Progress, effects: &mut Effects) {
        match progress {
            Progress::Unfinished => {}
            Progress::Whole(partial) if partial.is_oversized => {
                self.refuse_oversized(handle, &partial, effects);
            }
            Progress::Whole(partial) => self.deliver(handle, *partial, effects),
            Progress::Dropped => self.release_place(handle, effects),
            Progress::Broken(error) => {
                let detach = Detach {
                    handle,
                    closed: true,
                    error: Some(error.clone()),
                };
                effects.write(self.channel, &detach.into());
                self.leave_link(handle, Some(error), effects);
            }
        }
    }

    fn deliver(&mut self, handle: u32, partial: Partial, effects: &mut Effects) {
        let Some(link) = self.links.get_mut(&handle) else {
            return;
        };
        link.has_deliveries = true;
        self.received
            .insert(partial.delivery, handle, partial.is_settled);
        effects.event(Event::MessageReceived(IncomingMessage {
            link: link.id,
            delivery: DeliveryId(partial.delivery),
            message_format: partial.message_format,
            payload: Bytes::from(partial.bytes),
        }));
    }

    /// Rejects a message above the link's limit. A settled one has nobody to tell, so its link is
    /// detached with the same condition.
    fn refuse_oversized(&mut self, handle: u32, partial: &Partial, effects: &mut Effects) {
        let error = AmqpError::new(
            condition::MESSAGE_SIZE_EXCEEDED,
            format!(
                "message of {} bytes exceeds the limit of the link",
                partial.received_bytes
            ),
        );
        if partial.is_settled {
            self.conclude(handle, Progress::Broken(error), effects);
        } else {
            let state = DeliveryState::rejected(error);
            effects.settle(
                self.channel,
                Role::Receiver,
                DeliveryId(partial.delivery),
                state,
            );
            self.release_place(handle, effects);
        }
    }

    /// Gives back the place a message took in the window of its link.
    fn release_place(&mut self, handle: u32, effects: &mut Effects) {
        if let Some(link) = self.links.get_mut(&handle) {
            link.held = link.held.saturating_sub(1);
            if link.replenish() {
                self.write_link_flow(handle, effects);
            }
        }
    }

    /// Notes that the peer has settled deliveries of its own: no disposition is owed any more.
    pub(super) fn on_sender_disposition(&mut self, disposition: &Disposition) {
        let Some(latest) = self.latest_incoming.filter(|_| disposition.settled) else {
            return;
        };
        let Some(first) = DeliveryId::at_or_before(latest, disposition.first) else {
            return;
        };
        let last = disposition.last.unwrap_or(disposition.first);
        let span = u64::from(last.wrapping_sub(disposition.first));
        self.received
            .on_disposition(first.0..=first.0.saturating_add(span));
    }
}

/// Opens a delivery at its first frame; the inner error breaks the link.
fn begin_delivery(
    link: &mut Link,
    transfer: &Transfer,
    latest: &mut Option<u64>,
) -> Result<Result<Box<Partial>, AmqpError>, Violation> {
    let (Some(wire_id), Some(tag)) = (transfer.delivery_id, transfer.delivery_tag) else {
        let text = "first transfer of a delivery lacks its id or tag";
        return Err(Violation::session(condition::INVALID_FIELD, text));
    };
    let delivery = match *latest {
        None => u64::from(wire_id),
        Some(latest) => {
            let step = wire_id.wrapping_sub(DeliveryId(latest).wire());
            // Ids rise along a session; one at or below the last would name two deliveries.
            if step == 0 || step > u32::MAX / 2 {
                let text = "delivery-id does not rise";
                return Err(Violation::session(condition::INVALID_FIELD, text));
            }
            latest.saturating_add(u64::from(step))
        }
    };
    *latest = Some(delivery);
    let Some(credit) = link.credit.checked_sub(1) else {
        let text = "transfer without link credit";
        return Ok(Err(AmqpError::new(
            condition::TRANSFER_LIMIT_EXCEEDED,
            text,
        )));
    };
    link.credit = credit;
    link.delivery_count = link.delivery_count.wrapping_add(1);
    link.held = link.held.saturating_add(1);
    Ok(Ok(Box::new(Partial {
        delivery,
        tag: Some(tag),
        message_format: transfer.message_format.unwrap_or_default(),
        is_settled: false,
        bytes: Vec::new(),
        received_bytes: 0,
        is_oversized: false,
    })))
}

impl Link {
    /// Adds a frame to the message under way.
    fn on_frame(
        &mut self,
        transfer: &Transfer,
        payload: &[u8],
        options: &Options,
        effects: &mut Effects,
    ) -> Progress {
        let limit = self.max_message_bytes;
        let Some(partial) = &mut self.partial else {
            return Progress::Dropped;
        };
        let names_other = transfer
            .delivery_id
            .is_some_and(|id| id != DeliveryId(partial.delivery).wire())
            || (transfer.delivery_tag.is_some() && transfer.delivery_tag != partial.tag);
        if names_other {
            let text = "transfer begins a delivery within another";
            return Progress::Broken(AmqpError::new(condition::NOT_ALLOWED, text));
        }
        let kept_before = partial.bytes.len();
        partial.add(payload, transfer.settled, limit);
        let kept_after = partial.bytes.len();
        effects.reassembly_bytes = effects
            .reassembly_bytes
            .saturating_sub(kept_before)
            .saturating_add(kept_after);
        if transfer.aborted || !transfer.more {
            let Some(partial) = self.partial.take() else {
                return Progress::Dropped;
            };
            effects.reassembly_bytes = effects.reassembly_bytes.saturating_sub(kept_after);
            return if transfer.aborted {
                Progress::Dropped
            } else {
                Progress::Whole(partial)
            };
        }
        if partial.received_bytes > limit.saturating_mul(4) {
            let text = "message is far larger than the link allows";
            return Progress::Broken(AmqpError::new(condition::MESSAGE_SIZE_EXCEEDED, text));
        }
        if effects.reassembly_bytes > options.max_reassembly_bytes {
            let text = "too many bytes of unfinished messages on one connection";
            return Progress::Broken(AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
        }
        Progress::Unfinished
    }

    /// Takes a flow of the peer as sender: it may have used up credit without sending.
    ///
    /// Returns whether a flow is due.
    pub(super) fn on_sender_flow(&mut self, flow: &Flow) -> bool {
        if let Some(count) = flow.delivery_count {
            let skipped = count.wrapping_sub(self.delivery_count);
            if skipped <= self.credit {
                self.credit = self.credit.saturating_sub(skipped);
                self.delivery_count = count;
            }
        }
        self.replenish()
    }
}

impl Partial {
    fn add(&mut self, payload: &[u8], settled: Option<bool>, limit: u64) {
        // A delivery is settled if any of its frames says so (2.7.5).
        self.is_settled |= settled.unwrap_or_default();
        let length = u64::try_from(payload.len()).unwrap_or(u64::MAX);
        self.received_bytes = self.received_bytes.saturating_add(length);
        if self.received_bytes > limit {
            self.is_oversized = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(payload);
        }
    }
}

impl Engine {
    /// Settles a message from the peer with an outcome and frees its place in the link's window.
    ///
    /// Nothing goes out for a message the peer sent settled. Consecutive settlements with the same
    /// outcome leave as one frame, and always before any frame caused later.
    pub fn settle(&mut self, link: LinkId, delivery: DeliveryId, outcome: DeliveryState) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        if session.find(link).is_none() {
            return;
        }
        let Some(is_owed) = session.received.settle(delivery, link.handle) else {
            return;
        };
        if is_owed {
            self.effects
                .settle(link.channel, Role::Receiver, delivery, outcome);
        }
        session.release_place(link.handle, &mut self.effects);
    }

    /// Changes how many messages the caller takes at a time on a link. A lower number takes effect
    /// as messages come; credit already given is not taken back.
    pub fn set_credit_window(&mut self, link: LinkId, credit_window: u32) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        let Some(found) = session.find_mut(link) else {
            return;
        };
        found.window = credit_window;
        if found.replenish() {
            session.write_link_flow(link.handle, &mut self.effects);
        }
    }
}
