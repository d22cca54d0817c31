//! One connection: HTTP/1.1 or HTTP/2, with a deadline on everything the peer controls.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Version};
use downlink_runtime::{Lifecycle, OnError};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::deadlines::Guarded;
use crate::shared::Shared;

/// Bytes of a request's head, header by header: far above what SDKs send.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Requests at once on one HTTP/2 connection; a further one is refused.
const MAX_STREAMS: u32 = 100;
/// Time between two pings of an HTTP/2 connection, and for their answer.
const PING_INTERVAL: Duration = Duration::from_mins(1);
const PING_DEADLINE: Duration = Duration::from_secs(20);
/// What a connection has left to finish its requests once it is told to end.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// Runs the streams of HTTP/2 connections in the scope of the connections.
#[derive(Clone)]
struct Scoped(Lifecycle);

impl<F> Executor<F> for Scoped
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let scope = self.0.clone();
        self.0.spawn("https.stream", OnError::Log, async move {
            tokio::select! {
                () = stream => {}
                () = end_of_patience(&scope, LAST_REQUESTS) => {}
            }
        });
    }
}

/// Waits until `patience` after the drain began.
pub(super) async fn end_of_patience(scope: &Lifecycle, patience: Duration) {
    scope.draining().await;
    sleep(patience).await;
}

/// What shows that a connection is of use.
///
/// HTTP/1.1 has a deadline for the head of each request; HTTP/2 has none, and a peer that answers pings and asks for
/// nothing would stay for ever.
struct Activity {
    running: AtomicUsize,
    is_http1: AtomicBool,
    ended_at: Mutex<Instant>,
}

impl Activity {
    fn new() -> Self {
        Self {
            running: AtomicUsize::new(0),
            is_http1: AtomicBool::new(false),
            ended_at: Mutex::new(Instant::now()),
        }
    }

    async fn watch<T>(&self, version: Version, answering: impl Future<Output = T>) -> T {
        if version < Version::HTTP_2 {
            self.is_http1.store(true, Ordering::Relaxed);
        }
        let _running = Running::new(self);
        answering.await
    }

    /// Waits until the connection has asked for nothing for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let is_running = self.running.load(Ordering::Acquire) > 0;
            let is_excused = is_running || self.is_http1.load(Ordering::Relaxed);
            let now = Instant::now();
            let since = if is_excused {
                now
            } else {
                *self.ended_at.lock()
            };
            if since + limit <= now {
                return;
            }
            sleep_until(since + limit).await;
        }
    }
}

/// One request that is being answered.
struct Running<'a>(&'a Activity);

impl<'a> Running<'a> {
    fn new(activity: &'a Activity) -> Self {
        activity.running.fetch_add(1, Ordering::AcqRel);
        Self(activity)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.ended_at.lock() = Instant::now();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one connection to its end. Drain: requests in work are finished as far as
/// [`LAST_REQUESTS`] allows, no other is taken. An HTTP/2 connection that asks for nothing ends the same way.
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
    let activity = Arc::new(Activity::new());
    let service = TowerToHyperService::new(router);
    let watched = service_fn(|request: Request<Incoming>| {
        let activity = Arc::clone(&activity);
        let version = request.version();
        let answering = service.call(request);
        async move { activity.watch(version, answering).await }
    });
    let idle_limit = options.header_deadline + options.write_deadline;
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), watched));
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = async {
            tokio::select! {
                () = shared.lifecycle.draining() => {}
                () = activity.idle(idle_limit) => {}
            }
        } => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_REQUESTS, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an https connection ended"),
        Err(_) => tracing::debug!("an https connection was cut off"),
    }
}
