//! The calling side: lanes and the calls spread over them.

use std::sync::Arc;
use std::time::Duration;

use downlink_ports::PeerError;
use downlink_runtime::{Lifecycle, OnError};
use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::lane::{Lane, Ticket};
use super::split::{Item, split};
use super::{CallStream, MuxOptions, link};
use crate::carrier::Endpoint;
use crate::failure::unreadable;

/// Calls over the streams of one service. Dropping it ends the streams.
pub(crate) struct MuxClient<S: CallStream> {
    lanes: Box<[Arc<Lane<S>>]>,
    call_timeout: Duration,
    _stop: DropGuard,
}

impl<S: CallStream> MuxClient<S> {
    /// Begins to connect; calls wait for the first attempt.
    pub(crate) fn new(endpoint: &Endpoint, options: &MuxOptions, lifecycle: &Lifecycle) -> Self {
        let stop = CancellationToken::new();
        let lanes: Box<[_]> = (0..options.lanes.clamp(1, 64))
            .map(|_| Lane::new(options))
            .collect();
        for lane in &lanes {
            let link = link::keep(Arc::clone(lane), endpoint.clone(), stop.clone());
            // In the background: whatever drains may still have to call.
            lifecycle.spawn_background("rpc-lane", OnError::Log, link);
        }
        Self {
            lanes,
            call_timeout: options.call_timeout,
            _stop: stop.drop_guard(),
        }
    }

    /// Number of lanes, for [`super::lane_of`].
    pub(crate) fn lane_count(&self) -> usize {
        self.lanes.len()
    }

    /// Makes one call on a lane within `timeout`, `None` for the usual one.
    pub(crate) async fn call(
        &self,
        lane: usize,
        call: S::Call,
        timeout: Option<Duration>,
    ) -> Result<S::Reply, PeerError> {
        self.add(lane, call, self.deadline(timeout))?.reply().await
    }

    /// Makes the calls that `items` need: one per lane concerned, more when they are large.
    /// Answers by position of the items; `read` gets each call's reply with the positions of its
    /// items and must return as many results.
    ///
    /// # Errors
    /// The first failure in order of the items; what other calls did stays done.
    pub(crate) async fn call_with_items<T, R>(
        &self,
        items: Vec<T>,
        make: impl Fn(Vec<T::Wire>) -> S::Call,
        read: impl Fn(S::Reply, &[usize]) -> Result<Vec<R>, PeerError>,
    ) -> Result<Vec<R>, PeerError>
    where
        T: Item,
    {
        let results = self.call_with_each_item(items, make, read).await;
        results.into_iter().collect()
    }

    /// As [`Self::call_with_items`], but what failed over one call is told of its items alone.
    pub(crate) async fn call_with_each_item<T, R>(
        &self,
        items: Vec<T>,
        make: impl Fn(Vec<T::Wire>) -> S::Call,
        read: impl Fn(S::Reply, &[usize]) -> Result<Vec<R>, PeerError>,
    ) -> Vec<Result<R, PeerError>>
    where
        T: Item,
    {
        let count = items.len();
        let mut parts = split(items, self.lanes.len());
        let deadline = self.deadline(None);
        let mut tickets = Vec::with_capacity(parts.len());
        for part in &mut parts {
            let call = make(std::mem::take(&mut part.items));
            // After a refusal nothing more goes out: it would overtake what was refused.
            let ticket = match tickets.last() {
                Some(Err(refusal)) => Err(PeerError::clone(refusal)),
                Some(Ok(_)) | None => self.add(part.lane, call, deadline),
            };
            tickets.push(ticket);
        }
        let replies = tickets
            .into_iter()
            .map(async |ticket| ticket?.reply().await);
        let replies = join_all(replies).await;
        let mut results: Vec<Option<Result<R, PeerError>>> =
            std::iter::repeat_with(|| None).take(count).collect();
        for (part, reply) in parts.iter().zip(replies) {
            let read = reply.and_then(|reply| {
                let read = read(reply, &part.positions)?;
                let is_whole = read.len() == part.positions.len();
                is_whole
                    .then_some(read)
                    .ok_or_else(|| unreadable(S::SERVICE))
            });
            match read {
                Ok(read) => {
                    for (position, result) in part.positions.iter().zip(read) {
                        results[*position] = Some(Ok(result));
                    }
                }
                Err(error) => {
                    for position in &part.positions {
                        results[*position] = Some(Err(error.clone()));
                    }
                }
            }
        }
        let answered = |result: Option<_>| result.unwrap_or_else(|| Err(unreadable(S::SERVICE)));
        results.into_iter().map(answered).collect()
    }

    fn add(&self, lane: usize, call: S::Call, deadline: Instant) -> Result<Ticket<S>, PeerError> {
        self.lanes[lane % self.lanes.len()].add(call, deadline)
    }

    fn deadline(&self, timeout: Option<Duration>) -> Instant {
        Instant::now() + timeout.unwrap_or(self.call_timeout)
    }
}
