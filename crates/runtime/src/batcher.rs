//! Turns many small pieces of work into few large ones without changing their order.
//!
//! An item goes to a lane by its key; a lane closes a batch and hands it to the handler, one batch at a time, and
//! each submitter gets its own reply. Items of one lane are handled in the order in which they were accepted.
//! With a delay of zero, batching is natural: a batch is whatever has queued while the previous one ran, so an idle
//! lane adds no wait and a busy one forms large batches.

use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use self::lane::{Job, Lane};
use crate::lifecycle::{Lifecycle, OnError};

mod lane;
#[cfg(test)]
mod tests;

/// A piece of work that can be batched.
pub trait BatchItem: Send + 'static {
    /// Returns what decides the lane: items of one key keep their order. Any distribution will do.
    fn lane_key(&self) -> u64;

    /// Returns how much this item counts towards the bytes of its batch.
    fn weight_bytes(&self) -> usize;
}

/// How batches are formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatcherOptions {
    /// How many batches may be handled at once, each lane one.
    pub lanes: NonZeroUsize,
    /// A batch is closed when it holds this many items.
    pub max_items: NonZeroUsize,
    /// A batch is closed before its items weigh more than this; a single heavier item makes a batch of its own.
    pub max_bytes: NonZeroUsize,
    /// How long a lane waits for company once it has taken up the first item of a batch. Zero: natural batching.
    pub max_delay: Duration,
    /// How many items may wait in each lane, besides those of the batch in work.
    ///
    /// Full: [`Batcher::submit`] and [`Batcher::enqueue`] wait, [`Batcher::try_enqueue`] answers [`TryEnqueueError::Full`].
    pub queue_items: NonZeroUsize,
}

impl Default for BatcherOptions {
    /// 4 lanes, batches of up to 500 items or 4 MiB, no delay, 2,000 items waiting in each lane.
    fn default() -> Self {
        const fn at_least_one(count: usize) -> NonZeroUsize {
            NonZeroUsize::MIN.saturating_add(count - 1)
        }
        Self {
            lanes: at_least_one(4),
            max_items: at_least_one(500),
            max_bytes: at_least_one(4 * 1024 * 1024),
            max_delay: Duration::ZERO,
            queue_items: at_least_one(2_000),
        }
    }
}

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The batcher takes no more items; this one was certainly not handled.
    #[error("no more work is taken")]
    Closed,
    /// The item was accepted but its reply was lost: it may or may not have been handled.
    #[error("work was accepted but its outcome is unknown")]
    Lost,
}

/// Why an item was not taken; it is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TryEnqueueError<I> {
    /// The lane's queue is full.
    #[error("too much work is waiting")]
    Full(I),
    /// The batcher takes no more items.
    #[error("no more work is taken")]
    Closed(I),
}

/// The reply to an accepted item, to be awaited.
///
/// Dropping it does not take the item back.
#[derive(Debug)]
#[must_use = "the reply says whether the work was done"]
pub struct Reply<R> {
    receiver: oneshot::Receiver<R>,
}

impl<R> Future for Reply<R> {
    type Output = Result<R, SubmitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(context)
            .map_err(|_| SubmitError::Lost)
    }
}

/// Collects items into batches; clones feed the same lanes.
#[derive(Debug)]
pub struct Batcher<I, R> {
    lanes: Arc<[mpsc::Sender<Job<I, R>>]>,
}

impl<I, R> Clone for Batcher<I, R> {
    fn clone(&self) -> Self {
        Self {
            lanes: Arc::clone(&self.lanes),
        }
    }
}

impl<I, R> Batcher<I, R>
where
    I: BatchItem,
    R: Send + 'static,
{
    /// Starts the lanes as tasks named `name`.
    ///
    /// `handler` gets the items of one batch and returns their replies by position. Items without one get [`SubmitError::Lost`];
    /// a panic ends the lane and stops the process.
    ///
    /// When the scope drains, nothing more is accepted, what was accepted is handled, and the lanes end. Start the
    /// batcher in a scope that drains after those who submit to it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start<H, F>(
        lifecycle: &Lifecycle,
        name: &'static str,
        options: BatcherOptions,
        handler: H,
    ) -> Self
    where
        H: Fn(Vec<I>) -> F + Send + Sync + 'static,
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let lanes = (0..options.lanes.get()).map(|_| {
            let (sender, receiver) = mpsc::channel(options.queue_items.get());
            let lane = Lane::new(receiver, options, Arc::clone(&handler));
            lifecycle.spawn(name, OnError::Shutdown, lane.run(lifecycle.drain_token()));
            sender
        });
        Self {
            lanes: lanes.collect(),
        }
    }

    /// Submits an item and waits for its reply; waits for room first if the lane is full.
    ///
    /// # Errors
    /// [`SubmitError`].
    ///
    /// # Cancellation
    /// Dropped before the item was accepted: it is not handled. Dropped after: it is.
    pub async fn submit(&self, item: I) -> Result<R, SubmitError> {
        self.enqueue(item).await?.await
    }

    /// Waits for room and takes a place in the lane, without waiting for the reply.
    ///
    /// Whoever enqueues items one after another and awaits the replies later has them handled in that order.
    ///
    /// # Errors
    /// [`SubmitError::Closed`].
    ///
    /// # Cancellation
    /// Safe: a dropped call has not taken a place.
    pub async fn enqueue(&self, item: I) -> Result<Reply<R>, SubmitError> {
        let lane = self.lane(&item);
        let (job, reply) = Job::new(item);
        lane.send(job).await.map_err(|_| SubmitError::Closed)?;
        Ok(reply)
    }

    /// Takes a place in the lane if there is room now.
    ///
    /// # Errors
    /// [`TryEnqueueError`], with the item.
    pub fn try_enqueue(&self, item: I) -> Result<Reply<R>, TryEnqueueError<I>> {
        let lane = self.lane(&item);
        let (job, reply) = Job::new(item);
        match lane.try_send(job) {
            Ok(()) => Ok(reply),
            Err(TrySendError::Full(job)) => Err(TryEnqueueError::Full(job.item)),
            Err(TrySendError::Closed(job)) => Err(TryEnqueueError::Closed(job.item)),
        }
    }

    /// Submits items in their order and returns their replies by position.
    ///
    /// Items take their places in their lanes when the call is first polled, in a full lane a place among those who
    /// wait for room: a later call does not overtake this one in any lane.
    ///
    /// # Cancellation
    /// As [`Self::submit`], for each item by itself.
    pub async fn submit_all(&self, items: Vec<I>) -> Vec<Result<R, SubmitError>> {
        let mut results = Vec::with_capacity(items.len());
        let mut replies = Vec::with_capacity(items.len());
        let mut waiting = Vec::new();
        for (position, item) in items.into_iter().enumerate() {
            results.push(Err(SubmitError::Closed));
            match self.try_enqueue(item) {
                Ok(reply) => replies.push((position, reply)),
                Err(TryEnqueueError::Closed(_)) => {}
                // A permit that comes free goes to who waits, so no later item of this call gets ahead of it.
                Err(TryEnqueueError::Full(item)) => {
                    waiting.push(async move { (position, self.submit(item).await) });
                }
            }
        }
        // All at once: one after another, the second would not stand in its lane's line yet.
        for (position, result) in join_all(waiting).await {
            results[position] = result;
        }
        for (position, reply) in replies {
            results[position] = reply.await;
        }
        results
    }

    fn lane(&self, item: &I) -> &mpsc::Sender<Job<I, R>> {
        &self.lanes[lane_index(item.lane_key(), self.lanes.len())]
    }
}

/// Spreads keys over lanes, however regular they are: the finalizer of splitmix64, then a multiplication.
fn lane_index(key: u64, lanes: usize) -> usize {
    let mut mixed = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let scaled = (u128::from(mixed) * lanes as u128) >> 64;
    usize::try_from(scaled).expect("less than the number of lanes")
}
