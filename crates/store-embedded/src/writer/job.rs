//! What is asked of the writer.

use async_trait::async_trait;
use downlink_domain::event::Event;
use downlink_ports::StoreError;
use sqlx::Connection;
use tokio::sync::oneshot;

use super::Scope;
use crate::error::store_error;
use crate::message_store::{Accepted, EnqueueItem, ReceiveItem, Received, SettleItem, Settled};

/// One call.
pub(crate) enum Job {
    /// Messages to accept.
    Enqueue(Merged<EnqueueItem, Accepted>),
    /// Messages to hand out.
    Receive(Merged<ReceiveItem, Received>),
    /// Messages to settle.
    Settle(Merged<SettleItem, Settled>),
    /// Events to append.
    Append(Merged<Event, ()>),
    /// Anything else.
    Call(Box<dyn Callable>),
}

impl Job {
    /// How many items it counts for.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Enqueue(job) => job.count,
            Self::Receive(job) => job.count,
            Self::Settle(job) => job.count,
            Self::Append(job) => job.count,
            Self::Call(_) => 1,
        }
    }
}

/// A call whose items are done together with those of other calls of its kind.
pub(crate) struct Merged<I, A> {
    items: Vec<I>,
    count: usize,
    reply: oneshot::Sender<Result<Vec<A>, StoreError>>,
    answer: Option<Result<Vec<A>, StoreError>>,
}

impl<I, A> Merged<I, A> {
    pub(crate) fn new(items: Vec<I>, reply: oneshot::Sender<Result<Vec<A>, StoreError>>) -> Self {
        Self {
            count: items.len(),
            items,
            reply,
            answer: None,
        }
    }

    /// Takes the items out, to be done.
    pub(crate) fn take_items(&mut self) -> Vec<I> {
        std::mem::take(&mut self.items)
    }

    /// Keeps the answers to its items until the commit; the first error among them is the call's.
    pub(crate) fn keep(&mut self, answers: &mut impl Iterator<Item = Result<A, StoreError>>) {
        // All of them are taken, also after an error: the next call's answers follow.
        let own: Vec<_> = answers.by_ref().take(self.count).collect();
        self.answer = Some(own.into_iter().collect());
    }

    pub(crate) fn answer(self, outcome: &Result<(), StoreError>) {
        let answer = match outcome {
            Ok(()) => self.answer.unwrap_or_else(|| Ok(Vec::new())),
            Err(error) => Err(error.clone()),
        };
        // A caller that went away needs none.
        let _ = self.reply.send(answer);
    }
}

/// A write that stands alone.
#[async_trait]
pub(crate) trait Work: Send + 'static {
    /// What it answers.
    type Answer: Send;

    /// Bytes that it holds while it waits, roughly.
    fn bytes(&self) -> usize {
        1
    }

    /// Does it. On an error nothing of it stays.
    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError>;
}

/// A [`Work`] of any type.
#[async_trait]
pub(crate) trait Callable: Send {
    /// Does the work in a savepoint; an error outside of it is returned.
    async fn run(&mut self, scope: &mut Scope<'_>) -> Result<(), StoreError>;

    /// Answers the caller.
    fn answer(self: Box<Self>, outcome: &Result<(), StoreError>);
}

/// A work, its answer once it is done, and whom to tell.
pub(crate) struct Call<W: Work> {
    work: Option<W>,
    answer: Option<Result<W::Answer, StoreError>>,
    reply: oneshot::Sender<Result<W::Answer, StoreError>>,
}

impl<W: Work> Call<W> {
    pub(crate) fn new(work: W, reply: oneshot::Sender<Result<W::Answer, StoreError>>) -> Self {
        Self {
            work: Some(work),
            answer: None,
            reply,
        }
    }
}

#[async_trait]
impl<W: Work> Callable for Call<W> {
    async fn run(&mut self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        let Some(work) = self.work.take() else {
            return Ok(());
        };
        let mut savepoint = scope.connection.begin().await.map_err(store_error)?;
        let mut inner = Scope {
            connection: &mut savepoint,
            memory: &mut *scope.memory,
        };
        let answer = work.run(&mut inner).await;
        if answer.is_ok() {
            savepoint.commit().await.map_err(store_error)?;
        } else {
            savepoint.rollback().await.map_err(store_error)?;
            scope.memory.forget();
        }
        self.answer = Some(answer);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: &Result<(), StoreError>) {
        let answer = match (outcome, self.answer) {
            (Ok(()), Some(answer)) => answer,
            (Ok(()), None) => Err(StoreError::Unavailable("the work was not done".to_owned())),
            (Err(error), _) => Err(error.clone()),
        };
        // A caller that went away needs none.
        let _ = self.reply.send(answer);
    }
}
