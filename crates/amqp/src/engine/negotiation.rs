//! From the first byte to open: protocol headers, SASL, open (amqp.md §1.3, §2.2).

use std::{mem, time::Instant};

use super::{CloseCause, Engine, Event, State, Violation};
use crate::{
    frame::{self, FrameType, HEADER_BYTES, MIN_MAX_FRAME_BYTES, ProtocolHeader},
    performative::{Open, condition},
    sasl::{self, MECHANISMS, SaslChoice, SaslCode, SaslFrame},
};

impl Engine {
    /// Takes a protocol header off `bytes` and returns how many bytes that used.
    pub(super) fn on_header_bytes(&mut self, bytes: &[u8], is_sasl_done: bool) -> usize {
        let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            let magic = b"AMQP";
            let seen = bytes.len().min(magic.len());
            if bytes.get(..seen) != magic.get(..seen) {
                self.refuse_header();
                return bytes.len();
            }
            return 0;
        };
        match (ProtocolHeader::parse(*header), is_sasl_done) {
            (Some(ProtocolHeader::Amqp), _) => {
                self.effects
                    .output
                    .bytes
                    .extend(ProtocolHeader::Amqp.bytes());
                self.state = State::HdrExch;
            }
            (Some(ProtocolHeader::Sasl), false) => {
                self.effects
                    .output
                    .bytes
                    .extend(ProtocolHeader::Sasl.bytes());
                self.write_sasl(&SaslFrame::Mechanisms(MECHANISMS.to_vec()));
                self.state = State::SaslInit;
            }
            _ => {
                self.refuse_header();
                return bytes.len();
            }
        }
        HEADER_BYTES
    }

    /// Answers another protocol with the header this server prefers, and closes (2.2).
    fn refuse_header(&mut self) {
        self.effects
            .output
            .bytes
            .extend(ProtocolHeader::Sasl.bytes());
        self.finish(CloseCause::Protocol, None);
    }

    pub(super) fn on_sasl_frame(&mut self, body: &[u8]) {
        let Ok(SaslFrame::Init {
            mechanism,
            initial_response,
        }) = SaslFrame::decode(body)
        else {
            self.conclude_sasl(SaslCode::Auth);
            return;
        };
        match sasl::read_choice(&mechanism, initial_response.as_ref()) {
            SaslChoice::Anonymous => self.conclude_sasl(SaslCode::Ok),
            SaslChoice::Plain(credential) => {
                self.state = State::SaslVerdict;
                self.effects.event(Event::SaslPlain(credential));
            }
            SaslChoice::External => {
                self.state = State::SaslVerdict;
                self.effects.event(Event::SaslExternal);
            }
            SaslChoice::Invalid => self.conclude_sasl(SaslCode::Auth),
        }
    }

    /// Answers [`Event::SaslPlain`] or [`Event::SaslExternal`] and goes on with what the peer has
    /// sent meanwhile. Any code but [`SaslCode::Ok`] ends the connection.
    pub fn answer_sasl(&mut self, code: SaslCode, now: Instant) {
        if self.state != State::SaslVerdict {
            return;
        }
        self.conclude_sasl(code);
        let input = mem::take(&mut self.input);
        self.consume_kept(input, now);
    }

    fn conclude_sasl(&mut self, code: SaslCode) {
        self.write_sasl(&SaslFrame::outcome(code));
        match code {
            SaslCode::Ok => self.state = State::Start { is_sasl_done: true },
            SaslCode::Auth | SaslCode::SysTemp => self.finish(CloseCause::Unauthorized, None),
        }
    }

    fn write_sasl(&mut self, sasl: &SaslFrame) {
        let out = &mut self.effects.output.bytes;
        frame::write_frame(out, FrameType::Sasl, 0, |out| sasl.encode(out));
    }

    pub(super) fn on_open(&mut self, open: Open) -> Result<(), Violation> {
        if open.max_frame_size < MIN_MAX_FRAME_BYTES {
            let text = "max-frame-size is below 512";
            return Err(Violation::connection(condition::INVALID_FIELD, text));
        }
        let max_frame_bytes = open.max_frame_size.min(self.options.max_frame_bytes);
        self.effects.max_frame_bytes = max_frame_bytes as usize;
        self.peer_channel_max = open.channel_max;
        self.timing.on_opened(&self.options, open.idle_time_out);
        self.state = State::Opened;
        let answer = self.own_open();
        self.effects.write(0, &answer.into());
        let Open {
            container_id,
            hostname,
            ..
        } = open;
        self.effects.event(Event::Opened {
            container_id,
            hostname,
        });
        Ok(())
    }
}
