//! Conversations with the engine, as each family of SDKs holds them.

mod bounds;
mod csharp;
mod draining;
mod flow;
mod hostile;
mod java;
mod negotiation;
mod node;
mod timing;
mod uamqp;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;

use super::*;
use crate::{
    frame::{FrameType, ProtocolHeader, parse_frame, write_frame},
    message::{Body, Message, Properties},
    performative::{
        Attach, DeliveryState, DeliveryTag, Disposition, Flow, ReceiverSettleMode, Role,
        SenderSettleMode, Terminus, Transfer,
    },
    sasl::{SaslCode, SaslFrame},
    types::{Encode, Symbol, Value},
};

/// A client of the engine: writes frames to it and reads its answers.
struct Peer {
    engine: Engine,
    now: Instant,
    inbox: Vec<u8>,
}

/// A frame the engine sent.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    channel: u16,
    performative: Performative,
    payload: Bytes,
}

const FEEDBACK: &str = "/messages/serviceBound/feedback";

impl Peer {
    fn new(options: Options) -> Self {
        let now = Instant::now();
        Self {
            engine: Engine::new(Arc::new(options), now),
            now,
            inbox: Vec::new(),
        }
    }

    /// A client that is open on channel 0, with the begin and open answers read.
    fn open(max_frame_size: u32) -> Self {
        Self::open_with(Options::default(), max_frame_size)
    }

    fn open_with(options: Options, max_frame_size: u32) -> Self {
        let mut peer = Self::new(options);
        peer.bytes(&ProtocolHeader::Amqp.bytes());
        peer.write(0, open(max_frame_size, None));
        peer.write(0, begin());
        assert_eq!(peer.take_header(), ProtocolHeader::Amqp.bytes());
        assert!(matches!(peer.expect().performative, Performative::Open(_)));
        assert!(matches!(peer.expect().performative, Performative::Begin(_)));
        assert!(matches!(peer.event(), Event::Opened { .. }));
        peer
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.engine.receive(bytes, self.now);
    }

    fn write(&mut self, channel: u16, performative: impl Into<Performative>) {
        self.write_with(channel, performative, &[]);
    }

    fn write_with(&mut self, channel: u16, performative: impl Into<Performative>, payload: &[u8]) {
        let frame = encode(channel, &performative.into(), payload);
        self.bytes(&frame);
    }

    fn event(&mut self) -> Event {
        self.engine.poll_event().expect("an event")
    }

    fn no_event(&mut self) {
        assert_eq!(self.engine.poll_event(), None);
    }

    fn attach_request(&mut self) -> AttachRequest {
        match self.event() {
            Event::AttachRequested(request) => *request,
            other => panic!("expected an attach request, got {other:?}"),
        }
    }

    fn message(&mut self) -> IncomingMessage {
        match self.event() {
            Event::MessageReceived(message) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    fn read(&mut self) {
        let output = self.engine.output().to_vec();
        self.engine.consume_output(output.len(), self.now);
        self.inbox.extend(output);
    }

    fn take_header(&mut self) -> [u8; 8] {
        self.read();
        let rest = self.inbox.split_off(8);
        let header = std::mem::replace(&mut self.inbox, rest);
        header.try_into().expect("eight bytes")
    }

    fn take_sasl(&mut self) -> SaslFrame {
        self.read();
        let frame = parse_frame(&self.inbox, u32::MAX)
            .unwrap()
            .expect("a frame");
        assert_eq!(frame.frame_type, FrameType::Sasl);
        let size = frame.size;
        let sasl = SaslFrame::decode(frame.body).unwrap();
        self.inbox.drain(..size);
        sasl
    }

    fn next_frame(&mut self) -> Option<(Sent, usize)> {
        self.read();
        let frame = parse_frame(&self.inbox, u32::MAX).unwrap()?;
        assert_eq!(frame.frame_type, FrameType::Amqp);
        let (channel, size) = (frame.channel, frame.size);
        let (performative, payload) = frame::decode_body(frame.body).unwrap().expect("a body");
        let payload = Bytes::copy_from_slice(payload);
        self.inbox.drain(..size);
        Some((
            Sent {
                channel,
                performative,
                payload,
            },
            size,
        ))
    }

    fn expect(&mut self) -> Sent {
        self.next_frame().expect("a frame").0
    }

    fn expect_attach(&mut self) -> Attach {
        match self.expect().performative {
            Performative::Attach(attach) => *attach,
            other => panic!("expected attach, got {other:?}"),
        }
    }

    fn expect_flow(&mut self) -> Flow {
        match self.expect().performative {
            Performative::Flow(flow) => flow,
            other => panic!("expected flow, got {other:?}"),
        }
    }

    fn expect_transfer(&mut self) -> (Transfer, Bytes) {
        let sent = self.expect();
        match sent.performative {
            Performative::Transfer(transfer) => (transfer, sent.payload),
            other => panic!("expected transfer, got {other:?}"),
        }
    }

    fn expect_disposition(&mut self) -> Disposition {
        match self.expect().performative {
            Performative::Disposition(disposition) => disposition,
            other => panic!("expected disposition, got {other:?}"),
        }
    }

    fn expect_detach(&mut self) -> Detach {
        match self.expect().performative {
            Performative::Detach(detach) => detach,
            other => panic!("expected detach, got {other:?}"),
        }
    }

    fn expect_nothing(&mut self) {
        assert_eq!(self.next_frame(), None);
    }

    /// Attaches a link the client sends on, accepts it, and reads echo and flow.
    fn attach_sender(&mut self, handle: u32, credit_window: u32, max_message_bytes: u64) -> LinkId {
        self.write(0, sender_attach(handle, "/messages/devicebound"));
        let link = self.attach_request().link;
        self.engine.accept(
            link,
            Accept {
                credit_window,
                max_message_bytes,
            },
        );
        self.expect_attach();
        assert_eq!(self.expect_flow().link_credit, Some(credit_window));
        link
    }

    /// Attaches a link the client receives on, accepts it, reads the echo and gives credit.
    fn attach_receiver(&mut self, attach: Attach, credit: u32) -> LinkId {
        let handle = attach.handle;
        self.write(0, attach);
        let link = self.attach_request().link;
        self.engine.accept(link, TERMS);
        self.expect_attach();
        if credit > 0 {
            self.write(0, credit_flow(handle, 0, credit));
            let event = Event::CreditChanged {
                link,
                credit,
                is_drain: false,
            };
            assert_eq!(self.event(), event);
        }
        link
    }
}

const TERMS: Accept = Accept {
    credit_window: 10,
    max_message_bytes: 65_536,
};

fn encode(channel: u16, performative: &Performative, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameType::Amqp, channel, |out| {
        performative.encode(out);
        out.extend_from_slice(payload);
    });
    frame
}

fn open(max_frame_size: u32, idle_time_out: Option<u32>) -> Open {
    Open {
        container_id: "client".into(),
        hostname: Some("hub1.example.net".into()),
        max_frame_size,
        channel_max: u16::MAX,
        idle_time_out,
    }
}

fn begin() -> Begin {
    Begin {
        remote_channel: None,
        next_outgoing_id: 0,
        incoming_window: 2048,
        outgoing_window: u32::MAX,
        handle_max: u32::MAX,
    }
}

fn sender_attach(handle: u32, address: &str) -> Attach {
    Attach {
        name: format!("sender-{handle}"),
        handle,
        role: Role::Sender,
        snd_settle_mode: None,
        rcv_settle_mode: None,
        source: None,
        target: Some(Terminus::target(address)),
        initial_delivery_count: Some(0),
        max_message_size: None,
        properties: Vec::new(),
    }
}

fn receiver_attach(handle: u32, address: &str) -> Attach {
    Attach {
        name: format!("receiver-{handle}"),
        role: Role::Receiver,
        source: Some(Terminus::source(address)),
        target: None,
        initial_delivery_count: None,
        ..sender_attach(handle, address)
    }
}

fn credit_flow(handle: u32, delivery_count: u32, link_credit: u32) -> Flow {
    Flow {
        next_incoming_id: Some(1),
        incoming_window: 2048,
        next_outgoing_id: 0,
        outgoing_window: u32::MAX,
        handle: Some(handle),
        delivery_count: Some(delivery_count),
        link_credit: Some(link_credit),
        ..Flow::default()
    }
}

fn transfer(handle: u32, delivery: u32) -> Transfer {
    Transfer {
        handle,
        delivery_id: Some(delivery),
        delivery_tag: DeliveryTag::new(&delivery.to_be_bytes()),
        message_format: Some(0),
        ..Transfer::default()
    }
}

fn receipt(first: u32, last: Option<u32>, settled: bool, state: DeliveryState) -> Disposition {
    Disposition {
        role: Role::Receiver,
        first,
        last,
        settled,
        state: Some(state),
    }
}

fn tag(number: u8) -> DeliveryTag {
    DeliveryTag::new(&[number; 16]).expect("16 bytes")
}

fn data(text: &str) -> Bytes {
    let body = Body::Data(Bytes::copy_from_slice(text.as_bytes()));
    Message {
        body,
        ..Message::default()
    }
    .encode()
}
