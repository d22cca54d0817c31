//! What the caller does of its own accord: sending, settling, breaking off, letting time pass.

use std::time::Duration;

use bytes::Bytes;
use downlink_amqp::{
    engine::{DeliveryId, LinkId, SendError, SendSettled},
    performative::{AmqpError, DeliveryState, DeliveryTag, Role, SenderSettleMode, condition},
};

use super::{
    caller::{Caller, Conversation, Owed, Standing},
    client,
};

/// Messages sent on each link when there is no script, as many as recorded devices got.
const FIRST_MESSAGES: usize = 4;

/// Payload of messages when there is no script, in bytes.
const USUAL_PAYLOAD: usize = 600;

impl Caller<'_> {
    /// Takes the script's next command.
    pub fn act(&mut self) {
        if self.script.is_empty() {
            return;
        }
        let command = self.script.take() % 16;
        if command == 0 {
            let hours = self.script.take();
            self.now += Duration::from_secs(u64::from(hours));
            self.on_deadline();
        } else if command == 1 {
            self.answer_sasl(downlink_amqp::sasl::SaslCode::Ok);
        } else if command < 5 {
            self.command_connection(command);
        } else if let Some(link) = self.any_link() {
            self.command_link(command, link);
        }
        self.poll();
    }

    fn any_link(&mut self) -> Option<LinkId> {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        self.script.choose(&links)
    }

    fn command_connection(&mut self, command: u8) {
        let error = AmqpError::new(condition::CONNECTION_FORCED, "the script says so");
        match (command, self.script.take()) {
            (2, channel) => self.engine.end_session(u16::from(channel % 4), Some(error)),
            (3, chance) if chance % 8 == 0 => self.engine.close(Some(error), self.now),
            (4, chance) if chance % 16 == 0 => self.engine.abandon(),
            _ => {}
        }
    }

    fn command_link(&mut self, command: u8, link: LinkId) {
        match command {
            5 => self.accept_waiting(link),
            6 if self.standing(link) == Some(Standing::Waiting) => self.refuse(link),
            7 => self.engine.detach(link, None),
            8 => {
                let window = u32::from(self.script.take() % 8);
                if let Some(known) = self.links.get_mut(&link) {
                    known.window = known.window.max(window);
                }
                self.engine.set_credit_window(link, window);
            }
            9 => self.settle_any(link),
            10 => self.drained(link),
            11 => self.lapse_any(link),
            12 => {
                if let Some(delivery) = self.any_owed(link) {
                    self.settle_outgoing(link, delivery);
                }
            }
            _ => self.send(link),
        }
    }

    fn standing(&self, link: LinkId) -> Option<Standing> {
        self.links.get(&link).map(|known| known.standing)
    }

    fn accept_waiting(&mut self, link: LinkId) {
        if self.standing(link) == Some(Standing::Waiting) {
            self.accept(link);
        }
    }

    fn settle_any(&mut self, link: LinkId) {
        let held = self.links.get(&link).map(|known| known.held.clone());
        if let Some(delivery) = self.script.choose(&held.unwrap_or_default()) {
            self.settle(link, delivery, DeliveryState::Accepted);
        }
    }

    fn any_owed(&mut self, link: LinkId) -> Option<DeliveryId> {
        let owed = &self.links.get(&link)?.owed;
        let owed: Vec<DeliveryId> = owed.keys().copied().collect();
        self.script.choose(&owed)
    }

    fn lapse_any(&mut self, link: LinkId) {
        let Some(delivery) = self.any_owed(link) else {
            return;
        };
        self.engine.lapse(link, delivery);
        let known = self.links.get_mut(&link);
        if let Some(owed) = known.and_then(|known| known.owed.get_mut(&delivery)) {
            owed.is_lapsed = true;
        }
    }

    /// Sends a few messages on a link that has had none, for recorded receivers to settle.
    pub(super) fn send_first(&mut self, link: LinkId) {
        let known = self.links.get_mut(&link);
        if known.is_some_and(|known| !std::mem::replace(&mut known.is_used, true)) {
            for _ in 0..FIRST_MESSAGES {
                self.send(link);
            }
        }
    }

    /// Sends a message, which must work just when the engine has said that it would.
    pub(super) fn send(&mut self, link: LinkId) {
        let length = match self.script.take() {
            0 => USUAL_PAYLOAD,
            length => usize::from(length) * 40,
        };
        let wish = if self.script.take() % 4 == 3 {
            SendSettled::Yes
        } else {
            SendSettled::No
        };
        let room = self.engine.check_room(link);
        self.check_room(link, room);
        let tag = self.next_tag();
        let payload = client::payload(length);
        let sent = self.engine.send(link, tag, payload, wish);
        assert_eq!(sent.map(drop), room.map(drop));
        let (Ok(delivery), Some(known)) = (sent, self.links.get_mut(&link)) else {
            return;
        };
        known.credit -= 1;
        let mode = known.request.snd_settle_mode;
        let is_owed = mode != Some(SenderSettleMode::Settled)
            && (wish == SendSettled::No || mode == Some(SenderSettleMode::Unsettled));
        if is_owed {
            let earlier = known.owed.insert(delivery, Owed::new(tag));
            assert!(earlier.is_none(), "a delivery twice");
        }
        assert!(self.unsettled(link.channel()) <= self.options.max_unsettled);
    }

    fn check_room(&mut self, link: LinkId, room: Result<u32, SendError>) {
        if let Err(SendError::WindowClosed | SendError::UnsettledFull) = room {
            self.blocked.insert(link);
        } else if room.is_ok() {
            assert!(!self.blocked.contains(&link), "room nobody was told of");
        }
        let known = self.links.get(&link);
        match room {
            Ok(count) => {
                let known = known.expect("room on a link that is there");
                assert_eq!(known.request.role, Role::Sender);
                assert!((1..=known.credit).contains(&count));
            }
            Err(SendError::UnsettledFull) => {
                let owed = self.owed_in(link.channel()).count();
                assert!(
                    owed >= self.options.max_unsettled,
                    "settled deliveries take up room"
                );
            }
            Err(SendError::NoCredit) => assert_eq!(known.map(|known| known.credit), Some(0)),
            Err(SendError::Detached | SendError::WindowClosed | SendError::OutputFull) => {}
        }
    }

    fn owed_in(&self, channel: u16) -> impl Iterator<Item = &Owed> {
        let links = self.links.iter();
        let links = links.filter(move |(link, _)| link.channel() == channel);
        links.flat_map(|(_, known)| known.owed.values())
    }

    /// Counts the deliveries of a session the caller still waits for.
    fn unsettled(&self, channel: u16) -> usize {
        self.owed_in(channel).filter(|owed| !owed.is_lapsed).count()
    }

    fn next_tag(&mut self) -> DeliveryTag {
        self.next_tag += 1;
        DeliveryTag::new(&self.next_tag.to_be_bytes()).expect("8 bytes of 32")
    }

    /// Sends what replies to requests for tokens there is credit for, on the `$cbs` link of their
    /// session.
    pub(super) fn flush_replies(&mut self) {
        for (channel, reply) in std::mem::take(&mut self.replies) {
            let mut links = self.links.iter();
            let link = links.find(|(link, known)| {
                link.channel() == channel
                    && known.request.role == Role::Sender
                    && self.is_cbs(**link)
            });
            match link.map(|(link, _)| *link) {
                Some(link) if self.engine.sendable(link) > 0 => self.reply(link, reply),
                Some(_) => self.replies.push((channel, reply)),
                None => {}
            }
        }
    }

    fn reply(&mut self, link: LinkId, reply: Bytes) {
        let tag = self.next_tag();
        let sent = self.engine.send(link, tag, reply, SendSettled::Yes);
        let delivery = sent.expect("there was room");
        let known = self.links.get_mut(&link).expect("it is there");
        known.credit -= 1;
        if known.request.snd_settle_mode == Some(SenderSettleMode::Unsettled) {
            known.owed.insert(delivery, Owed::new(tag));
        }
    }

    /// Lets the client read what there is; some scripts keep it from reading all.
    pub fn write(&mut self) {
        let pending = self.engine.output();
        let count = match self.script.take() {
            0..192 => pending.len(),
            part => pending.len().min(usize::from(part)),
        };
        self.client.read(&pending[..count]);
        self.engine.consume_output(count, self.now);
    }

    /// Lets time pass until the engine has something to do.
    pub fn turn_clock(&mut self) {
        if let Some(deadline) = self.engine.deadline() {
            self.now = self.now.max(deadline);
            self.on_deadline();
            self.poll();
        }
    }

    fn on_deadline(&mut self) {
        self.engine.on_deadline(self.now);
        let next = self.engine.deadline();
        assert!(
            next.is_none_or(|next| next > self.now),
            "a deadline that does not move"
        );
    }

    /// Ends the conversation: whatever is left must come to its end now, and only once.
    pub fn finish(mut self) -> Conversation {
        self.engine.abandon();
        self.poll();
        let rest = self.engine.output().to_vec();
        self.client.read(&rest);
        self.engine.consume_output(rest.len(), self.now);
        assert!(self.conversation.cause.is_some(), "no end");
        assert!(self.engine.output().is_empty());
        assert!(!self.engine.wants_input());
        assert_eq!(self.engine.deadline(), None);
        self.conversation
    }
}
