//! The hub's side of a conversation: keeps a ledger of what the engine tells, and holds it to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use downlink_amqp::{
    cbs::CBS_ADDRESS,
    engine::{
        AttachRequest, CloseCause, DeliveryId, Engine, Event, IncomingMessage, LinkId, Options,
        UnsettledDelivery,
    },
    message::Message,
    performative::{DeliveryState, DeliveryTag, Role},
};

use super::{client::Client, script::Script};

/// What a conversation came to.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The client's container, once it has opened.
    pub container: Option<String>,
    /// The user of SASL PLAIN.
    pub user: Option<String>,
    /// Audiences tokens were put for.
    pub audiences: Vec<Option<String>>,
    /// What the hub was on each link that was accepted, and its address.
    pub attached: Vec<(Role, String)>,
    /// Messages of the client, with the address they came to; requests for tokens left out.
    pub messages: Vec<(String, Message)>,
    /// What the client said of messages it got.
    pub outcomes: Vec<Option<DeliveryState>>,
    /// Links that went while the connection stayed.
    pub detached: usize,
    /// How the connection ended.
    pub cause: Option<CloseCause>,
}

/// A link by the caller's books.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) request: AttachRequest,
    pub(super) standing: Standing,
    /// Highest window it was given.
    pub(super) window: u32,
    /// Messages of the client that are not settled.
    pub(super) held: Vec<DeliveryId>,
    /// Messages to the client it has not settled.
    pub(super) owed: BTreeMap<DeliveryId, Owed>,
    pub(super) credit: u32,
    pub(super) is_draining: bool,
    /// Whether anything was sent.
    pub(super) is_used: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Waiting,
    Attached,
    Refused,
}

#[derive(Debug)]
pub(super) struct Owed {
    pub(super) tag: DeliveryTag,
    pub(super) is_told: bool,
    pub(super) is_lapsed: bool,
}

impl Owed {
    pub(super) fn new(tag: DeliveryTag) -> Self {
        Self {
            tag,
            is_told: false,
            is_lapsed: false,
        }
    }

    /// Whether it counts: it is waited for, or waits itself.
    pub(super) fn has_room(&self) -> bool {
        !self.is_lapsed || self.is_told
    }
}

/// The caller, its books, and the client's end of the line.
#[derive(Debug)]
pub struct Caller<'a> {
    pub(super) options: Arc<Options>,
    pub(super) script: Script<'a>,
    pub(super) now: Instant,
    pub(super) engine: Engine,
    pub(super) client: Client,
    pub(super) links: BTreeMap<LinkId, Link>,
    /// Links that were told to wait for room in their session.
    pub(super) blocked: BTreeSet<LinkId>,
    pub(super) replies: Vec<(u16, Bytes)>,
    pub(super) next_tag: u64,
    pub(super) is_sasl_asked: bool,
    pub(super) conversation: Conversation,
}

impl<'a> Caller<'a> {
    pub fn new(options: Arc<Options>, script: Script<'a>, now: Instant) -> Self {
        Self {
            engine: Engine::new(Arc::clone(&options), now),
            client: Client::new(options.max_frame_bytes),
            options,
            script,
            now,
            links: BTreeMap::new(),
            blocked: BTreeSet::new(),
            replies: Vec::new(),
            next_tag: 0,
            is_sasl_asked: false,
            conversation: Conversation::default(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.engine.is_finished()
    }

    /// Hands bytes of the client to the engine, though it may not want them.
    pub fn receive(&mut self, piece: &[u8]) {
        let owed: usize = self.links.values().map(|link| link.owed.len()).sum();
        // A frame has 8 bytes at least and tells two things at most, or one thing of each link or
        // delivery there is.
        let bound = piece.len() + self.links.len() + owed + 16;
        self.engine.receive(piece, self.now);
        let count = self.poll();
        assert!(count <= bound, "{count} events of {} bytes", piece.len());
        let limit = self.options.max_output_bytes * 4 + 65_536;
        assert!(self.engine.output().len() <= limit);
    }

    /// Works off the events that are there, then what they call for; returns how many there were.
    pub(super) fn poll(&mut self) -> usize {
        let mut events = Vec::new();
        while let Some(event) = self.engine.poll_event() {
            assert!(self.conversation.cause.is_none(), "{event:?} after the end");
            self.book(&event);
            events.push(event);
        }
        let count = events.len();
        for event in events {
            self.answer(event);
        }
        if count > 0 {
            self.flush_replies();
            self.poll();
        }
        self.check_unsettled();
        count
    }

    /// Compares the books on deliveries with the engine's.
    fn check_unsettled(&self) {
        let mut counts: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
        for (id, link) in &self.links {
            let (held, owed) = counts.entry(id.channel()).or_default();
            *held += link.held.len();
            *owed += link.owed.values().filter(|owed| owed.has_room()).count();
        }
        for (channel, expected) in counts {
            assert_eq!(self.engine.unsettled_in(channel), expected);
        }
    }

    /// Enters an event into the books.
    fn book(&mut self, event: &Event) {
        match event {
            Event::SaslPlain(credential) => {
                self.is_sasl_asked = true;
                self.conversation.user = Some(credential.authcid.clone());
            }
            Event::SaslExternal => self.is_sasl_asked = true,
            Event::Opened { container_id, .. } => {
                let earlier = self.conversation.container.replace(container_id.clone());
                assert_eq!(earlier, None, "open twice");
            }
            Event::AttachRequested(request) => self.book_attach(request),
            Event::MessageReceived(message) => self.book_message(message),
            Event::CreditChanged {
                link,
                credit,
                is_drain,
            } => {
                let link = self.attached(*link);
                assert_eq!(link.request.role, Role::Sender);
                link.credit = *credit;
                link.is_draining = *is_drain;
            }
            Event::WindowOpened { channel } => {
                self.blocked.retain(|link| link.channel() != *channel);
            }
            Event::DispositionReceived {
                link,
                deliveries,
                state,
                is_settled,
            } => {
                self.book_outcome(*link, deliveries, *is_settled);
                self.conversation.outcomes.push(state.clone());
            }
            Event::Detached {
                link, unsettled, ..
            } => self.book_detach(*link, unsettled),
            Event::Closed { cause, .. } => {
                assert!(self.engine.is_finished());
                let left = self.links.values();
                let left = left.filter(|link| link.standing != Standing::Refused);
                assert_eq!(left.count(), 0, "links outlive their connection");
                self.conversation.cause = Some(*cause);
            }
        }
    }

    fn book_attach(&mut self, request: &AttachRequest) {
        assert!(request.name.len() <= self.options.max_link_name_bytes);
        let link = Link {
            request: request.clone(),
            standing: Standing::Waiting,
            window: 0,
            held: Vec::new(),
            owed: BTreeMap::new(),
            credit: 0,
            is_draining: false,
            is_used: false,
        };
        let earlier = self.links.insert(request.link, link);
        assert!(earlier.is_none(), "two links of one id");
        let asked = self.links.values();
        let asked = asked.filter(|link| link.standing != Standing::Refused);
        assert!(asked.count() <= self.options.max_links);
    }

    fn attached(&mut self, link: LinkId) -> &mut Link {
        let link = self.links.get_mut(&link).expect("a link that is there");
        assert_eq!(link.standing, Standing::Attached);
        link
    }

    fn book_message(&mut self, message: &IncomingMessage) {
        let link = self.attached(message.link);
        assert_eq!(link.request.role, Role::Receiver);
        assert!(!link.held.contains(&message.delivery), "a delivery twice");
        link.held.push(message.delivery);
        assert!(
            link.held.len() <= link.window as usize,
            "more than the window"
        );
        let Ok(decoded) = Message::decode(&message.payload) else {
            return;
        };
        let address = link.request.address.clone().unwrap_or_default();
        if address != CBS_ADDRESS {
            self.conversation.messages.push((address, decoded));
        }
    }

    fn book_outcome(&mut self, link: LinkId, deliveries: &[UnsettledDelivery], is_settled: bool) {
        let owed = &mut self.attached(link).owed;
        assert!(deliveries.is_sorted_by_key(|delivery| delivery.delivery));
        for UnsettledDelivery { delivery, tag } in deliveries {
            let known = owed.get_mut(delivery).expect("a delivery that is owed");
            assert_eq!(known.tag, *tag);
            assert!(is_settled || !known.is_told, "one outcome told twice");
            known.is_told = true;
            if is_settled {
                owed.remove(delivery);
            }
        }
    }

    fn book_detach(&mut self, link: LinkId, unsettled: &[UnsettledDelivery]) {
        self.blocked.remove(&link);
        let gone = self.links.remove(&link).expect("one detach for each link");
        assert_ne!(gone.standing, Standing::Refused);
        let owed = gone.owed.iter();
        let owed = owed.filter(|(_, owed)| owed.has_room());
        let owed: Vec<DeliveryId> = owed.map(|(delivery, _)| *delivery).collect();
        let named: Vec<DeliveryId> = unsettled.iter().map(|named| named.delivery).collect();
        assert_eq!(named, owed, "what the client has not settled");
        self.conversation.detached += 1;
    }
}
