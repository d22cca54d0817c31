//! A device on the other end of a pipe, packet by packet.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use downlink_domain::device::Device;
use downlink_mqtt::packet::{
    ClientPacket, Connack, Connect, ConnectReturnCode, Delivery, FrameReader, PacketId, Publish,
    Qos, ServerPacket, Suback, SubackCode, Subscribe, SubscribeFilter,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

use crate::arrival::Arrival;
use crate::fakes::TestHub;

/// Room in each direction of a pipe, enough for a window of small messages.
const PIPE_BYTES: usize = 64 * 1024;

/// A client that keeps its own bytes and says what comes.
pub(super) struct Client {
    io: DuplexStream,
    frames: FrameReader,
    unread: BytesMut,
    /// Ends with the connection's task.
    pub(super) served: JoinHandle<()>,
}

pub(super) fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("tests use identifiers above zero")
}

/// The CONNECT of a device with a token that holds and a persistent session.
pub(super) fn connect_of(hub: &TestHub, device: &Device) -> Connect {
    let name = device.name.device.as_str();
    Connect::new(name)
        .with_username(format!("hub.test/{name}/?api-version=2021-04-12"))
        .with_password(hub.device_token(device))
}

impl Client {
    /// Opens a pipe to the door and sends nothing.
    pub(super) fn dial(hub: &TestHub) -> Self {
        Self::dial_with(hub, PIPE_BYTES)
    }

    /// Opens a pipe that holds no more than `pipe_bytes` in each direction.
    pub(super) fn dial_with(hub: &TestHub, pipe_bytes: usize) -> Self {
        Self::dial_through(hub, pipe_bytes, Arrival::over_tls(None))
    }

    /// Opens a pipe as what came that way.
    pub(super) fn dial_as(hub: &TestHub, arrival: Arrival) -> Self {
        Self::dial_through(hub, PIPE_BYTES, arrival)
    }

    #[expect(clippy::disallowed_methods, reason = "the test awaits the task itself")]
    fn dial_through(hub: &TestHub, pipe_bytes: usize, arrival: Arrival) -> Self {
        let (near, far) = tokio::io::duplex(pipe_bytes);
        let serving = super::super::serve(Arc::clone(&hub.shared), far, arrival);
        Self {
            io: near,
            frames: FrameReader::new(1 << 20),
            unread: BytesMut::new(),
            served: tokio::spawn(serving),
        }
    }

    /// Connects a device with a persistent session.
    pub(super) async fn connect(hub: &TestHub, device: &Device) -> (Self, Connack) {
        Self::connect_as(hub, connect_of(hub, device)).await
    }

    /// Connects with a CONNECT of the test's own.
    pub(super) async fn connect_as(hub: &TestHub, connect: Connect) -> (Self, Connack) {
        let mut client = Self::dial(hub);
        client.send(connect.into()).await;
        let connack = client.connack().await;
        (client, connack)
    }

    /// Connects and subscribes to messages at quality of service 1.
    pub(super) async fn listening(hub: &TestHub, device: &Device) -> Self {
        let (mut client, _) = Self::connect(hub, device).await;
        let filter = format!("devices/{}/messages/devicebound/#", device.name.device);
        client.subscribe(&filter, Qos::AtLeastOnce).await;
        client
    }

    pub(super) async fn send(&mut self, packet: ClientPacket) {
        let mut out = BytesMut::new();
        packet.encode(&mut out).expect("fields fit");
        self.send_bytes(&out).await;
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("the door reads");
    }

    /// Publishes at quality of service 0, or at 1 with this identifier.
    pub(super) async fn publish(&mut self, topic: &str, packet_id: Option<u16>, payload: &str) {
        let delivery = match packet_id {
            None => Delivery::AtMostOnce,
            Some(value) => Delivery::AtLeastOnce {
                packet_id: id(value),
                dup: false,
            },
        };
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let publish = Publish {
            topic: topic.to_owned(),
            delivery,
            retain: false,
            payload,
        };
        self.send(ClientPacket::Publish(publish)).await;
    }

    /// Subscribes and reads the SUBACK.
    pub(super) async fn subscribe(&mut self, filter: &str, qos: Qos) {
        let filters = vec![SubscribeFilter {
            filter: filter.to_owned(),
            qos,
        }];
        let subscribe = Subscribe {
            packet_id: id(77),
            filters,
        };
        self.send(ClientPacket::Subscribe(subscribe)).await;
        let codes = vec![SubackCode::Granted(qos.granted())];
        let suback = ServerPacket::Suback(Suback {
            packet_id: id(77),
            codes,
        });
        assert_eq!(self.next().await, Some(suback), "{filter}");
    }

    /// The next packet, or nothing when the door has closed.
    pub(super) async fn next(&mut self) -> Option<ServerPacket> {
        loop {
            let mut chunk = &self.unread[..];
            let frame = self
                .frames
                .next(&mut chunk)
                .expect("the door sends valid packets");
            let packet = frame.map(|frame| frame.into_server_packet().expect("valid packets"));
            let used = self.unread.len() - chunk.len();
            let _ = self.unread.split_to(used);
            if packet.is_some() {
                return packet;
            }
            if self
                .io
                .read_buf(&mut self.unread)
                .await
                .expect("the pipe holds")
                == 0
            {
                return None;
            }
        }
    }

    /// The next packet, which has to be a PUBLISH.
    pub(super) async fn next_publish(&mut self) -> Publish {
        match self.next().await {
            Some(ServerPacket::Publish(publish)) => publish,
            other => panic!("not a publish: {other:?}"),
        }
    }

    pub(super) async fn connack(&mut self) -> Connack {
        match self.next().await {
            Some(ServerPacket::Connack(connack)) => connack,
            other => panic!("not a connack: {other:?}"),
        }
    }

    /// Acknowledges a message.
    pub(super) async fn puback(&mut self, publish: &Publish) {
        let packet_id = publish.delivery.packet_id().expect("quality of service 1");
        self.send(ClientPacket::Puback(packet_id)).await;
    }

    /// Waits until everything sent so far has been looked at; there must be nothing else to read.
    pub(super) async fn settle_down(&mut self) {
        self.send(ClientPacket::Pingreq).await;
        assert_eq!(self.next().await, Some(ServerPacket::Pingresp));
    }

    /// Reads to the end, which has to come without a packet before it, and closes this side, too.
    pub(super) async fn expect_close(&mut self) {
        assert_eq!(self.next().await, None);
        self.close().await;
    }

    /// Says on the pipe that nothing follows. The door waits for that, so it still has its end.
    pub(super) async fn close(&mut self) {
        self.io.shutdown().await.expect("the door holds the pipe");
    }

    /// Everything that comes, byte by byte, until the door closes.
    pub(super) async fn read_to_close(mut self) -> Vec<u8> {
        let mut bytes = self.unread.to_vec();
        self.io
            .read_to_end(&mut bytes)
            .await
            .expect("the pipe holds");
        bytes
    }

    /// Says goodbye, closes the pipe and waits for the connection's task.
    pub(super) async fn disconnect(mut self) {
        self.send(ClientPacket::Disconnect).await;
        self.close().await;
        self.served.await.expect("serving does not panic");
    }

    /// Breaks the pipe and waits for the connection's task.
    pub(super) async fn vanish(self) {
        let Self { io, served, .. } = self;
        drop(io);
        served.await.expect("serving does not panic");
    }
}

pub(super) const ACCEPTED: Connack = Connack::Accepted {
    session_present: false,
};
pub(super) const RESUMED: Connack = Connack::Accepted {
    session_present: true,
};
pub(super) const NOT_AUTHORIZED: Connack = Connack::Refused(ConnectReturnCode::NotAuthorized);
pub(super) const UNAVAILABLE: Connack = Connack::Refused(ConnectReturnCode::ServerUnavailable);
