//! Messages to the peer: credit, splitting into frames, settlement.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{
    DeliveryId, Engine, Event, LinkId, SendError, SendSettled, UnsettledDelivery, effects::Effects,
    link::Link, session::Session,
};
use crate::performative::{DeliveryState, DeliveryTag, Disposition, Flow, Role, Transfer};

/// A delivery to the peer that it has not settled.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) handle: u32,
    pub(super) tag: DeliveryTag,
}

/// A message of which frames are still to be sent.
#[derive(Debug)]
pub(super) struct PendingTransfer {
    pub(super) handle: u32,
    pub(super) delivery: DeliveryId,
    pub(super) tag: DeliveryTag,
    pub(super) is_settled: bool,
    /// Whether a frame of it has gone out, so that id and tag need not be repeated.
    pub(super) is_begun: bool,
    pub(super) rest: Bytes,
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
        let Some(session) = self.sessions.get(&link.channel) else {
            return 0;
        };
        session
            .check_sendable(link, self.options.max_unsettled, &self.effects)
            .unwrap_or_default()
    }

    /// Sends an encoded message, in as many frames as the peer's limit asks for.
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
        message: Bytes,
        settled: SendSettled,
    ) -> Result<DeliveryId, SendError> {
        let session = self
            .sessions
            .get_mut(&link.channel)
            .ok_or(SendError::Detached)?;
        let checked = session.check_sendable(link, self.options.max_unsettled, &self.effects);
        if checked == Err(SendError::WindowClosed) {
            session.is_blocked = true;
        }
        checked?;
        let delivery = DeliveryId(session.next_delivery);
        let found = session.find_mut(link).ok_or(SendError::Detached)?;
        let is_settled = found.sends_settled(settled == SendSettled::Yes);
        found.credit = found.credit.saturating_sub(1);
        found.delivery_count = found.delivery_count.wrapping_add(1);
        session.next_delivery = session.next_delivery.saturating_add(1);
        if !is_settled {
            session.outgoing.insert(
                delivery.0,
                Outgoing {
                    handle: link.handle,
                    tag,
                },
            );
        }
        session.pending = Some(Box::new(PendingTransfer {
            handle: link.handle,
            delivery,
            tag,
            is_settled,
            is_begun: false,
            rest: message,
        }));
        session.pump(&mut self.effects);
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
        if session.find(link).is_none() || session.outgoing.remove(&delivery.0).is_none() {
            return;
        }
        self.effects
            .settle(link.channel, Role::Sender, delivery, state);
    }

    /// Uses up the rest of a link's credit, as a draining peer asked for.
    pub fn drained(&mut self, link: LinkId) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        let Some(found) = session.find_mut(link).filter(|link| link.is_draining) else {
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
    fn check_sendable(
        &self,
        link: LinkId,
        max_unsettled: usize,
        effects: &Effects,
    ) -> Result<u32, SendError> {
        let found = self.find(link).ok_or(SendError::Detached)?;
        if found.role != Role::Sender || !found.is_attached() || !self.is_mapped() {
            return Err(SendError::Detached);
        }
        if effects.output.is_full() {
            return Err(SendError::OutputFull);
        }
        if self.pending.is_some() || self.remote_incoming_window == 0 {
            return Err(SendError::WindowClosed);
        }
        let room = max_unsettled.saturating_sub(self.outgoing.len());
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        if room == 0 && !found.sends_settled(false) {
            return Err(SendError::UnsettledFull);
        }
        if found.credit == 0 {
            return Err(SendError::NoCredit);
        }
        Ok(found
            .credit
            .min(room.max(1))
            .min(self.remote_incoming_window))
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

    /// Takes the peer's word on deliveries of the hub. Those it has settled before are passed
    /// over, whatever the range names.
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
        let range = first_id.0..=first_id.0.saturating_add(span);
        let mut by_link: BTreeMap<u32, Vec<UnsettledDelivery>> = BTreeMap::new();
        for (delivery, outgoing) in self.outgoing.range(range) {
            let delivery = UnsettledDelivery {
                delivery: DeliveryId(*delivery),
                tag: outgoing.tag,
            };
            by_link.entry(outgoing.handle).or_default().push(delivery);
        }
        for (handle, deliveries) in by_link {
            if is_settled {
                for settled in &deliveries {
                    self.outgoing.remove(&settled.delivery.0);
                }
            }
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
        self.credit = granted.saturating_sub(in_flight);
        self.is_draining = flow.drain;
        if !self.is_attached() {
            return false;
        }
        if flow.drain && self.credit == 0 {
            return true;
        }
        let (link, credit, is_drain) = (self.id, self.credit, self.is_draining);
        effects.event(Event::CreditChanged {
            link,
            credit,
            is_drain,
        });
        false
    }

    fn use_up_credit(&mut self) {
        self.delivery_count = self.delivery_count.wrapping_add(self.credit);
        self.credit = 0;
    }
}
