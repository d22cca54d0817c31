//! A client of the HTTPS door, one request after the other on one connection.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// Longest silence of the hub while an answer is awaited.
const SILENCE: Duration = Duration::from_secs(20);

/// A connection to the door.
pub struct Rest {
    io: TlsStream<TcpStream>,
    received: BytesMut,
    host: String,
}

/// What the hub answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The lines above the body.
    pub head: String,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The value of a header, named in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Rest {
    /// Speaks HTTP/1.1 on a connection to `host`.
    pub fn over(io: TlsStream<TcpStream>, host: &str) -> Self {
        Self {
            io,
            received: BytesMut::new(),
            host: host.to_owned(),
        }
    }

    /// Makes a request; `credential` is the value of `Authorization`, none when it is empty.
    ///
    /// # Errors
    /// The hub says nothing for twenty seconds, closes, or does not speak HTTP.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        credential: &str,
        body: &str,
    ) -> anyhow::Result<Answer> {
        let (host, length) = (&self.host, body.len());
        let authorization = match credential {
            "" => String::new(),
            credential => format!("Authorization: {credential}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
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
        let head = std::str::from_utf8(&head)?.to_owned();
        let status = head.split(' ').nth(1).context("a status line")?;
        let mut answer = Answer {
            status: status.parse()?,
            head,
            body: Bytes::new(),
        };
        let length = answer.header("content-length").map_or(Ok(0), str::parse)?;
        while self.received.len() < length {
            self.fill().await?;
        }
        answer.body = self.received.split_to(length).freeze();
        Ok(answer)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let read = timeout(SILENCE, self.io.read_buf(&mut self.received));
        let count = read.await.context("the hub is silent")??;
        ensure!(count > 0, "closed");
        Ok(())
    }
}
