//! One connection: HTTP/1.1 or HTTP/2, with a deadline on everything the peer controls.

use std::future::Future;
use std::pin::{Pin, pin};
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
use hyper_util::server::conn::auto::{Builder, Connection, UpgradeableConnection};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::deadlines::Guarded;
use crate::arrival::Arrival;
use crate::options::HttpsOptions;
use crate::shared::Shared;
use crate::websocket::{self, Upgrade, UpgradeSlot};

/// Bytes of a request's head, header by header: far above what SDKs send.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Requests at once on one HTTP/2 connection; a further one is refused.
const MAX_STREAMS: u32 = 100;
/// Unread bytes of a stream and of a connection over HTTP/2.
const WINDOWS: (u32, u32) = (256 * 1024, 1024 * 1024);
/// Time between two pings of an HTTP/2 connection, and for their answer.
const PING_INTERVAL: Duration = Duration::from_mins(1);
const PING_DEADLINE: Duration = Duration::from_secs(20);
/// What a connection has left to finish its requests once it is told to end.
const LAST_REQUESTS: Duration = Duration::from_secs(10);

/// How long a connection may take for what, and how much it may ask for.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Name of the tasks that run its streams.
    pub(crate) task: &'static str,
    /// Whether HTTP/2 is all it may speak.
    pub(crate) is_http2_only: bool,
    /// From its first byte to the end of the HTTP/2 preface, or of a request's head.
    pub(crate) header_deadline: Duration,
    /// Longest time one write may take.
    pub(crate) write_deadline: Duration,
    /// Requests at once over HTTP/2; a further one is refused.
    pub(crate) max_streams: u32,
    /// Unread bytes that one HTTP/2 stream may hold, and all streams of a connection together: a stream whose reader
    /// waits must leave room for the others.
    pub(crate) windows: (u32, u32),
    /// How long an HTTP/2 connection may ask for nothing while nobody on it has proved who they are.
    pub(crate) stranger_idle_limit: Duration,
    /// The same once somebody has.
    pub(crate) idle_limit: Duration,
}

impl Terms {
    fn of_https(options: &HttpsOptions) -> Self {
        let idle_limit = options.header_deadline + options.write_deadline;
        Self {
            task: "https.stream",
            is_http2_only: false,
            header_deadline: options.header_deadline,
            write_deadline: options.write_deadline,
            max_streams: MAX_STREAMS,
            windows: WINDOWS,
            stranger_idle_limit: idle_limit,
            idle_limit,
        }
    }
}

/// Runs the streams of HTTP/2 connections in the scope of the connections.
#[derive(Clone)]
struct Scoped(Lifecycle, &'static str);

impl<F> Executor<F> for Scoped
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let scope = self.0.clone();
        self.0.spawn(self.1, OnError::Log, async move {
            tokio::select! {
                () = stream => {}
                () = end_of_patience(&scope, LAST_REQUESTS) => {}
            }
        });
    }
}

/// Waits until `patience` after the drain began.
pub(crate) async fn end_of_patience(scope: &Lifecycle, patience: Duration) {
    scope.draining().await;
    sleep(patience).await;
}

/// What shows that a connection is of use; every request carries it among its extensions.
///
/// HTTP/1.1 has a deadline for the head of each request; HTTP/2 has none, and a peer that answers pings and asks for
/// nothing would stay for ever.
pub(crate) struct Activity {
    running: AtomicUsize,
    is_http1: AtomicBool,
    is_known: AtomicBool,
    ended_at: Mutex<Instant>,
    upgrade: UpgradeSlot,
}

impl Activity {
    fn new() -> Self {
        Self {
            upgrade: Mutex::default(),
            running: AtomicUsize::new(0),
            is_http1: AtomicBool::new(false),
            is_known: AtomicBool::new(false),
            ended_at: Mutex::new(Instant::now()),
        }
    }

    async fn watch<T>(self: Arc<Self>, version: Version, answering: impl Future<Output = T>) -> T {
        if version < Version::HTTP_2 {
            self.is_http1.store(true, Ordering::Relaxed);
        }
        let _running = self.hold();
        answering.await
    }

    /// Keeps the connection in use until what is returned is dropped.
    pub(crate) fn hold(self: Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::AcqRel);
        Running(self)
    }

    /// Notes that somebody on the connection has proved who they are.
    pub(crate) fn set_known(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// Where a request that opens a WebSocket leaves word.
    pub(crate) fn upgrade_slot(&self) -> &UpgradeSlot {
        &self.upgrade
    }

    /// Waits until the connection has asked for nothing for as long as `terms` allow.
    async fn idle(&self, terms: &Terms) {
        loop {
            let is_running = self.running.load(Ordering::Acquire) > 0;
            let is_excused = is_running || self.is_http1.load(Ordering::Relaxed);
            let now = Instant::now();
            let since = if is_excused {
                now
            } else {
                *self.ended_at.lock()
            };
            let limit = if self.is_known.load(Ordering::Relaxed) {
                terms.idle_limit
            } else {
                terms.stranger_idle_limit
            };
            if since + limit <= now {
                return;
            }
            sleep_until(since + limit).await;
        }
    }
}

/// One request that is being answered.
pub(crate) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.ended_at.lock() = Instant::now();
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one connection of the HTTPS door to its end; where a request opens a WebSocket, the same task goes on with
/// the door of the protocol inside. The stream goes to memory of its own, as at the other doors.
pub(crate) fn serve<S>(
    shared: Arc<Shared>,
    router: Router,
    io: S,
    arrival: Arrival,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    serve_boxed(shared, router, Box::new(io), arrival)
}

async fn serve_boxed<S>(shared: Arc<Shared>, router: Router, io: Box<S>, arrival: Arrival)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // What HTTP needs is not to count for the life of a WebSocket, hence the box.
    let upgrade = {
        let terms = Terms::of_https(&shared.options.https);
        Box::pin(serve_on(&shared.lifecycle, &terms, router, io, &arrival)).await
    };
    if let Some(upgrade) = upgrade {
        websocket::serve::<S>(shared, upgrade, arrival).await;
    }
}

/// Serves one connection to its end, or to where it leaves HTTP; every request carries the arrival (`Arc<Arrival>`)
/// among its extensions. Drain: requests in work are finished as far as
/// [`LAST_REQUESTS`] allows, no other is taken. An HTTP/2 connection that asks for nothing ends the same way.
pub(crate) async fn serve_on<S>(
    scope: &Lifecycle,
    terms: &Terms,
    router: Router,
    io: S,
    arrival: &Arrival,
) -> Option<Box<Upgrade>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = Guarded::new(io, terms.header_deadline, terms.write_deadline);
    let builder = builder(scope, terms);
    let activity = Arc::new(Activity::new());
    let arrival = Arc::new(arrival.clone());
    let service = TowerToHyperService::new(router);
    let watched = service_fn(|mut request: Request<Incoming>| {
        let activity = Arc::clone(&activity);
        let version = request.version();
        request.extensions_mut().insert(Arc::clone(&activity));
        request.extensions_mut().insert(Arc::clone(&arrival));
        let answering = service.call(request);
        activity.watch(version, answering)
    });
    let io = TokioIo::new(io);
    let over = async {
        tokio::select! {
            () = scope.draining() => {}
            () = activity.idle(terms) => {}
        }
    };
    // With upgrades, the builder speaks HTTP/1 even where HTTP/2 is all it may.
    let ended = if terms.is_http2_only {
        let connection = pin!(builder.serve_connection(io, watched));
        until_end(connection, Connection::graceful_shutdown, over).await
    } else {
        let connection = pin!(builder.serve_connection_with_upgrades(io, watched));
        until_end(connection, UpgradeableConnection::graceful_shutdown, over).await
    };
    match ended {
        Ok(Ok(())) => return activity.upgrade.lock().take(),
        Ok(Err(error)) => tracing::debug!(%error, "an http connection ended"),
        Err(_) => tracing::debug!("an http connection was cut off"),
    }
    None
}

/// Runs a connection to its end; once it is `over`, its last requests have their time.
async fn until_end<C: Future>(
    mut connection: Pin<&mut C>,
    shut_down: impl FnOnce(Pin<&mut C>),
    over: impl Future<Output = ()>,
) -> Result<C::Output, Elapsed> {
    tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = over => {
            shut_down(connection.as_mut());
            timeout(LAST_REQUESTS, connection).await
        }
    }
}

fn builder(scope: &Lifecycle, terms: &Terms) -> Builder<Scoped> {
    let mut builder = Builder::new(Scoped(scope.clone(), terms.task));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(terms.header_deadline)
        // Properties of devices keep their names.
        .preserve_header_case(true)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(terms.max_streams)
        .initial_stream_window_size(terms.windows.0)
        .initial_connection_window_size(terms.windows.1)
        // The longest bearer token, and what comes with it.
        .max_header_list_size(24 * 1024)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_DEADLINE);
    if terms.is_http2_only {
        builder.http2_only()
    } else {
        builder
    }
}
