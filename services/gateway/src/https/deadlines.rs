//! Deadlines under the HTTP machinery, where it has none of its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes by which the HTTP version is known: the preface of HTTP/2.
const PREFACE_BYTES: usize = 24;

/// A stream whose first bytes must come in time, and whose every write must get on in time.
pub(crate) struct Guarded<S> {
    io: S,
    /// Bytes still to come before the first deadline no longer counts.
    awaited_bytes: usize,
    /// Runs while bytes are awaited.
    first_bytes: Option<Pin<Box<Sleep>>>,
    write_deadline: Duration,
    /// Runs while a write is stuck.
    write: Option<Pin<Box<Sleep>>>,
}

impl<S> Guarded<S> {
    pub(super) fn new(io: S, first_bytes: Duration, write_deadline: Duration) -> Self {
        Self {
            io,
            awaited_bytes: PREFACE_BYTES,
            first_bytes: Some(Box::pin(sleep(first_bytes))),
            write_deadline,
            write: None,
        }
    }

    /// Gives up the deadlines.
    pub(crate) fn into_inner(self) -> S {
        self.io
    }

    /// Arms the deadline while a write waits, disarms it when one got on.
    fn watch_write<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write = None;
            return outcome;
        }
        let deadline = self.write_deadline;
        let write = self.write.get_or_insert_with(|| Box::pin(sleep(deadline)));
        match write.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.io).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.awaited_bytes = self.awaited_bytes.saturating_sub(read);
        if self.awaited_bytes == 0 {
            self.first_bytes = None;
        }
        match &mut self.first_bytes {
            Some(first_bytes) if outcome.is_pending() => match first_bytes.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
            _ => outcome,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watch_write(context, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(context);
        self.watch_write(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(context);
        self.watch_write(context, outcome)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_nothing_is_given_up() {
        let (_peer, io) = duplex(64);
        let mut guarded = Guarded::new(io, SECOND, SECOND);
        let error = guarded.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_within_the_preface_is_given_up() {
        let (mut peer, io) = duplex(64);
        let mut guarded = Guarded::new(io, SECOND, SECOND);
        peer.write_all(b"PRI * HTTP/2").await.unwrap();
        let mut buffer = Vec::new();
        let error = guarded.read_to_end(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(buffer, b"PRI * HTTP/2");
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_first_bytes_reading_waits() {
        let (mut peer, io) = duplex(64);
        let mut guarded = Guarded::new(io, SECOND, SECOND);
        peer.write_all(&[7; PREFACE_BYTES]).await.unwrap();
        guarded.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
        let waiting = tokio::time::timeout(60 * SECOND, guarded.read_u8());
        assert!(waiting.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (_peer, io) = duplex(64);
        let mut guarded = Guarded::new(io, SECOND, SECOND);
        let error = guarded.write_all(&[7; 65]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_that_gets_on_is_not() {
        let (mut peer, io) = duplex(8);
        let mut guarded = Guarded::new(io, SECOND, SECOND);
        let slowly = async {
            for _ in 0..8 {
                tokio::time::sleep(SECOND * 9 / 10).await;
                peer.read_exact(&mut [0; 8]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(guarded.write_all(&[7; 64]), slowly);
        written.unwrap();
    }
}
