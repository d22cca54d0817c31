//! Attach requests and their answers (amqp.md §4.4).

use super::{
    Accept, AttachRequest, Engine, Event, LinkId, Violation,
    link::{Link, LinkState, Termini},
};
use crate::performative::{AmqpError, Attach, Detach, Role, Terminus, condition};

/// Attaches that are still answered with a refusal beyond the limit of links, before the
/// connection is closed for them.
const REFUSALS_BEYOND_LIMIT: usize = 64;

impl Engine {
    pub(super) fn on_attach(&mut self, channel: u16, attach: Attach) -> Result<(), Violation> {
        let handle = attach.handle;
        if handle > self.options.handle_max {
            return Err(Violation::connection(
                condition::FRAMING_ERROR,
                "handle out of range",
            ));
        }
        if attach.name.len() > self.options.max_link_name_bytes {
            let text = "name of a link is too long";
            return Err(Violation::session(condition::INVALID_FIELD, text));
        }
        let refused_from = self.link_limit();
        if self.effects.link_count >= refused_from.saturating_add(REFUSALS_BEYOND_LIMIT) {
            let text = "too many links on one connection";
            return Err(Violation::connection(
                condition::RESOURCE_LIMIT_EXCEEDED,
                text,
            ));
        }
        self.give_way(channel, &attach);
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Ok(());
        };
        if session.links.contains_key(&handle) {
            return Err(Violation::session(
                condition::HANDLE_IN_USE,
                "handle is in use",
            ));
        }
        self.next_generation = self.next_generation.wrapping_add(1);
        let id = LinkId {
            channel,
            handle,
            generation: self.next_generation,
        };
        let request = AttachRequest::new(id, &attach);
        session.add_link(Link::new(id, attach), &mut self.effects);
        if self.effects.link_count > refused_from {
            let text = "too many links on one connection";
            self.refuse(id, AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, text));
        } else {
            self.effects
                .event(Event::AttachRequested(Box::new(request)));
        }
        Ok(())
    }

    fn link_limit(&self) -> usize {
        if self.is_admitted {
            self.options.max_links
        } else {
            self.options.max_links.min(self.options.max_guest_links)
        }
    }

    /// Lets a new attach take over the link of the same name and role (2.6.1), as happens after a
    /// broken detach (amqp.md §2.5).
    fn give_way(&mut self, channel: u16, attach: &Attach) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let role = attach.role.opposite();
        let Some(handle) = session.find_by_name(role, &attach.name) else {
            return;
        };
        let Some(namesake) = session.links.get(&handle) else {
            return;
        };
        let (is_attached, is_leaving) = (namesake.is_attached(), namesake.is_leaving());
        let error = AmqpError::new(condition::LINK_STOLEN, "link was attached again");
        if is_attached && handle != attach.handle {
            let detach = Detach {
                handle,
                closed: true,
                error: Some(error.clone()),
            };
            self.effects.write(channel, &detach.into());
        }
        if !is_leaving {
            session.leave_link(handle, Some(error), &mut self.effects);
        }
        session.remove_link(handle, &mut self.effects);
    }

    /// Accepts a link: echoes the attach, and grants credit where the hub receives.
    pub fn accept(&mut self, link: LinkId, terms: Accept) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        let Some((found, termini)) = session.find_mut(link).and_then(take_request) else {
            return;
        };
        self.effects.release_attach(&termini);
        found.state = LinkState::Attached;
        found.max_message_bytes = terms.max_message_bytes;
        let echo = found.attach(termini, Some(terms.max_message_bytes));
        self.effects.write(link.channel, &echo.into());
        match found.role {
            Role::Receiver => {
                found.window = terms.credit_window;
                found.credit = terms.credit_window;
                session.write_link_flow(link.handle, &mut self.effects);
            }
            Role::Sender => {
                found.delivery_count = 0;
                if found.credit > 0 || found.is_draining {
                    let (credit, is_drain) = (found.credit, found.is_draining);
                    self.effects.event(Event::CreditChanged {
                        link,
                        credit,
                        is_drain,
                    });
                }
            }
        }
    }

    /// Refuses a link: echoes the attach with a null terminus, then detaches with `error`. No
    /// [`Event::Detached`] follows.
    pub fn refuse(&mut self, link: LinkId, error: AmqpError) {
        let Some(session) = self.sessions.get_mut(&link.channel) else {
            return;
        };
        let Some((found, mut termini)) = session.find_mut(link).and_then(take_request) else {
            return;
        };
        self.effects.release_attach(&termini);
        match found.role {
            Role::Sender => termini.source = None,
            Role::Receiver => termini.target = None,
        }
        let echo = found.attach(termini, None);
        found.state = LinkState::DetachSent;
        self.effects.write(link.channel, &echo.into());
        let detach = Detach {
            handle: link.handle,
            closed: true,
            error: Some(error),
        };
        self.effects.write(link.channel, &detach.into());
    }
}

/// Takes the termini of a link that waits for its answer; `None` when it does not wait.
fn take_request(link: &mut Link) -> Option<(&mut Link, Termini)> {
    match std::mem::replace(&mut link.state, LinkState::DetachSent) {
        LinkState::AttachRcvd(termini) => Some((link, *termini)),
        other => {
            link.state = other;
            None
        }
    }
}

impl AttachRequest {
    fn new(link: LinkId, attach: &Attach) -> Self {
        let role = attach.role.opposite();
        let own_end = match role {
            Role::Sender => attach.source.as_ref(),
            Role::Receiver => attach.target.as_ref(),
        };
        Self {
            link,
            name: attach.name.clone(),
            role,
            address: own_end.and_then(Terminus::address).map(ToOwned::to_owned),
            is_dynamic: own_end.is_some_and(Terminus::is_dynamic),
            properties: attach.properties.clone(),
            snd_settle_mode: attach.snd_settle_mode,
            rcv_settle_mode: attach.rcv_settle_mode,
            max_message_size: attach.max_message_size,
        }
    }
}
