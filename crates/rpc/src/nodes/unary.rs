//! Unary calls: rare ones, each over the channel of its node.

use std::error::Error;
use std::hash::Hash;
use std::time::Duration;

use downlink_ports::PeerError;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{ConnectError, Request, Response, Status};

use super::attempts::{Attempt, Repeat, Trial};
use super::peer::Peer;
use crate::failure::{ERROR_CODE_KEY, from_status};
use crate::mux::{CallStream, Lost};

impl<S: CallStream> Peer<S> {
    /// Makes a unary call at the node of `key`, within `timeout`, which travels with it.
    pub(crate) async fn unary<T, R, F>(
        &self,
        key: &(impl Hash + Sync + ?Sized),
        repeat: Repeat,
        timeout: Duration,
        message: T,
        call: impl Fn(Channel, Request<T>) -> F,
    ) -> Result<R, PeerError>
    where
        T: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let service = S::SERVICE;
        let deadline = Instant::now() + timeout;
        let set = self.nodes(deadline).await?;
        let hash = set.hash_of(key);
        let node = set
            .pick(hash, None)
            .ok_or(PeerError::Unavailable { service })?;
        let may_follow = !set.is_single();
        let attempt = |node: usize, message: T| {
            let mut unsent = may_follow.then(|| message.clone());
            let mut request = Request::new(message);
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let answer = call(set.node(node).channel(), request);
            // Boxed: the future of a unary call is large, and two may be held here.
            Box::pin(async move {
                match timeout_at(deadline, answer).await {
                    Ok(Ok(response)) => Ok(response.into_inner()),
                    Ok(Err(status)) => Err(lost(service, &status, unsent.take())),
                    Err(_) => Err(Lost::Failed(PeerError::DeadlineExceeded { service })),
                }
            })
        };
        let may_repeat = may_follow && repeat != Repeat::Never;
        let trial = Trial {
            set: &*set,
            hash,
            repeat,
            spare: may_repeat.then(|| message.clone()),
        };
        let first = Attempt {
            node,
            outcome: attempt(node, message),
        };
        trial.see_through(first, attempt).await
    }
}

/// Tells what may be done about a call that ended with `status`.
fn lost<T>(service: &'static str, status: &Status, unsent: Option<T>) -> Lost<T> {
    if status.metadata().contains_key(ERROR_CODE_KEY) {
        return Lost::Failed(from_status(service, status));
    }
    if let Some(message) = unsent
        && is_connect_error(status)
    {
        return Lost::NotSent(Box::new(message));
    }
    match from_status(service, status) {
        PeerError::Unavailable { .. } => Lost::Unknown,
        error => Lost::Failed(error),
    }
}

/// Whether there was no connection to send on.
fn is_connect_error(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}
