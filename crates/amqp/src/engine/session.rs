//! State of one session: windows, links, unsettled deliveries.

use std::collections::BTreeMap;

use super::{
    Event, LinkId, Options, UnsettledDelivery,
    deliveries::{Received, Unsettled},
    effects::Effects,
    link::{Link, LinkState},
    outgoing::PendingTransfer,
};
use crate::performative::{AmqpError, Begin, Detach, Flow, Role};

/// A session of a connection. Numbers called "id" wrap around as RFC 1982 serial numbers do.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) channel: u16,
    is_end_sent: bool,
    pub(super) next_incoming_id: u32,
    pub(super) incoming_window: u32,
    pub(super) full_window: u32,
    pub(super) next_outgoing_id: u32,
    pub(super) remote_incoming_window: u32,
    /// Links by handle. [`Self::add_link`] and [`Self::remove_link`] change them.
    pub(super) links: BTreeMap<u32, Box<Link>>,
    /// Handles in the order of their links' names and roles.
    by_name: Vec<u32>,
    /// Highest delivery of the peer, in the wide form.
    pub(super) latest_incoming: Option<u64>,
    /// Deliveries of the peer the caller has not settled.
    pub(super) received: Received,
    /// Next delivery of the hub, consecutive over all links (amqp.md §0, 19).
    pub(super) next_delivery: u64,
    /// Deliveries of the hub the peer has not settled, and how many there may be.
    pub(super) unsettled: Unsettled,
    pub(super) max_unsettled: usize,
    /// The one message that is partly sent.
    pub(super) pending: Option<Box<PendingTransfer>>,
    /// Whether the window was closed when that was last looked at.
    pub(super) was_closed: bool,
    /// Whether unsettled deliveries were at their bound when that was last looked at.
    pub(super) was_full: bool,
}

impl Session {
    pub(super) fn new(channel: u16, begin: &Begin, options: &Options) -> Self {
        let full_window = options.session_window;
        Self {
            channel,
            is_end_sent: false,
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: full_window,
            full_window,
            next_outgoing_id: 1,
            remote_incoming_window: begin.incoming_window,
            links: BTreeMap::new(),
            by_name: Vec::new(),
            latest_incoming: None,
            received: Received::default(),
            next_delivery: 0,
            unsettled: Unsettled::default(),
            max_unsettled: options.max_unsettled,
            pending: None,
            was_closed: begin.incoming_window == 0,
            was_full: options.max_unsettled == 0,
        }
    }

    /// Returns the answer to the peer's begin.
    pub(super) fn begin(&self, handle_max: u32) -> Begin {
        Begin {
            remote_channel: Some(self.channel),
            next_outgoing_id: self.next_outgoing_id,
            incoming_window: self.full_window,
            outgoing_window: self.remote_incoming_window,
            handle_max,
        }
    }

    pub(super) fn is_mapped(&self) -> bool {
        !self.is_end_sent
    }

    pub(super) fn set_end_sent(&mut self) {
        self.is_end_sent = true;
    }

    pub(super) fn find(&self, id: LinkId) -> Option<&Link> {
        self.links
            .get(&id.handle)
            .filter(|link| link.id == id)
            .map(AsRef::as_ref)
    }

    pub(super) fn find_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links
            .get_mut(&id.handle)
            .filter(|link| link.id == id)
            .map(AsMut::as_mut)
    }

    /// Returns a flow of the session alone; it opens the incoming window again.
    fn session_flow(&mut self) -> Flow {
        self.incoming_window = self.full_window;
        Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: self.remote_incoming_window,
            ..Flow::default()
        }
    }

    /// Writes a flow of the session.
    pub(super) fn write_flow(&mut self, effects: &mut Effects) {
        let flow = self.session_flow();
        effects.write(self.channel, &flow.into());
    }

    /// Writes a flow of a link: always with delivery-count and link-credit (amqp.md §0, 19).
    pub(super) fn write_link_flow(&mut self, handle: u32, effects: &mut Effects) {
        let mut flow = self.session_flow();
        let Some(link) = self.links.get(&handle) else {
            return;
        };
        flow.handle = Some(handle);
        flow.delivery_count = Some(link.delivery_count);
        flow.link_credit = Some(link.credit);
        flow.available = Some(0);
        flow.drain = link.role == Role::Sender && link.is_draining;
        effects.write(self.channel, &flow.into());
    }

    /// Takes the peer's flow: its windows, then the credit of a link.
    pub(super) fn on_flow(&mut self, flow: &Flow, effects: &mut Effects) {
        // Without next-incoming-id the peer has not seen the hub's begin: its first id is meant.
        let next_expected = flow.next_incoming_id.unwrap_or(1);
        let in_flight = self.next_outgoing_id.wrapping_sub(next_expected);
        self.remote_incoming_window = flow.incoming_window.saturating_sub(in_flight);
        self.pump(effects);
        self.watch_room(effects);
        match flow.handle {
            Some(handle) => self.on_link_flow(handle, flow, effects),
            None if flow.echo => self.write_flow(effects),
            None => {}
        }
    }

    fn on_link_flow(&mut self, handle: u32, flow: &Flow, effects: &mut Effects) {
        let Some(link) = self
            .links
            .get_mut(&handle)
            .filter(|link| !link.is_leaving())
        else {
            return;
        };
        let is_answer_due = match link.role {
            Role::Sender => link.on_receiver_flow(flow, effects),
            Role::Receiver => link.on_sender_flow(flow),
        };
        if (is_answer_due || flow.echo) && link.is_attached() {
            self.write_link_flow(handle, effects);
        }
    }

    /// Takes the peer's detach, and answers it unless it is the answer itself.
    pub(super) fn on_detach(&mut self, detach: &Detach, effects: &mut Effects) {
        let handle = detach.handle;
        let Some(link) = self.links.get_mut(&handle) else {
            return;
        };
        match std::mem::replace(&mut link.state, LinkState::DetachSent) {
            LinkState::DetachSent => {
                self.remove_link(handle, effects);
                return;
            }
            LinkState::AttachRcvd(termini) => {
                effects.release_attach(&termini);
                // rhea takes no detach on a link it has seen no attach of.
                let echo = link.attach(*termini, None);
                effects.write(self.channel, &echo.into());
            }
            LinkState::Attached => {}
        }
        let answer = Detach {
            handle,
            closed: detach.closed,
            error: None,
        };
        effects.write(self.channel, &answer.into());
        self.leave_link(handle, detach.error.clone(), effects);
        self.remove_link(handle, effects);
    }

    /// Ends the traffic of a link: forgets its deliveries, and tells the caller.
    pub(super) fn leave_link(
        &mut self,
        handle: u32,
        error: Option<AmqpError>,
        effects: &mut Effects,
    ) {
        let Some(link) = self.links.get(&handle) else {
            return;
        };
        let mut unsettled = Vec::new();
        if link.has_deliveries {
            self.received.forget(handle);
            unsettled = self.unsettled.take_of(handle);
        }
        self.leave_link_with(handle, error, unsettled, effects);
        self.watch_room(effects);
    }

    fn leave_link_with(
        &mut self,
        handle: u32,
        error: Option<AmqpError>,
        unsettled: Vec<UnsettledDelivery>,
        effects: &mut Effects,
    ) {
        let Some(link) = self.links.get_mut(&handle) else {
            return;
        };
        if let LinkState::AttachRcvd(termini) = &link.state {
            effects.release_attach(termini);
        }
        link.state = LinkState::DetachSent;
        link.credit = 0;
        link.has_deliveries = false;
        if let Some(partial) = link.partial.take() {
            effects.reassembly_bytes = effects.reassembly_bytes.saturating_sub(partial.bytes.len());
        }
        self.pending.take_if(|pending| pending.handle == handle);
        let link = link.id;
        effects.event(Event::Detached {
            link,
            error,
            unsettled,
        });
    }

    pub(super) fn add_link(&mut self, link: Link, effects: &mut Effects) {
        if let Err(place) = self.place_of(link.role, &link.name) {
            self.by_name.insert(place, link.id.handle);
        }
        if let LinkState::AttachRcvd(termini) = &link.state {
            effects.hold_attach(termini);
        }
        self.links.insert(link.id.handle, Box::new(link));
        effects.link_count = effects.link_count.saturating_add(1);
    }

    pub(super) fn remove_link(&mut self, handle: u32, effects: &mut Effects) {
        let Some(link) = self.links.get(&handle) else {
            return;
        };
        if let Ok(place) = self.place_of(link.role, &link.name) {
            self.by_name.remove(place);
        }
        self.links.remove(&handle);
        effects.link_count = effects.link_count.saturating_sub(1);
    }

    /// Returns the handle of the link of a name and role.
    pub(super) fn find_by_name(&self, role: Role, name: &str) -> Option<u32> {
        let place = self.place_of(role, name).ok()?;
        self.by_name.get(place).copied()
    }

    fn place_of(&self, role: Role, name: &str) -> Result<usize, usize> {
        let wanted = (name, role == Role::Sender);
        self.by_name.binary_search_by(|handle| {
            let link = self.links.get(handle);
            let found = link.map(|link| (&*link.name, link.role == Role::Sender));
            found.cmp(&Some(wanted))
        })
    }

    /// Drops all links because the session or the connection ends.
    pub(super) fn drop_links(&mut self, effects: &mut Effects) {
        let mut unsettled = self.unsettled.take_all();
        self.received.forget_all();
        let handles: Vec<u32> = self.links.keys().copied().collect();
        for handle in handles {
            let link = self.links.get(&handle);
            if link.is_some_and(|link| !link.is_leaving()) {
                let unsettled = unsettled.remove(&handle).unwrap_or_default();
                self.leave_link_with(handle, None, unsettled, effects);
            }
        }
        effects.link_count = effects.link_count.saturating_sub(self.links.len());
        self.links.clear();
        self.by_name.clear();
    }
}
