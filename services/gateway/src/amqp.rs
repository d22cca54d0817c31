//! Devices and back-ends over AMQP 1.0: telemetry, messages, methods and twins of any number of
//! devices on one connection; cloud-to-device sends and feedback; tokens over CBS and SASL PLAIN
//! (amqp.md; c2d.md §6, §9).
//!
//! One task serves one connection. [`connection`] moves bytes and waits; [`conversation`] is what
//! the door knows and decides, without a socket; the engine of `downlink-amqp` speaks the protocol.
//! The conversation has two sides: [`back_end`], where per link at most one batch of messages is
//! on its way to the queue while further ones gather, so that one sender's order per device is kept
//! and batches form by themselves; and [`device`], where each identity on a session has a fate of
//! its own.

mod address;
mod attaching;
mod back_end;
mod condition;
mod connection;
mod conversation;
mod device;
mod grants;
mod held;
mod links;
mod metered;
mod payload;
mod tokens;
mod work;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{debug, info};

use self::connection::Connection;
use crate::arrival::Arrival;
use crate::shared::Shared;

/// Serves one connection to its end.
pub(crate) async fn serve<S>(shared: Arc<Shared>, io: S, arrival: Arrival)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (carrier, accepted_at) = (arrival.carrier, arrival.accepted_at);
    let mut connection = Connection::new(shared, io, arrival);
    connection.until_end().await;
    let summary = Box::pin(connection.finish()).await;
    if summary.is_stranger {
        // Whoever finds the port could fill the log.
        debug!(cause = summary.cause, "amqp connection of a stranger ended");
        return;
    }
    info!(
        carrier = carrier.as_str(),
        duration = ?accepted_at.elapsed(),
        cause = summary.cause,
        actor = summary.actor,
        messages = summary.messages,
        "amqp connection ended"
    );
}
