//! Messages to the peer: credit, splitting into frames, settlement.

use std::mem;

use super::{
    DeliveryId, Engine, Event, LinkId, SendError, SendSettled, deliveries::Outgoing,
    effects::Effects, link::Link, session::Session,
};
use crate::{
    message::Encoded,
    performative::{DeliveryState, DeliveryTag, Disposition, Flow, Role, Transfer},
};

/// A message of which frames are still to be sent.
#[derive(Debug)]
pub(super) struct PendingTransfer {
    pub(super) handle: u32,
    pub(super) delivery: DeliveryId,
    pub(super) tag: DeliveryTag,
    pub(super) is_settled: bool,
    /// Whether a frame of it has gone out, so that id and tag need not be repeated.
    pub(super) is_begun: bool,
    pub(super) rest: Encoded,
}

impl PendingTransfer {
    /// Returns the performative of the next frame.
    pub(super) fn transfer(&self, more: bool) -> Transfer {
        if self.is_begun {
            return Transfer {
                handle: self.handle,
                more,
                ..Transfer::default()
            };
        }
        Transfer {
            handle: self.handle,
            delivery_id: Some(self.delivery.wire()),
            delivery_tag: Some(self.tag),
            message_format: Some(0),
            settled: self.is_settled.then_some(true),
            more,
            ..Transfer::default()
        }
    }
}

impl Engine {
    /// Returns how many messages could be sent on a link now, were each to fit one frame.
    pub fn sendable(&self, link: LinkId) -> u32 {
        self.check_room(link).unwrap_or_default()
    }

    /// Returns how many messages could be sent on a link now, at least 1, or why none. The cost
    /// does not grow with the links of the connection.
    ///
    /// # Errors
    /// [`SendError`], as [`Self::send`] would give it: an event tells when to try again.
    pub fn check_room(&self, link: LinkId) -> Result<u32, SendError> {
        let session = self.sessions.get(&link.channel);
        session
            .ok_or(SendError::Detached)?
            .check_sendable(link, &self.effects)
    }

    /// Sends an encoded message, in as many frames as the peer's limit asks for. Its bytes are
    /// copied once, into the output.
    ///
    /// The link's settle mode decides over `settled` unless it is mixed. What the session window
    /// has no room for follows as it opens, before anything else of the session.
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent, and an event tells when to try again.
    pub fn send(
        &mut self,
        link: LinkId,
        tag: DeliveryTag,
        message: impl Into<Encoded>,
        settled: SendSettled,
    ) -> Result<DeliveryId, SendError> {
        let session = self
            .sessions
            .get_mut(&link.channel)
            .ok_or(SendError::Detached)?;
        session.check_sendable(link, &self.effects)?;
        let delivery = DeliveryId(session.next_delivery);
        let found = session.find_mut(link).ok_or(SendError::Detached)?;
        let is_settled = found.sends_settled(settled == SendSettled::Yes);
        found.credit = found.credit.saturating_sub(1);
        found.delivery_count = found.delivery_count.wrapping_add(1);
        found.has_deliveries |= !is_settled;
        session.next_delivery = session.next_delivery.saturating_add(1);
        if !is_settled {
            let handle = link.handle;
            session.unsettled.insert(delivery, Outgoing { handle, tag });
        }
        session.pending = Some(Box::new(PendingTransfer {
            handle: link.handle,
            delivery,
            tag,
            is_settled,
            is_begun: false,
            rest: message.into(),
        }));
        session.pump(&mut self.effects);
        session.watch_room(&mut self.effects);
        Ok(delivery)
    }

    /// Settles a delivery to the peer after it told its outcome unsettled (C#, amqp.md §5.4).
    ///
    /// Does nothing for a delivery that is settled already: uamqp would take the frame for one
    /// about its own sends.
    pub fn settle_outgoing(&mut self, link: LinkId, delivery: DeliveryId, state: DeliveryState) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        if session.find(link).is_none() || !session.unsettled.settle(delivery) {
            return;
        }
        self.effects
            .settle(link.channel, Role::Sender, delivery, state);
        session.watch_room(&mut self.effects);
    }

    /// Gives up waiting for the peer's word on a delivery, because the lock behind it has lapsed:
    /// it takes no room in [`super::Options::max_unsettled`] any more and is not named when its
    /// link detaches. Without this a peer that never settles stops its session.
    ///
    /// The peer is not told. Should it still tell an outcome,
    /// [`Event::DispositionReceived`] comes as ever, so that a receiver that waits for an answer
    /// (C#, amqp.md §5.4) gets one, as long as the delivery is among the last
    /// [`super::Options::max_lapsed`] of its session; what it says about older ones is passed
    /// over. Does nothing for a delivery the peer has told an outcome of: that one awaits
    /// [`Self::settle_outgoing`].
    pub fn lapse(&mut self, link: LinkId, delivery: DeliveryId) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        if session.find(link).is_none() {
            return;
        }
        session.unsettled.lapse(delivery, self.options.max_lapsed);
        session.watch_room(&mut self.effects);
    }

    /// Uses up the rest of a link's credit, as a draining peer asked for.
    pub fn drained(&mut self, link: LinkId) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        let found = session.find_mut(link);
        let Some(found) = found.filter(|link| link.is_attached() && link.is_draining) else {
            return;
        };
        found.use_up_credit();
        session.write_link_flow(link.handle, &mut self.effects);
        if let Some(found) = session.find_mut(link) {
            found.is_draining = false;
        }
    }
}

impl Session {
    /// Returns the messages that could be sent on a link, at least 1.
    fn check_sendable(&self, link: LinkId, effects: &Effects) -> Result<u32, SendError> {
        let found = self.find(link).ok_or(SendError::Detached)?;
        if found.role != Role::Sender || !found.is_attached() || !self.is_mapped() {
            return Err(SendError::Detached);
        }
        if effects.output.is_full() {
            return Err(SendError::OutputFull);
        }
        if self.is_window_closed() {
            return Err(SendError::WindowClosed);
        }
        let room = if found.sends_settled(false) {
            u32::MAX
        } else {
            self.unsettled_room()
        };
        if room == 0 {
            return Err(SendError::UnsettledFull);
        }
        if found.credit == 0 {
            return Err(SendError::NoCredit);
        }
        Ok(found.credit.min(room).min(self.remote_incoming_window))
    }

    fn is_window_closed(&self) -> bool {
        self.pending.is_some() || self.remote_incoming_window == 0
    }

    fn unsettled_room(&self) -> u32 {
        let room = self.max_unsettled.saturating_sub(self.unsettled.len());
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    /// Tells the caller when the session has room it did not have: its window has opened, or has
    /// been open when unsettled deliveries went below their bound. The one matters to links that
    /// send settled, too, so it does not wait for the other.
    pub(super) fn watch_room(&mut self, effects: &mut Effects) {
        let is_closed = self.is_window_closed();
        let is_full = self.unsettled_room() == 0;
        let was_closed = mem::replace(&mut self.was_closed, is_closed);
        let was_full = mem::replace(&mut self.was_full, is_full);
        if !is_closed && (was_closed || (was_full && !is_full)) {
            let channel = self.channel;
            effects.event(Event::WindowOpened { channel });
        }
    }

    /// Sends what is left of the message under way, as far as the peer's window goes.
    pub(super) fn pump(&mut self, effects: &mut Effects) {
        while let Some(pending) = &mut self.pending {
            let Some(window) = self.remote_incoming_window.checked_sub(1) else {
                return;
            };
            self.remote_incoming_window = window;
            self.next_outgoing_id = self.next_outgoing_id.wrapping_add(1);
            if effects.write_transfer(self.channel, pending) {
                self.pending = None;
            }
        }
    }

    pub(super) fn on_disposition(&mut self, disposition: Disposition, effects: &mut Effects) {
        match disposition.role {
            Role::Sender => self.on_sender_disposition(&disposition),
            Role::Receiver => self.on_receiver_disposition(disposition, effects),
        }
    }

    /// Takes the peer's word on deliveries of the hub. Those it has said the same of before are
    /// passed over, whatever the range names.
    fn on_receiver_disposition(&mut self, disposition: Disposition, effects: &mut Effects) {
        let Disposition {
            first,
            last,
            settled: is_settled,
            state,
            ..
        } = disposition;
        if !is_settled && !state.as_ref().is_some_and(DeliveryState::is_outcome) {
            return;
        }
        let Some(first_id) = DeliveryId::at_or_before(self.next_delivery, first) else {
            return;
        };
        let span = u64::from(last.unwrap_or(first).wrapping_sub(first));
        let ids = first_id.0..=first_id.0.saturating_add(span);
        for (handle, deliveries) in self.unsettled.on_disposition(&ids, is_settled) {
            if let Some(link) = self.links.get(&handle) {
                let (link, state) = (link.id, state.clone());
                effects.event(Event::DispositionReceived {
                    link,
                    deliveries,
                    state,
                    is_settled,
                });
            }
        }
        self.watch_room(effects);
    }
}

impl Link {
    /// Takes a flow of the peer as receiver: its credit, and whether it drains.
    ///
    /// Returns whether a flow is due.
    pub(super) fn on_receiver_flow(&mut self, flow: &Flow, effects: &mut Effects) -> bool {
        let Some(granted) = flow.link_credit else {
            return false;
        };
        // link-credit(snd) := delivery-count(rcv) + link-credit(rcv) - delivery-count(snd) (2.6.7);
        // a receiver that has not seen the attach yet counts from the hub's initial 0.
        let in_flight = self
            .delivery_count
            .wrapping_sub(flow.delivery_count.unwrap_or_default());
        let before = mem::replace(&mut self.credit, granted.saturating_sub(in_flight));
        self.is_draining = flow.drain;
        if !self.is_attached() {
            return false;
        }
        // With nothing left to use up, the answer needs no word of the caller.
        let is_drained = flow.drain && self.credit == 0;
        if !is_drained || before > 0 {
            effects.event(Event::CreditChanged {
                link: self.id,
                credit: self.credit,
                is_drain: flow.drain && !is_drained,
            });
        }
        is_drained
    }

    fn use_up_credit(&mut self) {
        self.delivery_count = self.delivery_count.wrapping_add(self.credit);
        self.credit = 0;
    }
}
