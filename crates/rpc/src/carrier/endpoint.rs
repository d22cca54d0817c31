//! The calling side of a carrier.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Error};

use super::socket::Socket;
use super::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, HEADER_LIST_BYTES, HTTP2_FRAME_BYTES,
    IN_PROCESS_BUFFER_BYTES, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};

/// Where a service answers. Clones name the same place; any number of connections may be made.
#[derive(Clone, Debug)]
pub struct Endpoint {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    InProcess(mpsc::Sender<DuplexStream>),
    Tcp(Arc<str>),
}

impl Endpoint {
    pub(super) fn in_process(sender: mpsc::Sender<DuplexStream>) -> Self {
        Self {
            place: Place::InProcess(sender),
        }
    }

    /// A service that listens at `address`, `host:port`; the name is looked up at each connect.
    pub fn tcp(address: &str) -> Self {
        Self {
            place: Place::Tcp(address.into()),
        }
    }

    /// Connects now.
    pub(crate) async fn connect(&self) -> Result<Channel, Error> {
        let place = self.place.clone();
        let connector = tower::service_fn(move |_| place.clone().open());
        settings().connect_with_connector(connector).await
    }

    /// Connects when first used, and again when the connection was lost.
    pub(crate) fn connect_lazy(&self) -> Channel {
        let place = self.place.clone();
        let connector = tower::service_fn(move |_| place.clone().open());
        settings().connect_with_connector_lazy(connector)
    }
}

impl Place {
    async fn open(self) -> io::Result<TokioIo<Socket>> {
        let connecting = async {
            match &self {
                Self::InProcess(sender) => {
                    let (near, far) = duplex(IN_PROCESS_BUFFER_BYTES);
                    let is_accepted = sender.send(far).await.is_ok();
                    is_accepted
                        .then(|| Socket::in_process(near))
                        .ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
                }
                Self::Tcp(address) => {
                    let stream = TcpStream::connect(&**address).await?;
                    stream.set_nodelay(true)?;
                    Ok(Socket::tcp(stream, None))
                }
            }
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map(TokioIo::new),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

fn settings() -> tonic::transport::Endpoint {
    // The connector decides where to go; this is the authority of the requests.
    tonic::transport::Endpoint::from_static("http://downlink.internal")
        .connect_timeout(CONNECT_TIMEOUT + Duration::from_secs(1))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(HTTP2_FRAME_BYTES)
        .http2_max_header_list_size(HEADER_LIST_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}
