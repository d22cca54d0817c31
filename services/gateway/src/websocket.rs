//! AMQP and MQTT inside WebSockets, on the listeners of HTTPS (amqp.md §1.1, mqtt.md §1.2).
//!
//! The HTTPS door answers the handshake and leaves the connection; the task goes on with the door of the protocol
//! that was agreed on, which sees a stream of bytes and knows nothing of frames. Those are tungstenite's.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use axum::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::handshake::Handshake;
use self::stream::WebSocketStream;
use crate::arrival::{Arrival, Carrier};
use crate::https::Guarded;
use crate::metrics::Door;
use crate::shared::Shared;
use crate::{amqp, mqtt};

mod carrier;
mod handshake;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use self::handshake::{HandshakeError, VERSION};

/// A protocol that is spoken inside WebSockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// AMQP 1.0.
    Amqp,
    /// MQTT 3.1.1.
    Mqtt,
}

impl Subprotocol {
    /// Finds a protocol by its name in the handshake, in any letter case.
    fn find(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("AMQPWSB10") {
            Some(Self::Amqp)
        } else if name.eq_ignore_ascii_case("mqtt") {
            Some(Self::Mqtt)
        } else {
            None
        }
    }

    fn door(self) -> Door {
        match self {
            Self::Amqp => Door::Amqp,
            Self::Mqtt => Door::Mqtt,
        }
    }
}

/// A connection that leaves HTTP once the answer to its handshake is written.
#[derive(Debug)]
pub(crate) struct Upgrade {
    protocol: Subprotocol,
    connection: OnUpgrade,
}

/// Where the request of a handshake leaves word for the task of its connection.
pub(crate) type UpgradeSlot = Mutex<Option<Box<Upgrade>>>;

/// Answers a handshake and leaves word of it in `slot`.
pub(crate) fn accept(parts: &Parts, slot: &UpgradeSlot) -> Result<Response<Body>, HandshakeError> {
    let handshake = Handshake::read(parts)?;
    let connection = parts.extensions.get::<OnUpgrade>().cloned();
    let connection = connection.ok_or(HandshakeError::NotAnUpgrade)?;
    *slot.lock() = Some(Box::new(Upgrade {
        protocol: handshake.protocol,
        connection,
    }));
    Ok(handshake.answer())
}

/// Serves a connection that has left HTTP to its end. `S` is the stream it was accepted on.
pub(crate) async fn serve<S>(shared: Arc<Shared>, upgrade: Box<Upgrade>, arrival: Arrival)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Upgrade {
        protocol,
        connection,
    } = *upgrade;
    // The task that serves HTTP has ended: what it leaves is there, or will never be.
    let upgraded = match connection.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            debug!(%error, "a connection ended within its websocket handshake");
            return;
        }
    };
    let taking_over = take_over::<S>(upgraded, shared.lifecycle.drain_token());
    let Some(stream) = Box::pin(taking_over).await else {
        debug!("a connection came back from http as another");
        return;
    };
    let arrival = Arrival {
        carrier: Carrier::WebSocket,
        ..arrival
    };
    let door = protocol.door();
    shared.metrics.connection_accepted(door, arrival.carrier);
    // A box for each door: a connection is to have the size of its own.
    match protocol {
        Subprotocol::Amqp => Box::pin(amqp::serve(shared, stream, arrival)).await,
        Subprotocol::Mqtt => Box::pin(mqtt::serve(shared, stream, arrival)).await,
    }
}

/// Takes back the stream that HTTP was served on. It goes to memory of its own at once: a future that it passes
/// through would hold room for it at each of its stages.
async fn take_over<S>(
    upgraded: Upgraded,
    drain: CancellationToken,
) -> Option<Box<WebSocketStream<Box<S>>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let left = downcast::<TokioIo<Guarded<Box<S>>>>(upgraded).ok()?;
    let io = left.io.into_inner().into_inner();
    let stream = WebSocketStream::new(io, left.read_buf, drain).await;
    Some(Box::new(stream))
}
