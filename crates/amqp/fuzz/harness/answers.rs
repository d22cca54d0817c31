//! What the caller does about an event, as the script has it.

use downlink_amqp::{
    cbs::{CBS_ADDRESS, CbsOperation, CbsRequest, encode_reply},
    engine::{Accept, DeliveryId, Event, IncomingMessage, LinkId},
    performative::{AmqpError, DeliveryState, condition},
    sasl::SaslCode,
};

use super::caller::{Caller, Standing};

impl Caller<'_> {
    /// Does what an event calls for, as the script has it.
    pub(super) fn answer(&mut self, event: Event) {
        match event {
            Event::SaslPlain(_) | Event::SaslExternal => match self.script.take() % 4 {
                0 | 1 => self.answer_sasl(SaslCode::Ok),
                2 => self.answer_sasl(SaslCode::Auth),
                _ => {}
            },
            Event::AttachRequested(request) => match self.script.take() % 4 {
                0 | 1 => self.accept(request.link),
                2 => self.refuse(request.link),
                _ => {}
            },
            Event::MessageReceived(message) => self.answer_message(&message),
            Event::CreditChanged { link, is_drain, .. } => {
                if self.script.is_empty() && !self.is_cbs(link) {
                    self.send_first(link);
                }
                if is_drain && self.script.take() % 4 != 3 {
                    self.drained(link);
                }
            }
            Event::DispositionReceived {
                link,
                deliveries,
                is_settled: false,
                ..
            } => {
                for delivery in deliveries {
                    if self.script.take() % 4 != 3 {
                        self.settle_outgoing(link, delivery.delivery);
                    }
                }
            }
            Event::Opened { .. }
            | Event::WindowOpened { .. }
            | Event::DispositionReceived { .. }
            | Event::Detached { .. }
            | Event::Closed { .. } => {}
        }
    }

    pub(super) fn is_cbs(&self, link: LinkId) -> bool {
        let link = self.links.get(&link);
        link.is_some_and(|link| link.request.address.as_deref() == Some(CBS_ADDRESS))
    }

    /// Uses up the rest of a link's credit.
    pub(super) fn drained(&mut self, link: LinkId) {
        self.engine.drained(link);
        if let Some(known) = self.links.get_mut(&link)
            && std::mem::take(&mut known.is_draining)
        {
            known.credit = 0;
        }
    }

    pub(super) fn answer_sasl(&mut self, code: SaslCode) {
        if std::mem::take(&mut self.is_sasl_asked) {
            self.engine.answer_sasl(code, self.now);
        }
    }

    pub(super) fn accept(&mut self, link: LinkId) {
        let credit_window = match self.script.take() {
            0 => 100,
            window => u32::from(window % 8),
        };
        if let Some(known) = self.links.get_mut(&link) {
            known.standing = Standing::Attached;
            known.window = credit_window;
            let address = known.request.address.clone().unwrap_or_default();
            self.conversation
                .attached
                .push((known.request.role, address));
        }
        let max_message_bytes = if self.script.is_empty() {
            65_536
        } else {
            1_024
        };
        self.engine.accept(
            link,
            Accept {
                credit_window,
                max_message_bytes,
            },
        );
    }

    pub(super) fn refuse(&mut self, link: LinkId) {
        if let Some(known) = self.links.get_mut(&link) {
            known.standing = Standing::Refused;
        }
        let error = AmqpError::new(condition::NOT_FOUND, "no such address");
        self.engine.refuse(link, error);
    }

    fn answer_message(&mut self, message: &IncomingMessage) {
        let state = match self.script.take() % 4 {
            0 => DeliveryState::Accepted,
            1 => DeliveryState::rejected(AmqpError::new(condition::NOT_FOUND, "no device")),
            2 => DeliveryState::Released,
            _ => return,
        };
        self.settle(message.link, message.delivery, state);
        if !self.is_cbs(message.link) {
            return;
        }
        if let Ok(request) = CbsRequest::decode(&message.payload) {
            if let CbsOperation::PutToken(put) = request.operation {
                self.conversation.audiences.push(put.name);
                self.engine.admit();
            }
            let reply = encode_reply(request.message_id, 200, "OK");
            self.replies.push((message.link.channel(), reply));
        }
    }

    pub(super) fn settle(&mut self, link: LinkId, delivery: DeliveryId, state: DeliveryState) {
        if let Some(known) = self.links.get_mut(&link) {
            known.held.retain(|held| *held != delivery);
        }
        self.engine.settle(link, delivery, state);
    }

    pub(super) fn settle_outgoing(&mut self, link: LinkId, delivery: DeliveryId) {
        if let Some(known) = self.links.get_mut(&link) {
            known.owed.remove(&delivery);
        }
        let state = DeliveryState::Accepted;
        self.engine.settle_outgoing(link, delivery, state);
    }
}
