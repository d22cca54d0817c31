//! A client of the HTTPS door, one request after the other on one connection.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::Access;

/// Longest silence of the hub while an answer is awaited.
const SILENCE: Duration = Duration::from_secs(20);

pub(super) struct Rest {
    io: TlsStream<TcpStream>,
    received: BytesMut,
    /// Lines of the head that every request has.
    common: String,
}

impl Rest {
    pub(super) async fn connect(access: &Access, turn: usize) -> anyhow::Result<Self> {
        let address = access.door(turn, 443);
        let io = access.trust.connect(address, &access.host, None).await?;
        let common = format!(
            "Host: {}\r\nAuthorization: {}\r\nContent-Type: application/json\r\n",
            access.host,
            access.token()
        );
        Ok(Self {
            io,
            received: BytesMut::new(),
            common,
        })
    }

    /// Makes a request and returns the status of its answer, whose body is read and dropped.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
    ) -> anyhow::Result<u16> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{}Content-Length: {length}\r\n\r\n{body}",
            self.common
        );
        timeout(SILENCE, self.io.write_all(request.as_bytes())).await??;
        let head_bytes = loop {
            let end = self.received.windows(4).position(|end| end == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.fill().await?,
            }
        };
        let head = self.received.split_to(head_bytes);
        let head = std::str::from_utf8(&head)?.to_ascii_lowercase();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.context("a status line")?.parse()?;
        let length = lines
            .find_map(|line| line.strip_prefix("content-length:"))
            .map_or(Ok(0), |length| length.trim().parse::<usize>())?;
        while self.received.len() < length {
            self.fill().await?;
        }
        let _ = self.received.split_to(length);
        Ok(status)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let read = timeout(SILENCE, self.io.read_buf(&mut self.received));
        let count = read.await.context("the hub is silent")??;
        ensure!(count > 0, "closed");
        Ok(())
    }
}
