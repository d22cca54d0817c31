//! Devices over MQTT 3.1.1 (mqtt.md), on any stream of bytes.
//!
//! One task is one connection. It reads into a buffer of its thread, keeps only what is incomplete, and
//! holds output in one bounded queue; an idle connection holds neither.

mod admit;
mod connection;
mod conversation;
mod events;
mod end;
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
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tracing::{debug, info};

use self::admit::{Admitted, Refused};
use self::connection::Connection;
use self::end::End;
use crate::metrics::RefusedFor;
use crate::shared::Shared;

/// How long a refused client may take to read its refusal and close.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(5);
/// How much of what a refused client still sends is read, so that closing does not destroy the refusal.
const REFUSAL_READ_BYTES: u64 = 16 * 1024;

/// Serves one connection to its end.
///
/// `accepted_at` begins the time in which CONNECT must arrive and be answered.
pub(crate) async fn serve<S>(shared: Arc<Shared>, mut io: S, accepted_at: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Boxed, because what it needs is not to count for the whole life of the connection.
    match Box::pin(admit::admit(&shared, &mut io, accepted_at)).await {
        Ok(admitted) => run(shared, io, *admitted).await,
        Err(refused) => Box::pin(refuse(&shared, io, refused)).await,
    }
}

async fn run<S>(shared: Arc<Shared>, io: S, admitted: Admitted)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connected_at = Instant::now();
    let name = admitted.session.device().name.clone();
    let expires_at = admitted.expires_at;
    shared.metrics.devices.add(1);
    let mut connection = Connection::new(Arc::clone(&shared), io, admitted);
    let end = connection.until_end(expires_at).await;
    let departing = Box::pin(connection.finish(&end)).await;
    shared.metrics.devices.add(-1);
    let duration = connected_at.elapsed();
    let is_released = departing.is_some();
    match end {
        End::Violation(error) => {
            info!(device.id = %name, ?duration, is_released, cause = "violation", %error, "mqtt connection ended");
        }
        end => {
            info!(device.id = %name, ?duration, is_released, cause = end.cause(), "mqtt connection ended");
        }
    }
}

/// Writes the refusal, if there is one, and closes.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(shared: &Shared, mut io: S, refused: Refused) {
    let Refused { answer, cause, error } = refused;
    if let Some(cause) = cause {
        shared.metrics.connect_refused(cause);
        log_refusal(cause, error);
    }
    let _ = tokio::time::timeout(REFUSAL_DEADLINE, last_words(&mut io, &answer)).await;
}

fn log_refusal(cause: RefusedFor, error: Option<Box<dyn std::error::Error + Send + Sync>>) {
    match error {
        Some(error) => debug!(?cause, %error, "mqtt connect refused"),
        None => debug!(?cause, "mqtt connect refused"),
    }
}

/// Writes, says that nothing follows, and waits for the peer to close.
async fn last_words<S>(io: &mut S, answer: &BytesMut) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !answer.is_empty() {
        io.write_all(answer).await?;
    }
    io.shutdown().await?;
    let mut unread = io.take(REFUSAL_READ_BYTES);
    let mut discarded = [0; 512];
    while unread.read(&mut discarded).await? > 0 {}
    Ok(())
}
