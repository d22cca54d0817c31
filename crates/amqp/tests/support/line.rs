//! An engine and a client that writes to it, for measurements.

use std::{sync::Arc, time::Instant};

use downlink_amqp::{
    engine::{Accept, Engine, Event, LinkId, Options},
    frame::{FrameType, ProtocolHeader, write_frame},
    performative::{Attach, Begin, Flow, Open, Performative, Role, Terminus},
};

/// A connection whose hub grants every link.
#[derive(Debug)]
pub struct Line {
    pub engine: Engine,
    pub now: Instant,
}

impl Line {
    /// Opens a connection.
    pub fn open(options: &Arc<Options>, now: Instant) -> Self {
        let mut line = Self {
            engine: Engine::new(Arc::clone(options), now),
            now,
        };
        line.engine.receive(&ProtocolHeader::Amqp.bytes(), now);
        line.write(
            0,
            Open {
                container_id: "client".to_owned(),
                hostname: Some("hub1.example.net".to_owned()),
                max_frame_size: 65_536,
                channel_max: u16::MAX,
                idle_time_out: Some(120_000),
            },
        );
        line.engine.admit();
        line
    }

    /// Hands a frame to the engine, and takes what it answers.
    pub fn write(&mut self, channel: u16, performative: impl Into<Performative>) -> Vec<Event> {
        let frame = encode(channel, &performative.into(), &[]);
        self.write_bytes(&frame)
    }

    /// Hands bytes to the engine, and takes what it answers.
    pub fn write_bytes(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.engine.receive(bytes, self.now);
        self.take_events()
    }

    fn take_events(&mut self) -> Vec<Event> {
        let events = std::iter::from_fn(|| self.engine.poll_event()).collect();
        self.read();
        events
    }

    /// Takes all output.
    pub fn read(&mut self) {
        let count = self.engine.output().len();
        self.engine.consume_output(count, self.now);
    }

    /// Begins a session.
    pub fn begin(&mut self, channel: u16) {
        self.write(
            channel,
            Begin {
                remote_channel: None,
                next_outgoing_id: 0,
                incoming_window: u32::MAX,
                outgoing_window: 5_000,
                handle_max: u32::MAX,
            },
        );
    }

    /// Attaches a link on which the client is `role`; one it receives on gets `credit`, one it
    /// sends on a window of as many.
    pub fn attach(
        &mut self,
        channel: u16,
        handle: u32,
        role: Role,
        address: &str,
        credit: u32,
    ) -> LinkId {
        let (source, target) = match role {
            Role::Sender => (None, Some(Terminus::target(address))),
            Role::Receiver => (Some(Terminus::source(address)), None),
        };
        let attach = Attach {
            name: format!("link_{handle}-0b5a7d9c-2e4f-6064-d8a9-a3c1f04a1f8e"),
            handle,
            role,
            snd_settle_mode: None,
            rcv_settle_mode: None,
            source,
            target,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            max_message_size: None,
            properties: Vec::new(),
        };
        let events = self.write(channel, attach);
        let Some(Event::AttachRequested(request)) = events.into_iter().next() else {
            panic!("no request");
        };
        let terms = Accept {
            credit_window: credit,
            max_message_bytes: 262_144,
        };
        self.engine.accept(request.link, terms);
        self.read();
        if role == Role::Receiver {
            self.give_credit(channel, handle, 0, credit);
        }
        request.link
    }

    /// Gives the hub credit on a link.
    pub fn give_credit(&mut self, channel: u16, handle: u32, delivery_count: u32, credit: u32) {
        self.write(
            channel,
            Flow {
                next_incoming_id: Some(1),
                incoming_window: u32::MAX,
                next_outgoing_id: 0,
                outgoing_window: 5_000,
                handle: Some(handle),
                delivery_count: Some(delivery_count),
                link_credit: Some(credit),
                ..Flow::default()
            },
        );
    }
}

/// Encodes a frame.
pub fn encode(channel: u16, performative: &Performative, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameType::Amqp, channel, |out| {
        performative.encode(out);
        out.extend_from_slice(payload);
    });
    frame
}
