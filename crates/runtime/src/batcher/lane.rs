//! One lane: a queue, a batch being formed, the handler.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{BatchItem, BatcherOptions, Reply};

/// An item on its way and where its reply goes.
#[derive(Debug)]
pub(super) struct Job<I, R> {
    pub(super) item: I,
    reply: oneshot::Sender<R>,
}

impl<I, R> Job<I, R> {
    pub(super) fn new(item: I) -> (Self, Reply<R>) {
        let (reply, receiver) = oneshot::channel();
        (Self { item, reply }, Reply { receiver })
    }
}

pub(super) struct Lane<I, R, H> {
    queue: mpsc::Receiver<Job<I, R>>,
    options: BatcherOptions,
    handler: Arc<H>,
    /// The item that did not fit into the previous batch, and comes first in the next.
    carried: Option<Job<I, R>>,
}

/// The batch being formed.
struct Forming<I, R> {
    items: Vec<I>,
    replies: Vec<oneshot::Sender<R>>,
    bytes: usize,
}

impl<I, R, H, F> Lane<I, R, H>
where
    I: BatchItem,
    R: Send + 'static,
    H: Fn(Vec<I>) -> F + Send + Sync + 'static,
    F: Future<Output = Vec<R>> + Send + 'static,
{
    pub(super) fn new(
        queue: mpsc::Receiver<Job<I, R>>,
        options: BatcherOptions,
        handler: Arc<H>,
    ) -> Self {
        Self {
            queue,
            options,
            handler,
            carried: None,
        }
    }

    /// Handles batch after batch until all submitters are gone, or the scope drains and the queue is empty.
    pub(super) async fn run(mut self, drain: CancellationToken) {
        while let Some(first) = self.next_first(&drain).await {
            let waiting = self.queue.len().min(self.options.max_items.get() - 1);
            let mut batch = Forming::new(first, 1 + waiting);
            self.fill_from_queue(&mut batch);
            if !self.options.max_delay.is_zero() {
                self.wait_for_company(&mut batch, &drain).await;
            }
            let Forming { items, replies, .. } = batch;
            let results = (self.handler)(items).await;
            if results.len() != replies.len() {
                error!(
                    items = replies.len(),
                    replies = results.len(),
                    "batch handler did not answer every item"
                );
            }
            for (reply, result) in replies.into_iter().zip(results) {
                // A submitter that no longer waits is no failure.
                let _ = reply.send(result);
            }
        }
    }

    async fn next_first(&mut self, drain: &CancellationToken) -> Option<Job<I, R>> {
        if let Some(job) = self.carried.take() {
            return Some(job);
        }
        if drain.is_cancelled() {
            // From here `recv` yields what was accepted before, then `None`.
            self.queue.close();
        }
        tokio::select! {
            biased;
            job = self.queue.recv() => job,
            () = drain.cancelled() => {
                self.queue.close();
                self.queue.recv().await
            }
        }
    }

    fn fill_from_queue(&mut self, batch: &mut Forming<I, R>) {
        while self.has_room(batch) {
            let Ok(job) = self.queue.try_recv() else {
                return;
            };
            self.take_or_carry(batch, job);
        }
    }

    /// Waits until the batch is full or its first item has waited long enough; draining ends the wait.
    async fn wait_for_company(&mut self, batch: &mut Forming<I, R>, drain: &CancellationToken) {
        let deadline = Instant::now() + self.options.max_delay;
        while self.has_room(batch) {
            let next = tokio::select! {
                biased;
                () = drain.cancelled() => return,
                next = timeout_at(deadline, self.queue.recv()) => next,
            };
            let Ok(Some(job)) = next else { return };
            self.take_or_carry(batch, job);
        }
    }

    fn has_room(&self, batch: &Forming<I, R>) -> bool {
        self.carried.is_none()
            && batch.items.len() < self.options.max_items.get()
            && batch.bytes < self.options.max_bytes.get()
    }

    fn take_or_carry(&mut self, batch: &mut Forming<I, R>, job: Job<I, R>) {
        if batch.bytes.saturating_add(job.item.weight_bytes()) > self.options.max_bytes.get() {
            self.carried = Some(job);
        } else {
            batch.push(job);
        }
    }
}

impl<I: BatchItem, R> Forming<I, R> {
    fn new(first: Job<I, R>, expected: usize) -> Self {
        let mut batch = Self {
            items: Vec::with_capacity(expected),
            replies: Vec::with_capacity(expected),
            bytes: 0,
        };
        batch.push(first);
        batch
    }

    fn push(&mut self, job: Job<I, R>) {
        self.bytes = self.bytes.saturating_add(job.item.weight_bytes());
        self.items.push(job.item);
        self.replies.push(job.reply);
    }
}
