//! A stream of bytes inside the binary frames of a WebSocket.
//!
//! Nothing is kept for a connection but where in a frame it stands: what is read is unmasked where the reader wants
//! it, and what is written goes out behind a head of four bytes at most. Pings are answered between frames of data,
//! the latest one where several wait; writing waits for such an answer, so nothing piles up.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::frame::{ControlPayload, Decoder, Head, Opcode, Standing};

/// Most bytes in one frame: with its head they fill one TLS record, so that a client that reads record by record
/// finds whole frames (proton-j takes a head for granted once two bytes of it are there).
const MAX_PAYLOAD_BYTES: u16 = 16 * 1024 - 4;
/// How long the client's Close is waited for after ours.
const CLOSE_PATIENCE: Duration = Duration::from_millis(1500);
/// Reads without payload after which other tasks of the thread get their turn.
const READS_PER_POLL: usize = 32;
/// Most segments handed to one write, the head included.
const SLICES: usize = 17;
/// Close codes (RFC 6455 §7.4.1).
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;

/// The server's end of a WebSocket as a stream of bytes.
///
/// Reading ends at the client's Close, which is answered then, or at the end of the connection. A frame that breaks
/// the rules is answered with a Close that says why, and fails the read. Shutting down sends Close, waits
/// [`CLOSE_PATIENCE`] for the client's, and shuts the connection down; a Close cannot be sent where a write was left
/// off in the middle of a frame. Afterwards reading yields whatever comes behind the frames, such as the last record of
/// TLS, up to the end of the connection: only a reader that drops it reads on.
#[derive(Debug)]
pub(crate) struct WebSocketStream<S> {
    io: S,
    /// What came behind the handshake.
    early: Bytes,
    decoder: Decoder,
    /// What is left of the head of the frame being written.
    head: Head,
    /// Bytes that the frame being written still lacks.
    owed: u16,
    /// The control frame being written.
    control: Option<Box<Outgoing>>,
    /// The one after it.
    next_control: Option<Box<Outgoing>>,
    is_flush_due: bool,
    has_closed: bool,
    farewell: Farewell,
    /// Whether nothing is written any more, and what is read is no frame.
    is_shut: bool,
    /// Cancelled when the gateway goes away.
    drain: CancellationToken,
}

/// A control frame on its way out.
#[derive(Debug)]
struct Outgoing {
    head: Head,
    payload: ControlPayload,
    written: usize,
}

/// How far shutting down has come.
#[derive(Debug)]
enum Farewell {
    Unsaid,
    Said,
    Awaited(Pin<Box<Sleep>>),
    Over,
}

impl Outgoing {
    fn new(opcode: Opcode, payload: ControlPayload) -> Box<Self> {
        let len = u16::try_from(payload.as_bytes().len()).unwrap_or(u16::MAX);
        Box::new(Self {
            head: Head::new(opcode, len),
            payload,
            written: 0,
        })
    }

    fn left(&self) -> [&[u8]; 2] {
        let payload = self.payload.as_bytes().get(self.written..);
        [self.head.left(), payload.unwrap_or_default()]
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Begins behind the handshake on `io`, of which `early` has been read already. `drain` is cancelled when the
    /// gateway goes away, which a Close then says.
    pub(crate) fn new(io: S, early: Bytes, drain: CancellationToken) -> Self {
        Self {
            io,
            // An empty slice would keep the buffer that it was cut from.
            early: if early.is_empty() {
                Bytes::new()
            } else {
                early
            },
            decoder: Decoder::new(),
            head: Head::NONE,
            owed: 0,
            control: None,
            next_control: None,
            is_flush_due: false,
            has_closed: false,
            farewell: Farewell::Unsaid,
            is_shut: false,
            drain,
        }
    }

    /// Queues a control frame; one that waits and has not been begun gives way to it.
    fn queue(&mut self, opcode: Opcode, payload: ControlPayload) {
        if self.has_closed {
            return;
        }
        self.has_closed = opcode == Opcode::Close;
        let frame = Outgoing::new(opcode, payload);
        match &self.control {
            Some(begun) if !begun.head.is_whole() => self.next_control = Some(frame),
            _ => self.control = Some(frame),
        }
    }

    fn queue_close(&mut self, code: Option<u16>) {
        self.queue(Opcode::Close, ControlPayload::of_close(code));
    }

    /// Writes the control frames that wait. They have no place inside a frame of data.
    fn poll_control(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.owed == 0
            && let Some(frame) = &mut self.control
        {
            let slices = frame.left().map(IoSlice::new);
            let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_flush_due = true;
            frame.written += frame.head.advance(written);
            if frame.left().iter().all(|left| left.is_empty()) {
                self.control = self.next_control.take();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends as much of the answers to control frames as the peer takes at once.
    fn answer(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let _ = self.poll_control(cx)?;
        if self.is_flush_due && Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
            self.is_flush_due = false;
        }
        Ok(())
    }

    /// Reads into `buffer` once and takes it apart. Answers how many bytes were read; those of payload are in the
    /// buffer.
    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let space = buffer.initialize_unfilled();
        let read = if self.early.is_empty() {
            let mut unread = ReadBuf::new(space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut unread))?;
            unread.filled().len()
        } else {
            let here = self.early.len().min(space.len());
            self.early.copy_to_slice(&mut space[..here]);
            if self.early.is_empty() {
                self.early = Bytes::new();
            }
            here
        };
        let payload = self.decoder.decode(&mut space[..read]);
        buffer.advance(payload);
        if let Some(ping) = self.decoder.take_ping() {
            self.queue(Opcode::Pong, *ping);
        }
        Poll::Ready(Ok(read))
    }

    /// Ends reading after the client's Close or a violation; ready with nothing where frames may still come.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<()>>> {
        match self.decoder.standing() {
            Standing::Open => Poll::Ready(None),
            Standing::Closed(code) => {
                self.queue_close(code);
                // Whether the answer leaves or not, the client has said that it is done.
                let _ = self.answer(cx);
                Poll::Ready(Some(Ok(())))
            }
            Standing::Failed(violation) => {
                // A connection that is closed while its client still sends may lose the Close that says why.
                let _ = ready!(self.poll_farewell(cx, violation.close_code()));
                let error = io::Error::new(io::ErrorKind::InvalidData, violation);
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// Sends Close and waits for the client's; ready at once when that is over.
    fn poll_farewell(&mut self, cx: &mut Context<'_>, code: u16) -> Poll<io::Result<()>> {
        loop {
            match &mut self.farewell {
                Farewell::Unsaid => {
                    self.queue_close(Some(code));
                    self.farewell = if self.owed > 0 {
                        Farewell::Over
                    } else {
                        Farewell::Said
                    };
                }
                Farewell::Said => {
                    ready!(self.poll_control(cx))?;
                    ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                    self.farewell = Farewell::Awaited(Box::pin(sleep(CLOSE_PATIENCE)));
                }
                Farewell::Awaited(_) => {
                    let awaited = std::mem::replace(&mut self.farewell, Farewell::Over);
                    if let Farewell::Awaited(mut patience) = awaited
                        && self.poll_last_words(cx, &mut patience).is_pending()
                    {
                        self.farewell = Farewell::Awaited(patience);
                        return Poll::Pending;
                    }
                }
                Farewell::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Reads and drops until the client's Close, the end of the connection, or the end of patience.
    fn poll_last_words(
        &mut self,
        cx: &mut Context<'_>,
        patience: &mut Pin<Box<Sleep>>,
    ) -> Poll<()> {
        let mut discarded = [0; 512];
        for _ in 0..READS_PER_POLL {
            let is_closed = matches!(self.decoder.standing(), Standing::Closed(_));
            if is_closed || patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            match self.poll_chunk(cx, &mut ReadBuf::new(&mut discarded)) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_write_frame(
        &mut self,
        cx: &mut Context<'_>,
        offered: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = gather(&mut slices, self.head.left(), offered, self.owed.into());
            let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count]);
            let Poll::Ready(written) = outcome? else {
                if self.head.is_whole() {
                    // The peer has seen nothing of this frame: what comes next may be another.
                    (self.head, self.owed) = (Head::NONE, 0);
                }
                return Poll::Pending;
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let payload = self.head.advance(written);
            self.owed -= u16::try_from(payload).unwrap_or(self.owed).min(self.owed);
            if payload > 0 {
                return Poll::Ready(Ok(payload));
            }
        }
    }
}

/// Puts the head and up to `limit` bytes of what is offered side by side; answers how many slices that takes.
fn gather<'a>(
    slices: &mut [IoSlice<'a>; SLICES],
    head: &'a [u8],
    offered: &'a [IoSlice<'_>],
    mut limit: usize,
) -> usize {
    let payload = offered.iter().map_while(|slice| {
        let here = slice.len().min(limit);
        let is_last = limit == 0;
        limit -= here;
        (!is_last).then(|| &slice[..here])
    });
    let all = std::iter::once(head).chain(payload);
    let mut count = 0;
    for (place, bytes) in slices.iter_mut().zip(all.filter(|bytes| !bytes.is_empty())) {
        *place = IoSlice::new(bytes);
        count += 1;
    }
    count
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_shut {
            return Pin::new(&mut this.io).poll_read(cx, buffer);
        }
        for _ in 0..READS_PER_POLL {
            if let Some(end) = ready!(this.poll_end(cx)) {
                return Poll::Ready(end);
            }
            if this.answer(cx).is_err() {
                // A client may be gone that left something to read; reading finds its end.
                (this.control, this.next_control) = (None, None);
                this.is_flush_due = false;
            }
            let before = buffer.filled().len();
            if buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_chunk(cx, buffer))? == 0 {
                return Poll::Ready(if this.decoder.is_between_messages() {
                    Ok(())
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                });
            }
            if buffer.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // The last slice has its place taken by the head.
        let slices = &slices[..slices.len().min(SLICES - 1)];
        let lengths = slices.iter().map(|slice| slice.len());
        let offered = lengths.fold(0_usize, usize::saturating_add);
        if offered == 0 {
            return Poll::Ready(Ok(0));
        }
        // A frame that was begun before Close was queued may still be finished, so that Close can follow it.
        if this.owed == 0 {
            ready!(this.poll_control(cx))?;
            if this.has_closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            this.owed = u16::try_from(offered)
                .map_or(MAX_PAYLOAD_BYTES, |offered| offered.min(MAX_PAYLOAD_BYTES));
            this.head = Head::new(Opcode::Binary, this.owed);
        }
        this.poll_write_frame(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_control(cx))?;
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        this.is_flush_due = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let code = if this.drain.is_cancelled() {
            GOING_AWAY
        } else {
            NORMAL
        };
        ready!(this.poll_farewell(cx, code))?;
        ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        this.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
