//! An AMQP client for load, failures and refusals: it asks for what it needs and passes over the rest.
//!
//! The SDKs prove elsewhere that the hub speaks AMQP as others do; this one shares the hub's codec
//! and costs little, so that what is measured is the hub.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use downlink_amqp::frame::{FrameType, ProtocolHeader, decode_body, parse_frame, write_frame};
use downlink_amqp::message::{Body, Message, MessageId, Properties};
use downlink_amqp::performative::{
    AmqpError, Attach, Begin, DeliveryState, DeliveryTag, Flow, Open, Performative, Role, Terminus,
    Transfer,
};
use downlink_amqp::types::{Encode as _, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

/// Longest silence of the hub while something is awaited.
const SILENCE: Duration = Duration::from_secs(20);
const MAX_FRAME_BYTES: u32 = 65_536;
const WINDOW: u32 = 5_000;
/// Handles of the `$cbs` pair.
const TOKENS: u32 = 0;
const TOKEN_REPLIES: u32 = 1;
/// Credit for replies, and for messages of a device as the Node SDK asks for it.
const CREDIT: u32 = 1_000;

/// A connection to the AMQP door.
pub struct Amqp {
    io: TlsStream<TcpStream>,
    received: BytesMut,
    /// Frames that are not written yet.
    out: Vec<u8>,
    pub(crate) next_token: u32,
    /// Transfer id that comes next, by channel.
    next_incoming: BTreeMap<u16, u32>,
    pub(crate) heard_at: Instant,
}

/// A performative, the channel it came on, and the payload behind it.
pub(crate) type Incoming = (u16, Performative, Bytes);

/// What the hub said about messages that were sent.
pub enum Answer {
    /// Room for so many messages in all since the link was attached.
    Room {
        /// How many have gone.
        delivery_count: u32,
        /// How many more may go.
        credit: u32,
    },
    /// So many messages were accepted.
    Accepted(u32),
}

impl Amqp {
    /// Opens without SASL, as Node does; the hub shall not be silent for `idle_time_out`
    /// milliseconds.
    ///
    /// # Errors
    /// The hub does not open.
    pub async fn open(
        io: TlsStream<TcpStream>,
        host: &str,
        idle_time_out: Option<u32>,
    ) -> anyhow::Result<Self> {
        let mut amqp = Self {
            io,
            received: BytesMut::new(),
            out: ProtocolHeader::Amqp.bytes().to_vec(),
            next_token: 0,
            next_incoming: BTreeMap::new(),
            heard_at: Instant::now(),
        };
        let open = Open {
            container_id: "load".to_owned(),
            hostname: Some(host.to_owned()),
            max_frame_size: MAX_FRAME_BYTES,
            channel_max: 8_191,
            idle_time_out,
        };
        amqp.put(0, &open.into(), &[]);
        amqp.flush().await?;
        while amqp.received.len() < ProtocolHeader::Amqp.bytes().len() {
            amqp.fill().await?;
        }
        let header = amqp.received.split_to(ProtocolHeader::Amqp.bytes().len());
        ensure!(header[..] == ProtocolHeader::Amqp.bytes(), "no AMQP header");
        match amqp.next().await? {
            Performative::Open(_) => Ok(amqp),
            other => bail!("not opened: {other:?}"),
        }
    }

    /// Begins a session.
    pub async fn begin(&mut self, channel: u16) -> anyhow::Result<()> {
        let begin = Begin {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: WINDOW,
            outgoing_window: WINDOW,
            handle_max: 255,
        };
        self.put(channel, &begin.into(), &[]);
        self.flush().await?;
        match self.next().await? {
            Performative::Begin(_) => Ok(()),
            other => bail!("no session: {other:?}"),
        }
    }

    /// Attaches the pair of links on which tokens are put, in session 0.
    pub async fn attach_tokens(&mut self) -> anyhow::Result<()> {
        let address = downlink_amqp::cbs::CBS_ADDRESS;
        self.attach(0, sender(TOKENS, address)).await?;
        self.attach(0, receiver(TOKEN_REPLIES, address)).await?;
        self.grant(0, TOKEN_REPLIES);
        Ok(())
    }

    /// Puts a token and waits until it is taken.
    pub(crate) async fn put_token(&mut self, token: &str) -> anyhow::Result<()> {
        let status = self.offer_token(token).await?;
        ensure!(status == 200, "token refused with {status}");
        Ok(())
    }

    /// Puts a token; the hub's status code.
    ///
    /// # Errors
    /// The hub does not answer.
    pub async fn offer_token(&mut self, token: &str) -> anyhow::Result<i32> {
        let number = self.next_token;
        self.next_token += 1;
        let mut body = Vec::new();
        token.encode(&mut body);
        let request = Message {
            properties: Properties {
                message_id: Some(MessageId::Ulong(u64::from(number))),
                ..Properties::default()
            },
            application_properties: vec![
                ("operation".to_owned(), Value::from("put-token")),
                (
                    "type".to_owned(),
                    Value::from("servicebus.windows.net:sastoken"),
                ),
            ],
            body: Body::Value(body.into()),
            ..Message::default()
        };
        self.put_message(0, TOKENS, number, &request.encode());
        self.flush().await?;
        loop {
            let (_, performative, payload) = self.next_frame().await?;
            let Performative::Transfer(_) = performative else {
                continue;
            };
            let reply = Message::decode(&payload)?;
            return match reply.application_property("status-code") {
                Some(Value::Int(status)) => Ok(*status),
                other => bail!("no status: {other:?}"),
            };
        }
    }

    /// Attaches a link.
    pub(crate) async fn attach(&mut self, channel: u16, attach: Attach) -> anyhow::Result<()> {
        let refused = self.ask_for(channel, attach).await?;
        ensure!(refused.is_none(), "link refused: {refused:?}");
        Ok(())
    }

    /// Asks for a link; the condition with which the hub refuses it.
    ///
    /// # Errors
    /// The hub does not answer.
    pub async fn ask_for(
        &mut self,
        channel: u16,
        attach: Attach,
    ) -> anyhow::Result<Option<String>> {
        self.put(channel, &attach.into(), &[]);
        self.flush().await?;
        let condition = |error: Option<AmqpError>| {
            let name = error.map(|error| error.condition.as_str().to_owned());
            Some(name.unwrap_or_default())
        };
        loop {
            match self.next().await? {
                Performative::Attach(echo) => {
                    let terminus = match echo.role {
                        Role::Sender => &echo.source,
                        Role::Receiver => &echo.target,
                    };
                    if terminus.is_some() {
                        return Ok(None);
                    }
                }
                Performative::Detach(detach) => return Ok(condition(detach.error)),
                Performative::End(end) => return Ok(condition(end.error)),
                Performative::Close(close) => return Ok(condition(close.error)),
                _ => {}
            }
        }
    }

    /// Grants the hub credit on a link.
    pub(crate) fn grant(&mut self, channel: u16, handle: u32) {
        self.grant_again(channel, handle, 0, CREDIT);
    }

    /// The same, when `delivery_count` messages have come already.
    pub(crate) fn grant_again(
        &mut self,
        channel: u16,
        handle: u32,
        delivery_count: u32,
        credit: u32,
    ) {
        let flow = Flow {
            next_incoming_id: self.next_incoming.get(&channel).copied(),
            incoming_window: WINDOW,
            outgoing_window: WINDOW,
            handle: Some(handle),
            delivery_count: Some(delivery_count),
            link_credit: Some(credit),
            ..Flow::default()
        };
        self.put(channel, &flow.into(), &[]);
    }

    /// Puts a message into the output.
    pub(crate) fn put_message(&mut self, channel: u16, handle: u32, delivery: u32, message: &[u8]) {
        let transfer = Transfer {
            handle,
            delivery_id: Some(delivery),
            delivery_tag: DeliveryTag::new(&delivery.to_be_bytes()),
            message_format: Some(0),
            ..Transfer::default()
        };
        self.put(channel, &transfer.into(), message);
    }

    /// The next word on messages that were sent on a link.
    pub(crate) async fn answer(&mut self, handle: u32) -> anyhow::Result<Answer> {
        loop {
            match self.next().await? {
                Performative::Flow(flow) if flow.handle == Some(handle) => {
                    return Ok(Answer::Room {
                        delivery_count: flow.delivery_count.unwrap_or_default(),
                        credit: flow.link_credit.unwrap_or_default(),
                    });
                }
                Performative::Disposition(disposition) => {
                    ensure!(
                        disposition.settled && disposition.state == Some(DeliveryState::Accepted),
                        "refused: {:?}",
                        disposition.state
                    );
                    let last = disposition.last.unwrap_or(disposition.first);
                    return Ok(Answer::Accepted(last - disposition.first + 1));
                }
                Performative::Detach(detach) => bail!("detached: {:?}", detach.error),
                Performative::End(end) => bail!("ended: {:?}", end.error),
                Performative::Close(close) => bail!("closed: {:?}", close.error),
                _ => {}
            }
        }
    }

    /// Writes what was put into the output.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        if !self.out.is_empty() {
            timeout(SILENCE, self.io.write_all(&self.out)).await??;
            self.out.clear();
        }
        Ok(())
    }

    pub(crate) fn put(&mut self, channel: u16, performative: &Performative, payload: &[u8]) {
        write_frame(&mut self.out, FrameType::Amqp, channel, |out| {
            performative.encode(out);
            out.extend_from_slice(payload);
        });
    }

    /// Shows the hub that this client is there.
    pub(crate) fn put_heartbeat(&mut self) {
        write_frame(&mut self.out, FrameType::Amqp, 0, |_| {});
    }

    pub(crate) async fn next(&mut self) -> anyhow::Result<Performative> {
        Ok(self.next_frame().await?.1)
    }

    /// The next frame. Cancel-safe: what was read stays.
    pub(crate) async fn next_frame(&mut self) -> anyhow::Result<Incoming> {
        loop {
            if let Some(frame) = self.read_frame()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// The next frame that has come whole.
    pub(crate) fn read_frame(&mut self) -> anyhow::Result<Option<Incoming>> {
        while let Some(frame) = parse_frame(&self.received, MAX_FRAME_BYTES)? {
            let (size, channel) = (frame.size, frame.channel);
            let decoded = decode_body(frame.body)?;
            let decoded = decoded.map(|(body, payload)| (body, Bytes::copy_from_slice(payload)));
            let _ = self.received.split_to(size);
            let Some((performative, payload)) = decoded else {
                continue;
            };
            if let Performative::Begin(begin) = &performative {
                self.next_incoming.insert(channel, begin.next_outgoing_id);
            } else if let Performative::Transfer(_) = performative
                && let Some(id) = self.next_incoming.get_mut(&channel)
            {
                *id = id.wrapping_add(1);
            }
            return Ok(Some((channel, performative, payload)));
        }
        Ok(None)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let read = timeout(SILENCE, self.io.read_buf(&mut self.received));
        let count = read.await.context("the hub is silent")??;
        ensure!(count > 0, "closed");
        self.heard_at = Instant::now();
        Ok(())
    }
}

/// A link on which messages go to the hub.
pub fn sender(handle: u32, address: &str) -> Attach {
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

/// A link on which messages come from the hub.
pub fn receiver(handle: u32, address: &str) -> Attach {
    Attach {
        name: format!("receiver-{handle}"),
        role: Role::Receiver,
        source: Some(Terminus::source(address)),
        target: None,
        initial_delivery_count: None,
        ..sender(handle, address)
    }
}
