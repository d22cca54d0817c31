//! What a served carrier knows of its calls, and how it takes leave of its callers.
//!
//! A node that drains must lose no call. It says that it leaves while it still answers (on every
//! stream, and by refusing new streams), waits until callers have heard of it, and only then does
//! the service begin to drain. Its process ends when the last answer has gone out.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::{Layer, Service};

/// Time without a new call after which all callers have gone elsewhere.
const QUIET: Duration = Duration::from_millis(250);
/// Longest wait for that: a caller that knows of no other node keeps calling.
const LONGEST_LEAVE: Duration = Duration::from_secs(5);
/// Time between looks at the calls.
const LOOK: Duration = Duration::from_millis(25);
/// Time for the last answers to be written.
const FLUSH: Duration = Duration::from_millis(100);

/// What everything that serves one carrier shares.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    halt: CancellationToken,
    leaving: CancellationToken,
    /// Calls so far.
    begun: AtomicU64,
    /// Calls without an answer.
    running: AtomicUsize,
}

impl Serving {
    pub(crate) fn new(halt: CancellationToken) -> Self {
        Self {
            shared: Arc::new(Shared {
                halt,
                leaving: CancellationToken::new(),
                begun: AtomicU64::new(0),
                running: AtomicUsize::new(0),
            }),
        }
    }

    /// Cancelled when everything is dropped.
    pub(crate) fn halt(&self) -> &CancellationToken {
        &self.shared.halt
    }

    /// Cancelled when callers should go elsewhere.
    pub(crate) fn leaving(&self) -> &CancellationToken {
        &self.shared.leaving
    }

    /// Refuses a stream that would be told to go elsewhere at once.
    pub(crate) fn admit_stream(&self) -> Result<(), Status> {
        if self.shared.leaving.is_cancelled() {
            return Err(Status::unavailable("the service is going away"));
        }
        Ok(())
    }

    /// Takes note of `begun` new calls, and of the change from `before` to `after` running ones.
    pub(crate) fn note(&self, begun: usize, before: usize, after: usize) {
        let shared = &self.shared;
        if begun > 0 {
            let begun = u64::try_from(begun).unwrap_or(u64::MAX);
            shared.begun.fetch_add(begun, Ordering::Relaxed);
        }
        if after > before {
            shared.running.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            shared.running.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Tells callers to go elsewhere and waits until they have: until no call has come for a
    /// while, five seconds at most.
    pub(crate) async fn leave(&self) {
        let shared = &self.shared;
        shared.leaving.cancel();
        let deadline = Instant::now() + LONGEST_LEAVE;
        let mut quiet_since = Instant::now();
        let mut begun = shared.begun.load(Ordering::Relaxed);
        while quiet_since.elapsed() < QUIET && Instant::now() < deadline {
            sleep(LOOK).await;
            let now_begun = shared.begun.load(Ordering::Relaxed);
            if std::mem::replace(&mut begun, now_begun) != now_begun {
                quiet_since = Instant::now();
            }
        }
    }

    /// Waits until every call has its answer and the answers were written.
    pub(crate) async fn finish(&self) {
        while self.shared.running.load(Ordering::Relaxed) > 0 {
            sleep(LOOK).await;
        }
        sleep(FLUSH).await;
    }
}

/// A unary call while it runs.
struct Running(Serving);

impl Running {
    fn new(serving: &Serving) -> Self {
        serving.note(1, 0, 1);
        Self(serving.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.note(0, 1, 0);
    }
}

/// Counts requests until they have a response: unary calls; of streams, their opening.
#[derive(Clone, Debug)]
pub(crate) struct CountLayer(pub(crate) Serving);

/// A service whose requests are counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted<S> {
    inner: S,
    serving: Serving,
}

impl<S> Layer<S> for CountLayer {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            serving: self.0.clone(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let running = Running::new(&self.serving);
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await;
            drop(running);
            response
        })
    }
}
