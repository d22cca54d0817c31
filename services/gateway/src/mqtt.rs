//! Devices over MQTT 3.1.1 (mqtt.md), on any stream of bytes.
//!
//! One task is one connection. It reads into a buffer of its thread, keeps only what is incomplete, and
//! holds output in one bounded queue; an idle connection holds neither.

mod admit;
mod connection;
mod conversation;
mod end;
mod events;
mod output;
mod requests;
mod scratch;
mod stored_session;
mod telemetry;
#[cfg(test)]
mod tests;
mod twin_reply;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::admit::Refused;
use self::connection::Connection;
use crate::arrival::{Arrival, Carrier};
use crate::parting::part;
use crate::shared::Shared;

/// How long a refused client may take to read its refusal and close.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);

/// Serves one connection to its end.
///
/// The arrival begins the time in which CONNECT must come and be answered. The stream goes to memory of its
/// own, and so does what is known of its arrival: a future that holds them in each of its stages would hold them several
/// times over.
pub(crate) fn serve<S>(
    shared: Arc<Shared>,
    io: S,
    arrival: Arrival,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_boxed(shared, Box::new(io), Box::new(arrival))
}

async fn serve_boxed<S>(shared: Arc<Shared>, mut io: Box<S>, arrival: Box<Arrival>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let carrier = arrival.carrier;
    // What the rare stages need is not to count for the whole life of the connection, hence the boxes.
    let admitted = match Box::pin(admit::admit(&shared, &mut io, *arrival)).await {
        Ok(admitted) => admitted,
        Err(refused) => return Box::pin(refuse(&shared, io, carrier, refused)).await,
    };
    let connected_at = Instant::now();
    let expires_at = admitted.expires_at;
    shared.metrics.devices.add(1);
    let mut connection = Box::new(Connection::new(Arc::clone(&shared), io, *admitted));
    let end = connection.until_end(expires_at).await;
    let name = connection.device_name().clone();
    let departing = Box::pin(connection.finish(&end)).await;
    shared.metrics.devices.add(-1);
    info!(
        device.id = %name,
        carrier = carrier.as_str(),
        duration = ?connected_at.elapsed(),
        cause = end.cause(),
        error = end.error().map(tracing::field::display),
        "mqtt connection ended"
    );
    if departing.is_none() {
        warn!(device.id = %name, "leaving took too long, locks and presence will lapse");
    }
}

/// Writes the refusal, if there is one, and closes.
async fn refuse<S>(shared: &Shared, mut io: Box<S>, carrier: Carrier, refused: Refused)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Refused {
        answer,
        cause,
        error,
    } = refused;
    if let Some(cause) = cause {
        shared.metrics.connect_refused(cause);
        let error = error.map(tracing::field::display);
        let carrier = carrier.as_str();
        debug!(?cause, carrier, error, "mqtt connect refused");
    }
    let _ = tokio::time::timeout(REFUSAL_DEADLINE, last_words(&mut io, &answer)).await;
}

/// Writes, says that nothing follows, and waits for the peer to close.
async fn last_words<S>(io: &mut S, answer: &BytesMut) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !answer.is_empty() {
        io.write_all(answer).await?;
    }
    part(io).await
}
