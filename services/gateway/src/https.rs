//! Back-ends over HTTPS.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::shared::Shared;

/// Makes the routes.
pub(crate) fn router(shared: Arc<Shared>) -> axum::Router {
    axum::Router::new().with_state(shared)
}

/// Serves one connection to its end.
pub(crate) async fn serve<S>(shared: Arc<Shared>, router: axum::Router, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _ = (shared, router, io);
}
