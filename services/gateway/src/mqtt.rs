//! Devices over MQTT 3.1.1.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::shared::Shared;

/// Serves one connection to its end.
pub(crate) async fn serve<S>(shared: Arc<Shared>, io: S, accepted_at: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _ = (shared, io, accepted_at);
}
