//! A client of the MQTT door.

use std::time::Duration;

use anyhow::ensure;
use bytes::BytesMut;
use downlink_mqtt::packet::{ClientPacket, Frame, FrameReader, ServerPacket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

const MAX_PACKET_BYTES: usize = 1024 * 1024;

/// A connection to the door.
pub struct Mqtt {
    io: TlsStream<TcpStream>,
    frames: FrameReader,
    unread: BytesMut,
    pub(crate) heard_at: Instant,
    patience: Duration,
}

impl Mqtt {
    /// Speaks MQTT on a connection; one packet may take `patience` to be written.
    pub fn over(io: TlsStream<TcpStream>, patience: Duration) -> Self {
        Self {
            io,
            frames: FrameReader::new(MAX_PACKET_BYTES),
            unread: BytesMut::new(),
            heard_at: Instant::now(),
            patience,
        }
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// The hub does not take it.
    pub async fn send(&mut self, packet: &ClientPacket) -> anyhow::Result<()> {
        let mut out = BytesMut::new();
        packet.encode(&mut out)?;
        timeout(self.patience, self.io.write_all(&out)).await??;
        Ok(())
    }

    /// The next packet. Cancel-safe: what was read stays.
    ///
    /// # Errors
    /// The hub closed the connection or does not speak MQTT.
    pub async fn next(&mut self) -> anyhow::Result<ServerPacket> {
        loop {
            let mut chunk = &self.unread[..];
            let frame = self.frames.next(&mut chunk)?;
            let packet = frame.map(Frame::into_server_packet).transpose()?;
            let used = self.unread.len() - chunk.len();
            let _ = self.unread.split_to(used);
            if let Some(packet) = packet {
                return Ok(packet);
            }
            ensure!(self.io.read_buf(&mut self.unread).await? > 0, "closed");
            self.heard_at = Instant::now();
        }
    }
}
