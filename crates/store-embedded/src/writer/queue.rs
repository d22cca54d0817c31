//! The bounded queue before the writer.

use std::sync::Arc;

use downlink_ports::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::job::{Call, Job, Merged, Work};
use crate::store::StoreOptions;

/// Bytes that one permit stands for.
const PERMIT_BYTES: usize = 1_024;

/// A job and its share of the bytes that may wait.
pub(crate) struct Queued {
    pub(crate) job: Job,
    pub(crate) share: OwnedSemaphorePermit,
}

/// The way to the writer. Full means refused: nothing waits for room.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    jobs: mpsc::Sender<Queued>,
    shares: Arc<Semaphore>,
    most_shares: u32,
}

impl Queue {
    pub(crate) fn new(options: &StoreOptions) -> (Self, mpsc::Receiver<Queued>) {
        let (jobs, waiting) = mpsc::channel(options.max_queued_jobs.max(1));
        let most = (options.max_queued_bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let most_shares = u32::try_from(most).unwrap_or(u32::MAX);
        let shares = Arc::new(Semaphore::new(most));
        let queue = Self {
            jobs,
            shares,
            most_shares,
        };
        (queue, waiting)
    }

    /// Has `work` done in a transaction, alone in a savepoint of its own.
    pub(crate) async fn call<W: Work>(&self, work: W) -> Result<W::Answer, StoreError> {
        let bytes = work.bytes();
        let (reply, answer) = oneshot::channel();
        self.send(Job::Call(Box::new(Call::new(work, reply))), bytes)?;
        answer.await.map_err(|_| unanswered())?
    }

    /// Has `items` done together with those of other callers; answers by position.
    pub(crate) async fn merge<I, A>(
        &self,
        kind: impl FnOnce(Merged<I, A>) -> Job,
        items: Vec<I>,
        bytes: usize,
    ) -> Result<Vec<A>, StoreError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        self.send(kind(Merged::new(items, reply)), bytes)?;
        answer.await.map_err(|_| unanswered())?
    }

    fn send(&self, job: Job, bytes: usize) -> Result<(), StoreError> {
        // A job larger than the whole allowance may go when nothing else waits.
        let wanted = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        let wanted = wanted.clamp(1, self.most_shares);
        let share = Arc::clone(&self.shares).try_acquire_many_owned(wanted);
        let share = share.map_err(|_| StoreError::Overloaded)?;
        let queued = Queued { job, share };
        self.jobs.try_send(queued).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => {
                StoreError::Unavailable("the store is closed".to_owned())
            }
        })
    }
}

/// The writer was cut off; it cannot be told what of the job was done.
fn unanswered() -> StoreError {
    StoreError::Unavailable("the store was stopped".to_owned())
}
