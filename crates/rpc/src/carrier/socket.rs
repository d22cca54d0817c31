//! One connection of either kind.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tonic::transport::server::Connected;

/// A connection and, on the serving side over TCP, its place among those allowed.
pub(crate) struct Socket {
    io: Io,
    _place: Option<OwnedSemaphorePermit>,
}

enum Io {
    InProcess(DuplexStream),
    Tcp(TcpStream),
}

impl Socket {
    pub(crate) fn in_process(stream: DuplexStream) -> Self {
        Self {
            io: Io::InProcess(stream),
            _place: None,
        }
    }

    pub(crate) fn tcp(stream: TcpStream, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            io: Io::Tcp(stream),
            _place: place,
        }
    }
}

impl Connected for Socket {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::InProcess(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::InProcess(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::InProcess(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::InProcess(stream) => stream.is_write_vectored(),
            Io::Tcp(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::InProcess(stream) => Pin::new(stream).poll_flush(context),
            Io::Tcp(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::InProcess(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
