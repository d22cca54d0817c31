//! A stream of bytes inside the binary frames of a WebSocket.
//!
//! Frames are tungstenite's. This adapter hands their payload on as it comes, cuts what is written into frames, and keeps
//! to the bounds: one message of the client and one frame of the hub are all that a connection ever holds.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_tungstenite::WebSocketStream as Frames;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::carrier::Carrier;

/// A message of the client may be as large: several times the largest packet or message of the protocols inside.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// Most bytes in one frame of the hub. With its head it fits one TLS record, so that a client that reads record by
/// record finds whole frames (proton-j takes a head for granted once two bytes of it are there). It is less than a
/// record holds, because tungstenite never gives back the buffer in which it lays frames out.
const MAX_PAYLOAD_BYTES: usize = 4 * 1024 - 4;
/// Room for a frame of the hub and the answers to some pings behind it; further ones take the place of the last.
const WRITE_BUFFER_BYTES: usize = 4 * 1024 + 512;
/// Every connection has a buffer of this size for reading.
const READ_BUFFER_BYTES: usize = 1024;
/// A message beyond this has a buffer of its own, which is given back.
const LARGE_MESSAGE_BYTES: usize = 4 * READ_BUFFER_BYTES;
/// How long a client may take over the end: to read what was written and Close, and to answer with its own.
const CLOSE_PATIENCE: Duration = Duration::from_millis(1500);
/// Reads without payload after which other tasks of the thread get their turn.
const READS_PER_POLL: usize = 32;

/// The server's end of a WebSocket as a stream of bytes, for one task.
///
/// Reading ends at the client's Close, which is answered then; a connection that ends without one fails the read. A
/// frame that breaks the rules is answered with a Close that says why, and fails the read. Writing takes one frame at a
/// time and no other before it has left; flushing is up to the writer, and reading helps. Shutting down sends Close,
/// waits for the client's, both within [`CLOSE_PATIENCE`], and shuts the connection down. Afterwards reading yields
/// whatever comes behind the frames, such as the last record of TLS, up to the end of the connection: only a reader that
/// drops it reads on.
#[derive(Debug)]
pub(crate) struct WebSocketStream<S> {
    frames: Frames<Carrier<S>>,
    /// What has not been read of the last message.
    payload: Bytes,
    /// A byte of the last large message. While it is held, tungstenite reads on into a buffer of the usual size.
    outgrown: Option<Bytes>,
    is_flush_due: bool,
    reading: Reading,
    farewell: Farewell,
    /// Cancelled when the gateway goes away.
    drain: CancellationToken,
}

/// What may still come from the client.
#[derive(Debug)]
enum Reading {
    /// Messages.
    Open,
    /// Nothing: it sent its Close.
    Closed,
    /// Nothing: the connection ended without one.
    Cut,
    /// Nothing that is looked at.
    Failed(CloseCode, Error),
}

/// How far shutting down has come.
#[derive(Debug)]
enum Farewell {
    Unsaid,
    Begun {
        patience: Pin<Box<Sleep>>,
        is_said: bool,
    },
    Over,
    /// Nothing is written any more, and what is read is no frame.
    Shut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketStream<S> {
    /// Begins behind the handshake on `io`, of which `early` has been read already. `drain` is cancelled when the
    /// gateway goes away, which a Close then says.
    pub(crate) async fn new(io: S, early: Bytes, drain: CancellationToken) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES))
            .accept_unmasked_frames(false);
        let carrier = Carrier::new(io, early);
        Self {
            frames: Frames::from_raw_socket(carrier, Role::Server, Some(config)).await,
            payload: Bytes::new(),
            outgrown: None,
            is_flush_due: false,
            reading: Reading::Open,
            farewell: Farewell::Unsaid,
            drain,
        }
    }

    /// Takes the next message in; ready where there was one, or an end. Messages without bytes count as well.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgrown.as_ref().is_some_and(Bytes::is_unique) {
            self.outgrown = None;
        }
        match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
            Some(Ok(Message::Binary(payload))) => {
                if payload.len() > LARGE_MESSAGE_BYTES {
                    self.outgrown = Some(payload.slice(..1));
                }
                self.payload = payload;
            }
            Some(Ok(Message::Text(_))) => {
                let error = io::Error::other("a text message came where bytes belong");
                self.reading = Reading::Failed(CloseCode::Unsupported, Error::Io(error));
            }
            // Tungstenite answers them.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => self.reading = Reading::Closed,
            Some(Err(Error::Io(error))) => {
                self.reading = Reading::Cut;
                return Poll::Ready(Err(error));
            }
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                self.reading = Reading::Cut;
            }
            Some(Err(error)) => {
                let code = match error {
                    Error::Capacity(_) => CloseCode::Size,
                    Error::Utf8(_) => CloseCode::Invalid,
                    _ => CloseCode::Protocol,
                };
                self.reading = Reading::Failed(code, error);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends reading where nothing follows; ready with nothing where something may.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<()>>> {
        match &self.reading {
            Reading::Open => Poll::Ready(None),
            Reading::Closed => {
                // Whether the answer leaves or not, the client has said that it is done.
                let _ = self.poll_out(cx);
                Poll::Ready(Some(Ok(())))
            }
            Reading::Cut => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            Reading::Failed(code, error) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
                // A connection that is closed while its client still sends may lose the Close that says why.
                let _ = ready!(self.poll_farewell(cx, *code));
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// Writes what tungstenite holds, and flushes the connection.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.frames).poll_flush(cx)).map_err(io_error)?;
        // Tungstenite ends with the answer to Close and leaves it unflushed.
        let carrier = self.frames.get_mut();
        ready!(Pin::new(&mut *carrier).poll_flush(cx))?;
        self.is_flush_due = false;
        Poll::Ready(carrier.check())
    }

    /// Sends Close and waits for the client's; ready at once when that is over.
    fn poll_farewell(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Poll<io::Result<()>> {
        if matches!(self.farewell, Farewell::Unsaid) {
            self.farewell = Farewell::Begun {
                patience: Box::pin(sleep(CLOSE_PATIENCE)),
                is_said: false,
            };
        }
        let Farewell::Begun { patience, .. } = &mut self.farewell else {
            return Poll::Ready(Ok(()));
        };
        let outcome = match patience.as_mut().poll(cx) {
            Poll::Pending => ready!(self.poll_goodbyes(cx, code)),
            Poll::Ready(()) => Ok(()),
        };
        self.farewell = Farewell::Over;
        Poll::Ready(outcome)
    }

    fn poll_goodbyes(&mut self, cx: &mut Context<'_>, code: CloseCode) -> Poll<io::Result<()>> {
        // A Close that finds no room behind what waits would be lost.
        ready!(self.poll_out(cx))?;
        if let Farewell::Begun { is_said, .. } = &mut self.farewell
            && !*is_said
        {
            *is_said = true;
            let reason = Utf8Bytes::default();
            let close = Message::Close(Some(CloseFrame { code, reason }));
            // It is refused where the client has closed or gone: then there is nobody to tell.
            let _ = Pin::new(&mut self.frames).start_send(close);
            ready!(self.poll_out(cx))?;
        }
        for _ in 0..READS_PER_POLL {
            match self.reading {
                Reading::Open => {
                    ready!(self.poll_message(cx))?;
                    self.payload = Bytes::new();
                }
                Reading::Closed | Reading::Cut => return Poll::Ready(Ok(())),
                Reading::Failed(..) => {
                    let mut discarded = [0; 512];
                    let mut discarded = ReadBuf::new(&mut discarded);
                    ready!(Pin::new(self.frames.get_mut()).poll_read(cx, &mut discarded))?;
                    if discarded.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn has_ended(&self) -> bool {
        !matches!(
            (&self.reading, &self.farewell),
            (Reading::Open, Farewell::Unsaid)
        )
    }
}

fn io_error(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::SendAfterClosing) => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}

/// The front of what is offered, at most one frame of it, in memory of its own.
fn gather(slices: &[IoSlice<'_>]) -> Bytes {
    let lengths = slices.iter().map(|slice| slice.len());
    let offered = lengths.fold(0_usize, usize::saturating_add);
    let mut payload = Vec::with_capacity(offered.min(MAX_PAYLOAD_BYTES));
    for slice in slices {
        let room = MAX_PAYLOAD_BYTES - payload.len();
        payload.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    payload.into()
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.farewell, Farewell::Shut) {
            return Pin::new(this.frames.get_mut()).poll_read(cx, buffer);
        }
        if this.is_flush_due {
            let _ = this.poll_out(cx);
        }
        for _ in 0..READS_PER_POLL {
            if buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if !this.payload.is_empty() {
                let here = this.payload.len().min(buffer.remaining());
                buffer.put_slice(&this.payload[..here]);
                this.payload.advance(here);
                if this.payload.is_empty() {
                    // An empty slice would keep the buffer that it was cut from.
                    this.payload = Bytes::new();
                }
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = ready!(this.poll_end(cx)) {
                return Poll::Ready(end);
            }
            ready!(this.poll_message(cx))?;
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
        if this.has_ended() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        // What is taken must find its room: neither a frame nor answers to pings wait before it.
        ready!(this.poll_out(cx))?;
        let payload = gather(slices);
        let taken = payload.len();
        if taken > 0 {
            let frames = Pin::new(&mut this.frames);
            frames
                .start_send(Message::Binary(payload))
                .map_err(io_error)?;
            this.is_flush_due = true;
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let code = if this.drain.is_cancelled() {
            CloseCode::Away
        } else {
            CloseCode::Normal
        };
        ready!(this.poll_farewell(cx, code))?;
        ready!(Pin::new(this.frames.get_mut()).poll_shutdown(cx))?;
        this.farewell = Farewell::Shut;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
