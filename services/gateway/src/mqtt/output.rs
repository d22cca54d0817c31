//! What waits to be written to one connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use downlink_mqtt::EncodeError;
use downlink_mqtt::packet::{Delivery, encode_publish_head};
use tokio::io::AsyncWrite;
use tokio::time::Instant;

/// Payloads up to this size are copied behind their head: cheaper than a segment of their own.
const COPIED_PAYLOAD_BYTES: usize = 1024;
/// Most segments handed to one write.
const SLICES: usize = 16;

/// Bytes on their way out, bounded: above the bound [`Output::has_room`] says so, and the connection makes no
/// more until some have been written. One packet may go over it. Memory is let go when all is written.
#[derive(Debug)]
pub(super) struct Output {
    segments: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: usize,
    max_bytes: usize,
    needs_flush: bool,
    blocked_since: Option<Instant>,
}

impl Output {
    /// Makes an empty queue with room for `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            segments: VecDeque::new(),
            tail: BytesMut::new(),
            bytes: 0,
            max_bytes,
            needs_flush: false,
            blocked_since: None,
        }
    }

    /// Returns whether more may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.max_bytes
    }

    /// Returns whether the stream has taken all that was queued.
    pub(super) fn is_written(&self) -> bool {
        self.bytes == 0 && !self.needs_flush
    }

    /// Returns since when the peer has taken nothing of what waits for it.
    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// Queues what `write` appends.
    pub(super) fn append<T>(&mut self, write: impl FnOnce(&mut BytesMut) -> T) -> T {
        let before = self.tail.len();
        let outcome = write(&mut self.tail);
        self.bytes += self.tail.len() - before;
        outcome
    }

    /// Queues a PUBLISH; a large payload is not copied.
    ///
    /// # Errors
    /// [`EncodeError`] when it does not fit MQTT's lengths; nothing is queued then.
    pub(super) fn publish(
        &mut self,
        topic: &str,
        delivery: Delivery,
        payload: Bytes,
    ) -> Result<(), EncodeError> {
        self.append(|tail| encode_publish_head(topic, delivery, payload.len(), tail))?;
        if payload.len() <= COPIED_PAYLOAD_BYTES {
            self.append(|tail| tail.extend_from_slice(&payload));
        } else {
            self.seal_tail();
            self.bytes += payload.len();
            self.segments.push_back(payload);
        }
        Ok(())
    }

    /// Writes as much as the peer takes; ready when all is written and flushed.
    ///
    /// # Errors
    /// The stream's.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.seal_tail();
        let outcome = self.poll_write_sealed(io, cx);
        if outcome.is_pending() {
            self.blocked_since.get_or_insert_with(Instant::now);
        } else {
            self.blocked_since = None;
        }
        outcome
    }

    fn poll_write_sealed<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.segments.is_empty() {
            let written = ready!(self.poll_write_slices(io, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.needs_flush = true;
            self.blocked_since = None;
            self.consume(written);
        }
        if self.needs_flush {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_slices<S: AsyncWrite + Unpin>(
        &self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for (slice, segment) in slices.iter_mut().zip(&self.segments) {
            *slice = IoSlice::new(segment);
            count += 1;
        }
        Pin::new(io).poll_write_vectored(cx, &slices[..count])
    }

    fn consume(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(front) = self.segments.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.segments.pop_front();
        }
        self.segments = VecDeque::new();
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.segments
                .push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use downlink_mqtt::packet::PacketId;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn poll<S: AsyncWrite + Unpin>(output: &mut Output, io: &mut S) -> Poll<io::Result<()>> {
        output.poll_write(io, &mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn packets_leave_in_order_whatever_their_size() {
        let mut output = Output::new(1024);
        let delivery = Delivery::AtLeastOnce {
            packet_id: PacketId::FIRST,
            dup: false,
        };
        let large = Bytes::from(vec![7; 5000]);
        output
            .publish("a", Delivery::AtMostOnce, Bytes::from_static(b"small"))
            .unwrap();
        output.publish("b", delivery, large.clone()).unwrap();
        output.append(|tail| tail.extend_from_slice(b"end"));
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        assert!(matches!(poll(&mut output, &mut near), Poll::Ready(Ok(()))));
        drop(near);
        let mut written = Vec::new();
        far.read_to_end(&mut written).await.unwrap();
        let mut expected = b"\x30\x08\0\x01asmall\x32\x8D\x27\0\x01b\0\x01".to_vec();
        expected.extend_from_slice(&large);
        expected.extend_from_slice(b"end");
        assert_eq!(written, expected);
        assert!(output.has_room());
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_noticed_and_progress_is_counted() {
        let mut output = Output::new(10);
        output.append(|tail| tail.extend_from_slice(&[1; 100]));
        assert!(!output.has_room());
        let (mut near, mut far) = tokio::io::duplex(40);
        assert!(poll(&mut output, &mut near).is_pending());
        let first = output.blocked_since().unwrap();
        assert!(poll(&mut output, &mut near).is_pending());
        assert_eq!(
            output.blocked_since(),
            Some(first),
            "no progress, no new time"
        );
        let mut taken = [0; 40];
        far.read_exact(&mut taken).await.unwrap();
        assert!(poll(&mut output, &mut near).is_pending());
        assert!(output.blocked_since().unwrap() >= first);
        far.read_exact(&mut taken).await.unwrap();
        assert!(poll(&mut output, &mut near).is_ready());
        assert_eq!(output.blocked_since(), None);
        assert!(output.has_room());
    }

    #[test]
    fn a_packet_that_does_not_fit_leaves_nothing_behind() {
        let mut output = Output::new(10);
        let topic = "t".repeat(70_000);
        assert!(
            output
                .publish(&topic, Delivery::AtMostOnce, Bytes::new())
                .is_err()
        );
        assert_eq!(output.bytes, 0);
        assert!(output.has_room());
    }
}
