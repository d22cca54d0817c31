//! One connection: HTTP/1.1 or HTTP/2, with a deadline on everything the peer controls.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use downlink_runtime::{Lifecycle, OnError};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use super::deadlines::Guarded;
use crate::shared::Shared;

/// Bytes of a request's head, header by header: far above what SDKs send.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Requests at once on one HTTP/2 connection; a further one is refused.
const MAX_STREAMS: u32 = 100;
/// Time between two pings of an HTTP/2 connection, and for their answer.
const PING_INTERVAL: Duration = Duration::from_mins(1);
const PING_DEADLINE: Duration = Duration::from_secs(20);

/// Runs the streams of HTTP/2 connections in the scope of the connections.
#[derive(Clone)]
struct Scoped(Lifecycle);

impl<F> Executor<F> for Scoped
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("https.stream", OnError::Log, async move {
            stream.await;
        });
    }
}

/// Serves one connection to its end. Drain: the request in work is finished, no other is taken.
pub(crate) async fn serve<S>(shared: Arc<Shared>, router: Router, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let options = &shared.options.https;
    let io = Guarded::new(io, options.header_deadline, options.write_deadline);
    let mut builder = Builder::new(Scoped(shared.lifecycle.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_deadline)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.lifecycle.draining() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an https connection ended");
    }
}
