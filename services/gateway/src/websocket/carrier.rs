//! The connection below the frames, as tungstenite is to see it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads first what came behind the handshake, and keeps a failure to write from those that read.
///
/// Tungstenite answers pings while it reads, and gives up reading where the answer does not leave. A client may be gone
/// that left something to read, so here a write that fails is said to have succeeded; [`Self::check`] tells the writer.
#[derive(Debug)]
pub(super) struct Carrier<S> {
    io: S,
    /// What came behind the handshake.
    early: Bytes,
    failure: Option<io::ErrorKind>,
}

impl<S> Carrier<S> {
    pub(super) fn new(io: S, early: Bytes) -> Self {
        let mut carrier = Self {
            io,
            early,
            failure: None,
        };
        carrier.give_back();
        carrier
    }

    /// Whether everything was written so far.
    ///
    /// # Errors
    /// The first failure to write.
    pub(super) fn check(&self) -> io::Result<()> {
        self.failure.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// An empty slice would keep the buffer that it was cut from.
    fn give_back(&mut self) {
        if self.early.is_empty() {
            self.early = Bytes::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Carrier<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let here = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..here]);
        self.early.advance(here);
        self.give_back();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Carrier<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.failure.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let failure = match Pin::new(&mut self.io).poll_write(cx, bytes) {
            Poll::Ready(Ok(0)) if !bytes.is_empty() => io::ErrorKind::WriteZero,
            Poll::Ready(Err(error)) => error.kind(),
            other => return other,
        };
        self.failure = Some(failure);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.failure.is_some() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(outcome) = Pin::new(&mut self.io).poll_flush(cx) {
            self.failure = outcome.err().map(|error| error.kind());
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_write_that_fails_is_kept_for_the_writer_and_reading_goes_on() {
        let (mut peer, far) = duplex(16);
        peer.write_all(b"def").await.unwrap();
        drop(peer);
        let mut carrier = Carrier::new(far, Bytes::from_static(b"abc"));
        carrier.check().unwrap();
        carrier.write_all(b"there?").await.unwrap();
        carrier.flush().await.unwrap();
        let failure = carrier.check().unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::BrokenPipe);
        let mut all = Vec::new();
        carrier.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"abcdef");
    }
}
