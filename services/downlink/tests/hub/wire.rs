//! Clients of the doors, as little as the tests need.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_amqp::cbs::CBS_ADDRESS;
use downlink_amqp::frame::{FrameType, ProtocolHeader, decode_body, parse_frame, write_frame};
use downlink_amqp::message::{Body, Message, MessageId, Properties};
use downlink_amqp::performative::{
    Attach, Begin, DeliveryState, DeliveryTag, Flow, Open, Performative, Role, Terminus, Transfer,
};
use downlink_amqp::types::{Encode as _, Value};
use downlink_auth::sign;
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::support::PATIENCE;

type Io = TlsStream<TcpStream>;

/// A key of a connection string.
pub fn key_of(connection_string: &str) -> Vec<u8> {
    let (_, key) = connection_string
        .split_once("SharedAccessKey=")
        .expect("a key");
    STANDARD.decode(key).expect("a key is base64")
}

/// A token for `scope` that is good for an hour, or was until an hour ago.
pub fn token(scope: &str, key: &[u8], policy: Option<&str>, is_good: bool) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the hub at the other end reads this machine's clock"
    )]
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let now = i64::try_from(now.as_secs()).expect("before the year 292 billion");
    let expiry = if is_good { now + 3_600 } else { now - 3_600 };
    sign(scope, key, expiry, policy)
}

/// Makes one request and returns status and body.
pub async fn ask(
    mut io: Io,
    (method, path): (&str, &str),
    (host, authorization): (&str, &str),
    body: &str,
) -> (u16, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\nContent-Type: \
         application/json\r\nIf-Match: \"*\"\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let request = match method {
        "PUT" => request.replace("If-Match: \"*\"\r\n", ""),
        _ => request,
    };
    io.write_all(request.as_bytes())
        .await
        .expect("the hub reads");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, io.read_to_end(&mut answer)).await;
    // A close without the end of TLS is none of this test's matter.
    let _ = read.expect("an answer in time");
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status line");
    (status.parse().expect("a status"), body.to_owned())
}

/// The body of a new device with keys of the hub's choice.
pub fn new_device(id: &str) -> String {
    serde_json::json!({ "deviceId": id, "status": "enabled" }).to_string()
}

/// The primary key in the answer about a device.
pub fn primary_key(device: &str) -> Vec<u8> {
    let device: Json = serde_json::from_str(device).expect("json");
    let key = &device["authentication"]["symmetricKey"]["primaryKey"];
    STANDARD
        .decode(key.as_str().expect("a key"))
        .expect("base64")
}

/// A device over MQTT 3.1.1.
pub struct Mqtt {
    io: Io,
}

impl Mqtt {
    /// Connects; returns the code of the CONNACK too.
    pub async fn connect(mut io: Io, host: &str, device: &str, token: &str) -> (Self, u8) {
        let user = format!("{host}/{device}/?api-version=2021-04-12");
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0010, 0, 240];
        for text in [device, &user, token] {
            push_text(&mut body, text);
        }
        io.write_all(&packet(0x10, &body))
            .await
            .expect("the hub reads");
        let mut device = Self { io };
        let (kind, body) = device.next().await;
        assert_eq!(kind, 0x20);
        (device, body[1])
    }

    /// Subscribes to messages of the cloud.
    pub async fn subscribe(&mut self, device: &str) {
        let mut body = vec![0, 1];
        push_text(
            &mut body,
            &format!("devices/{device}/messages/devicebound/#"),
        );
        body.push(0);
        self.io
            .write_all(&packet(0x82, &body))
            .await
            .expect("the hub reads");
        assert_eq!(self.next().await, (0x90, vec![0, 1, 0]));
    }

    /// The next packet: its first byte and what stands behind its length.
    pub async fn next(&mut self) -> (u8, Vec<u8>) {
        let reading = async {
            let kind = self.io.read_u8().await?;
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let byte = self.io.read_u8().await?;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.io.read_exact(&mut body).await?;
            Ok::<_, std::io::Error>((kind, body))
        };
        timeout(PATIENCE, reading)
            .await
            .expect("in time")
            .expect("a packet")
    }

    /// Tells whether the hub still answers.
    pub async fn ping(&mut self) {
        self.io.write_all(&[0xc0, 0]).await.expect("the hub reads");
        assert_eq!(self.next().await, (0xd0, vec![]));
    }

    /// Waits until the hub closes.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.io.read_to_end(&mut rest)).await;
        let _ = read.expect("the hub closes");
    }
}

fn push_text(body: &mut Vec<u8>, text: &str) {
    body.extend(
        u16::try_from(text.len())
            .expect("a short text")
            .to_be_bytes(),
    );
    body.extend(text.as_bytes());
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length & 0x7f).expect("seven bits");
        length >>= 7;
        packet.push(byte | if length > 0 { 0x80 } else { 0 });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// A back-end over AMQP 1.0, without SASL, with its token on the `$cbs` pair.
pub struct Amqp {
    io: Io,
    received: Vec<u8>,
}

const MAX_FRAME_BYTES: u32 = 65_536;

impl Amqp {
    /// Opens a connection and a session.
    pub async fn open(mut io: Io, host: &str) -> Self {
        let header = ProtocolHeader::Amqp.bytes();
        io.write_all(&header).await.expect("the hub reads");
        let mut answered = [0; 8];
        let read = timeout(PATIENCE, io.read_exact(&mut answered)).await;
        read.expect("in time").expect("a header");
        assert_eq!(answered, header);
        let mut amqp = Self {
            io,
            received: Vec::new(),
        };
        let open = Open {
            container_id: "test".to_owned(),
            hostname: Some(host.to_owned()),
            max_frame_size: MAX_FRAME_BYTES,
            channel_max: 1,
            idle_time_out: None,
        };
        amqp.put(&open.into(), &[]).await;
        assert!(matches!(amqp.next().await.0, Performative::Open(_)));
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 100,
            outgoing_window: 100,
            handle_max: 255,
        };
        amqp.put(&begin.into(), &[]).await;
        assert!(matches!(amqp.next().await.0, Performative::Begin(_)));
        amqp
    }

    /// Puts a token and returns the status of the answer.
    pub async fn put_token(&mut self, audience: &str, token: &str) -> i32 {
        self.attach(sender(0, CBS_ADDRESS))
            .await
            .expect("anybody may");
        self.attach(receiver(1, CBS_ADDRESS))
            .await
            .expect("anybody may");
        let flow = Flow {
            next_incoming_id: Some(0),
            incoming_window: 100,
            outgoing_window: 100,
            handle: Some(1),
            delivery_count: Some(0),
            link_credit: Some(10),
            ..Flow::default()
        };
        self.put(&flow.into(), &[]).await;
        let mut body = Vec::new();
        token.encode(&mut body);
        let pair = |name: &str, value: &str| (name.to_owned(), Value::from(value));
        let request = Message {
            properties: Properties {
                message_id: Some(MessageId::Ulong(1)),
                ..Properties::default()
            },
            application_properties: vec![
                pair("operation", "put-token"),
                pair("type", "servicebus.windows.net:sastoken"),
                pair("name", audience),
            ],
            body: Body::Value(body.into()),
            ..Message::default()
        };
        self.transfer(0, 0, &request).await;
        loop {
            let (performative, payload) = self.next().await;
            if let Performative::Transfer(_) = performative {
                let reply = Message::decode(&payload.into()).expect("a message");
                match reply.application_property("status-code") {
                    Some(Value::Int(status)) => return *status,
                    other => panic!("no status: {other:?}"),
                }
            }
        }
    }

    /// Attaches the link for messages to devices.
    ///
    /// # Errors
    /// When the hub detaches it.
    pub async fn attach_commands(&mut self) -> Result<(), String> {
        self.attach(sender(2, "/messages/devicebound")).await
    }

    /// Sends a message to a device and waits until it is accepted.
    pub async fn send(&mut self, device: &str, body: &'static [u8]) {
        let message = Message {
            properties: Properties {
                to: Some(format!("/devices/{device}/messages/devicebound")),
                ..Properties::default()
            },
            body: Body::Data(body.into()),
            ..Message::default()
        };
        self.transfer(2, 1, &message).await;
        loop {
            // What the hub says of the token's message comes first, if at all.
            if let Performative::Disposition(said) = self.next().await.0
                && said.role == Role::Receiver
                && said.first <= 1
                && said.last.unwrap_or(said.first) >= 1
            {
                assert_eq!(said.state, Some(DeliveryState::Accepted));
                return;
            }
        }
    }

    async fn attach(&mut self, attach: Attach) -> Result<(), String> {
        self.put(&attach.into(), &[]).await;
        loop {
            match self.next().await.0 {
                Performative::Attach(echo) => {
                    let terminus = match echo.role {
                        Role::Sender => &echo.source,
                        Role::Receiver => &echo.target,
                    };
                    if terminus.is_some() {
                        return Ok(());
                    }
                }
                Performative::Detach(detach) => return Err(format!("{:?}", detach.error)),
                Performative::End(end) => return Err(format!("{:?}", end.error)),
                Performative::Close(close) => return Err(format!("{:?}", close.error)),
                _ => {}
            }
        }
    }

    async fn transfer(&mut self, handle: u32, delivery: u32, message: &Message) {
        let transfer = Transfer {
            handle,
            delivery_id: Some(delivery),
            delivery_tag: DeliveryTag::new(&delivery.to_be_bytes()),
            message_format: Some(0),
            ..Transfer::default()
        };
        self.put(&transfer.into(), &message.encode()).await;
    }

    async fn put(&mut self, performative: &Performative, payload: &[u8]) {
        let mut out = Vec::new();
        write_frame(&mut out, FrameType::Amqp, 0, |out| {
            performative.encode(out);
            out.extend_from_slice(payload);
        });
        self.io.write_all(&out).await.expect("the hub reads");
    }

    async fn next(&mut self) -> (Performative, Vec<u8>) {
        loop {
            if let Some(frame) = parse_frame(&self.received, MAX_FRAME_BYTES).expect("a frame") {
                let size = frame.size;
                let decoded = decode_body(frame.body).expect("a performative");
                let decoded = decoded.map(|(body, payload)| (body, payload.to_vec()));
                self.received.drain(..size);
                if let Some(decoded) = decoded {
                    return decoded;
                }
                continue;
            }
            let read = timeout(PATIENCE, self.io.read_buf(&mut self.received)).await;
            assert_ne!(read.expect("in time").expect("a frame"), 0, "closed");
        }
    }
}

fn sender(handle: u32, address: &str) -> Attach {
    Attach {
        name: format!("link-{handle}"),
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

fn receiver(handle: u32, address: &str) -> Attach {
    Attach {
        role: Role::Receiver,
        source: Some(Terminus::source(address)),
        target: None,
        initial_delivery_count: None,
        ..sender(handle, address)
    }
}

/// Reads an identity over gRPC and returns the status code of the call.
pub async fn get_over_grpc(io: Io, authorization: &str, device_id: &str) -> tonic::Code {
    let io = std::sync::Mutex::new(Some(io));
    let connector = tower::service_fn(move |_| {
        let io = io.lock().expect("nobody panics with it").take();
        let io = io.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
        std::future::ready(io.map(hyper_util::rt::TokioIo::new))
    });
    let endpoint = tonic::transport::Endpoint::from_static("https://localhost");
    let channel = endpoint
        .connect_with_connector(connector)
        .await
        .expect("a preface");
    let mut request = tonic::Request::new(downlink_proto::api::v1::GetDeviceRequest {
        device_id: device_id.to_owned(),
    });
    let value = authorization.parse().expect("a header's value");
    request.metadata_mut().insert("authorization", value);
    let mut client = downlink_proto::api::v1::registry_client::RegistryClient::new(channel);
    match timeout(PATIENCE, client.get(request))
        .await
        .expect("in time")
    {
        Ok(_) => tonic::Code::Ok,
        Err(status) => status.code(),
    }
}
