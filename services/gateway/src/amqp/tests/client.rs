//! A scripted back-end on the other end of an in-memory socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use downlink_amqp::frame::{FrameType, ProtocolHeader, decode_body, parse_frame, write_frame};
use downlink_amqp::message::{Body, Message, MessageId, Properties};
use downlink_amqp::performative::{
    Attach, Begin, Close, DeliveryState, DeliveryTag, Detach, Disposition, Flow, Open,
    Performative, Role, Terminus, Transfer,
};
use downlink_amqp::sasl::{SaslCode, SaslFrame};
use downlink_amqp::types::{Encode, Symbol, Value};
use downlink_domain::device::Device;
use downlink_runtime::OnError;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;

use crate::arrival::Arrival;
use crate::fakes::TestHub;

/// Longest wait for a frame; only a failing test waits it out.
const PATIENCE: Duration = Duration::from_mins(2);

pub(super) const COMMANDS: &str = "/messages/devicebound";
pub(super) const FEEDBACK: &str = "/messages/serviceBound/feedback";

/// Bytes of a message in one frame.
const FRAME_PAYLOAD_BYTES: usize = 60_000;

const BEGIN: Begin = Begin {
    remote_channel: None,
    next_outgoing_id: 0,
    incoming_window: 5000,
    outgoing_window: 5000,
    handle_max: 1000,
};

pub(super) struct Client {
    io: DuplexStream,
    received: Vec<u8>,
    next_delivery: u32,
    /// The session that is spoken on, and the one of the last frame that came.
    pub(super) channel: u16,
    pub(super) heard_on: u16,
}

impl Client {
    /// Connects a socket to the door.
    pub(super) fn connect(hub: &TestHub) -> Self {
        Self::connect_through(hub, 1024 * 1024)
    }

    /// Connects a socket that holds `pipe_bytes` on the way in each direction.
    pub(super) fn connect_through(hub: &TestHub, pipe_bytes: usize) -> Self {
        Self::arrive_through(hub, pipe_bytes, Arrival::over_tls(None))
    }

    /// Connects a socket as what came that way.
    pub(super) fn arrive(hub: &TestHub, arrival: Arrival) -> Self {
        Self::arrive_through(hub, 1024 * 1024, arrival)
    }

    fn arrive_through(hub: &TestHub, pipe_bytes: usize, arrival: Arrival) -> Self {
        let (io, theirs) = tokio::io::duplex(pipe_bytes);
        let shared = Arc::clone(&hub.shared);
        let door = crate::amqp::serve(shared, theirs, arrival);
        hub.shared.lifecycle.spawn("amqp", OnError::Log, door);
        Self {
            io,
            received: Vec::new(),
            next_delivery: 0,
            channel: 0,
            heard_on: 0,
        }
    }

    /// Connects, opens and begins a session as Node and C# do: without SASL.
    pub(super) async fn open(hub: &TestHub) -> Self {
        let mut client = Self::connect(hub);
        client.raw(&ProtocolHeader::Amqp.bytes()).await;
        client.start().await;
        client
    }

    /// Opens with the rights of `policy`, by a token over CBS.
    pub(super) async fn with_policy(hub: &TestHub, policy: &str) -> Self {
        let mut client = Self::open(hub).await;
        assert_eq!(client.put_token(&hub.policy_token(policy)).await.0, 200);
        client
    }

    /// Opens with a token of the device.
    pub(super) async fn with_device(hub: &TestHub, device: &Device) -> Self {
        let mut client = Self::open(hub).await;
        assert_eq!(client.put_token(&hub.device_token(device)).await.0, 200);
        client
    }

    /// Begins another session and speaks on it from now on.
    pub(super) async fn begin(&mut self, channel: u16) {
        self.channel = channel;
        self.write(BEGIN).await;
        assert!(matches!(self.answer().await.0, Performative::Begin(_)));
        assert_eq!(self.heard_on, channel);
    }

    /// Sends open and begin and reads their answers, the header's first.
    pub(super) async fn start(&mut self) {
        self.send_open().await;
        self.read_open().await;
    }

    /// Sends open and begin and does not wait for their answers.
    pub(super) async fn send_open(&mut self) {
        let open = Open {
            container_id: "client".into(),
            hostname: Some("hub.test".into()),
            max_frame_size: 65_536,
            channel_max: 8191,
            idle_time_out: None,
        };
        self.write(open).await;
        self.write(BEGIN).await;
    }

    /// Reads the answers to open and begin, the header's first.
    pub(super) async fn read_open(&mut self) {
        assert_eq!(self.header().await, ProtocolHeader::Amqp.bytes());
        assert!(matches!(self.frame().await.0, Performative::Open(_)));
        assert!(matches!(self.frame().await.0, Performative::Begin(_)));
    }

    /// Connects with SASL PLAIN, up to the outcome, which is ok.
    pub(super) async fn plain(hub: &TestHub, user: &str, password: &str) -> Self {
        let mut client = Self::connect(hub);
        client.raw(&ProtocolHeader::Sasl.bytes()).await;
        assert_eq!(client.header().await, ProtocolHeader::Sasl.bytes());
        assert!(matches!(client.sasl().await, SaslFrame::Mechanisms(_)));
        let init = SaslFrame::Init {
            mechanism: Symbol::from_static("PLAIN"),
            initial_response: Some(format!("\0{user}\0{password}").into()),
        };
        let mut frame = Vec::new();
        write_frame(&mut frame, FrameType::Sasl, 0, |out| init.encode(out));
        client.raw(&frame).await;
        assert_eq!(client.sasl().await, SaslFrame::outcome(SaslCode::Ok));
        client.raw(&ProtocolHeader::Amqp.bytes()).await;
        client
    }

    /// Sends a payload as it is, in a format of the test's own, and returns its delivery id.
    pub(super) async fn send_raw(&mut self, handle: u32, payload: &[u8], format: u32) -> u32 {
        let delivery = self.next_delivery;
        self.next_delivery += 1;
        let transfer = Transfer {
            handle,
            delivery_id: Some(delivery),
            delivery_tag: DeliveryTag::new(&delivery.to_be_bytes()),
            message_format: Some(format),
            ..Transfer::default()
        };
        self.write_with(transfer, payload).await;
        delivery
    }

    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("the door reads");
    }

    /// Writes until the door has dropped its end.
    pub(super) async fn until_dropped(&mut self) {
        while self.io.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(super) async fn write(&mut self, performative: impl Into<Performative>) {
        self.write_with(performative, &[]).await;
    }

    pub(super) async fn write_with(
        &mut self,
        performative: impl Into<Performative>,
        payload: &[u8],
    ) {
        let performative = performative.into();
        let mut frame = Vec::new();
        write_frame(&mut frame, FrameType::Amqp, self.channel, |out| {
            performative.encode(out);
            out.extend_from_slice(payload);
        });
        self.raw(&frame).await;
    }

    async fn fill(&mut self) -> bool {
        let mut chunk = [0; 8192];
        let read = timeout(PATIENCE, self.io.read(&mut chunk))
            .await
            .expect("an answer in time");
        let count = read.unwrap_or(0);
        self.received.extend_from_slice(&chunk[..count]);
        count > 0
    }

    pub(super) async fn header(&mut self) -> [u8; 8] {
        while self.received.len() < 8 {
            assert!(self.fill().await, "closed before a header");
        }
        let rest = self.received.split_off(8);
        std::mem::replace(&mut self.received, rest)
            .try_into()
            .unwrap()
    }

    pub(super) async fn sasl(&mut self) -> SaslFrame {
        loop {
            if let Some(frame) = parse_frame(&self.received, u32::MAX).unwrap() {
                let sasl = SaslFrame::decode(frame.body).unwrap();
                let size = frame.size;
                self.received.drain(..size);
                return sasl;
            }
            assert!(self.fill().await, "closed before a SASL frame");
        }
    }

    /// Reads the next frame with a body; `None` at the end of the stream.
    pub(super) async fn try_frame(&mut self) -> Option<(Performative, Bytes)> {
        loop {
            if let Some(frame) = parse_frame(&self.received, u32::MAX).unwrap() {
                let (size, channel) = (frame.size, frame.channel);
                let decoded = decode_body(frame.body).unwrap();
                let decoded =
                    decoded.map(|(body, payload)| (body, Bytes::copy_from_slice(payload)));
                self.received.drain(..size);
                if decoded.is_some() {
                    self.heard_on = channel;
                    return decoded;
                }
            } else if !self.fill().await {
                return None;
            }
        }
    }

    pub(super) async fn frame(&mut self) -> (Performative, Bytes) {
        self.try_frame().await.expect("a frame before the end")
    }

    /// Reads the next frame that is no flow.
    pub(super) async fn answer(&mut self) -> (Performative, Bytes) {
        loop {
            let (performative, payload) = self.frame().await;
            if !matches!(performative, Performative::Flow(_)) {
                return (performative, payload);
            }
        }
    }

    pub(super) async fn disposition(&mut self) -> Disposition {
        match self.answer().await.0 {
            Performative::Disposition(disposition) => disposition,
            other => panic!("expected a disposition, got {other:?}"),
        }
    }

    pub(super) async fn transfer(&mut self) -> (Transfer, Message) {
        match self.answer().await {
            (Performative::Transfer(transfer), payload) => {
                (transfer, Message::decode(&payload).unwrap())
            }
            other => panic!("expected a transfer, got {other:?}"),
        }
    }

    pub(super) async fn detach(&mut self) -> Detach {
        match self.answer().await.0 {
            Performative::Detach(detach) => detach,
            other => panic!("expected a detach, got {other:?}"),
        }
    }

    /// Takes the detaches of all `links` at the hub's going away.
    pub(super) async fn parted(&mut self, links: usize) {
        for _ in 0..links {
            let error = self.detach().await.error.expect("a reason");
            assert_eq!(error.condition.as_str(), "amqp:link:detach-forced");
        }
    }

    pub(super) async fn close(&mut self) -> Close {
        match self.answer().await.0 {
            Performative::Close(close) => close,
            other => panic!("expected a close, got {other:?}"),
        }
    }

    /// Attaches a link and returns the echo.
    pub(super) async fn attach(&mut self, attach: Attach) -> Attach {
        self.write(attach).await;
        match self.answer().await.0 {
            Performative::Attach(echo) => *echo,
            other => panic!("expected an attach, got {other:?}"),
        }
    }

    /// Attaches a link that is refused, and returns the condition.
    pub(super) async fn attach_refused(&mut self, attach: Attach) -> String {
        let role = attach.role;
        let echo = self.attach(attach).await;
        match role {
            Role::Sender => assert_eq!(echo.target, None),
            Role::Receiver => assert_eq!(echo.source, None),
        }
        let detach = self.detach().await;
        assert!(detach.closed);
        self.write(Detach {
            handle: detach.handle,
            closed: true,
            error: None,
        })
        .await;
        detach.error.expect("a reason").condition.into_string()
    }

    pub(super) async fn credit(&mut self, handle: u32, delivery_count: u32, credit: u32) {
        let flow = Flow {
            next_incoming_id: Some(1),
            incoming_window: 5000,
            outgoing_window: 5000,
            handle: Some(handle),
            delivery_count: Some(delivery_count),
            link_credit: Some(credit),
            ..Flow::default()
        };
        self.write(flow).await;
    }

    /// Attaches the `$cbs` pair on handles 100 and 101 and puts a token; returns code and text.
    pub(super) async fn put_token(&mut self, token: &str) -> (i32, String) {
        self.attach(sender(100, "$cbs")).await;
        self.attach(receiver(101, "$cbs")).await;
        self.credit(101, 0, 1000).await;
        self.renew_token(token).await
    }

    /// Puts a token on links that [`Self::put_token`] attached.
    pub(super) async fn renew_token(&mut self, token: &str) -> (i32, String) {
        let mut body = Vec::new();
        token.encode(&mut body);
        let id = MessageId::Ulong(u64::from(self.next_delivery));
        let request = Message {
            properties: Properties {
                message_id: Some(id.clone()),
                ..Properties::default()
            },
            application_properties: vec![
                ("operation".into(), Value::from("put-token")),
                (
                    "type".into(),
                    Value::from("servicebus.windows.net:sastoken"),
                ),
                ("name".into(), Value::from("https://hub.test")),
            ],
            body: Body::Value(body.into()),
            ..Message::default()
        };
        let delivery = self.send(100, &request).await;
        let disposition = self.disposition().await;
        assert_eq!((disposition.first, disposition.settled), (delivery, true));
        let (_, reply) = self.transfer().await;
        assert_eq!(reply.properties.correlation_id, Some(id));
        let Some(Value::Int(status)) = reply.application_property("status-code") else {
            panic!("no status")
        };
        let text = reply
            .application_property("status-description")
            .and_then(Value::as_text);
        (*status, text.expect("a description").to_owned())
    }

    /// Sends a message and returns its delivery id.
    pub(super) async fn send(&mut self, handle: u32, message: &Message) -> u32 {
        self.send_as(handle, message, None).await
    }

    /// Sends a message that is settled as it goes, and returns its delivery id.
    pub(super) async fn send_settled(&mut self, handle: u32, message: &Message) -> u32 {
        self.send_as(handle, message, Some(true)).await
    }

    async fn send_as(&mut self, handle: u32, message: &Message, settled: Option<bool>) -> u32 {
        let delivery = self.next_delivery;
        self.next_delivery += 1;
        let encoded = message.encode();
        let mut frames = encoded.chunks(FRAME_PAYLOAD_BYTES).peekable();
        while let Some(payload) = frames.next() {
            let transfer = Transfer {
                handle,
                delivery_id: Some(delivery),
                delivery_tag: DeliveryTag::new(&delivery.to_be_bytes()),
                message_format: Some(0),
                settled,
                more: frames.peek().is_some(),
                ..Transfer::default()
            };
            self.write_with(transfer, payload).await;
        }
        delivery
    }

    /// Attaches a link that is not used, whose echo shows that nothing came before it.
    pub(super) async fn assert_silent(&mut self) {
        let handle = 50;
        assert_eq!(self.attach(receiver(handle, "$cbs")).await.handle, handle);
        self.leave(handle).await;
    }

    /// Answers the detach of a link that the hub has detached.
    pub(super) async fn leave_quietly(&mut self, handle: u32) {
        let detach = Detach {
            handle,
            closed: true,
            error: None,
        };
        self.write(detach).await;
    }

    /// Detaches a link.
    pub(super) async fn leave(&mut self, handle: u32) {
        let detach = Detach {
            handle,
            closed: true,
            error: None,
        };
        self.write(detach).await;
        assert_eq!(self.detach().await.handle, handle);
    }

    /// Sends a message and returns what became of it.
    pub(super) async fn send_and_wait(&mut self, handle: u32, message: &Message) -> DeliveryState {
        let delivery = self.send(handle, message).await;
        let disposition = self.disposition().await;
        assert_eq!((disposition.first, disposition.settled), (delivery, true));
        disposition.state.expect("a state")
    }

    /// Tells the outcome of deliveries from the hub.
    pub(super) async fn settle(&mut self, delivery: u32, settled: bool, state: DeliveryState) {
        let disposition = Disposition {
            role: Role::Receiver,
            first: delivery,
            last: None,
            settled,
            state: Some(state),
        };
        self.write(disposition).await;
    }
}

pub(super) fn sender(handle: u32, address: &str) -> Attach {
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

pub(super) fn receiver(handle: u32, address: &str) -> Attach {
    Attach {
        name: format!("receiver-{handle}"),
        role: Role::Receiver,
        source: Some(Terminus::source(address)),
        target: None,
        initial_delivery_count: None,
        ..sender(handle, address)
    }
}

/// A message for a device, as Node sends it.
pub(super) fn command(device: &str, id: &str) -> Message {
    Message {
        properties: Properties {
            message_id: Some(id.into()),
            to: Some(format!("/devices/{device}/messages/devicebound")),
            content_type: Some(Symbol::from_static("text/plain")),
            ..Properties::default()
        },
        body: Body::Data(Bytes::copy_from_slice(id.as_bytes())),
        ..Message::default()
    }
}

/// Telemetry as Node sends it.
pub(super) fn telemetry(text: &str) -> Message {
    Message {
        body: Body::Data(Bytes::copy_from_slice(text.as_bytes())),
        ..Message::default()
    }
}

/// Returns the condition of a rejection.
#[track_caller]
pub(super) fn rejection(state: DeliveryState) -> String {
    match state {
        DeliveryState::Rejected(Some(error)) => {
            assert!(error.description.is_some());
            error.condition.into_string()
        }
        other => panic!("expected a rejection with its reason, got {other:?}"),
    }
}
