//! Jobs that share a transaction.

use std::iter::Peekable;

use downlink_domain::event::Event;
use downlink_ports::StoreError;
use tokio::sync::OwnedSemaphorePermit;

use super::Scope;
use super::job::{Callable, Job, Merged};
use super::queue::Queued;
use crate::message_store::{
    Accepted, EnqueueItem, ReceiveItem, Received, SettleItem, Settled, enqueue, receive, settle,
};
use crate::outbox;

/// Jobs of one transaction by kind. None of their callers has an answer yet, so any order among
/// them is a true one; within a kind it is the order of arrival.
#[derive(Default)]
pub(crate) struct Group {
    calls: Vec<Box<dyn Callable>>,
    settles: Vec<Merged<SettleItem, Settled>>,
    enqueues: Vec<Merged<EnqueueItem, Accepted>>,
    receives: Vec<Merged<ReceiveItem, Received>>,
    appends: Vec<Merged<Event, ()>>,
    shares: Vec<OwnedSemaphorePermit>,
}

impl Group {
    /// Takes jobs until the next one would bring more than `max_items`; at least one.
    pub(crate) fn take(
        jobs: &mut Peekable<impl Iterator<Item = Queued>>,
        max_items: usize,
    ) -> Self {
        let mut group = Self::default();
        let mut items = 0;
        while let Some(next) =
            jobs.next_if(|next| items == 0 || items + next.job.len() <= max_items)
        {
            items += next.job.len().max(1);
            group.shares.push(next.share);
            match next.job {
                Job::Enqueue(job) => group.enqueues.push(job),
                Job::Receive(job) => group.receives.push(job),
                Job::Settle(job) => group.settles.push(job),
                Job::Append(job) => group.appends.push(job),
                Job::Call(job) => group.calls.push(job),
            }
        }
        group
    }

    /// Does everything. An error means the whole transaction failed; what concerns one job alone
    /// is kept as its answer.
    ///
    /// Settlements come before messages, so that they make room, and receives after both, so that
    /// they see what they can.
    pub(crate) async fn run(&mut self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        for call in &mut self.calls {
            call.run(scope).await?;
        }
        let items = items_of(&mut self.settles);
        if !items.is_empty() {
            keep(&mut self.settles, settle(scope, items).await?);
        }
        let items = items_of(&mut self.enqueues);
        if !items.is_empty() {
            keep(&mut self.enqueues, enqueue(scope, items).await?);
        }
        let items = items_of(&mut self.receives);
        if !items.is_empty() {
            keep(&mut self.receives, receive(scope, items).await?);
        }
        let items = items_of(&mut self.appends);
        if !items.is_empty() {
            keep(&mut self.appends, outbox::append(scope, items).await?);
        }
        Ok(())
    }

    /// Answers every caller.
    pub(crate) fn answer(self, outcome: &Result<(), StoreError>) {
        self.calls.into_iter().for_each(|job| job.answer(outcome));
        self.settles.into_iter().for_each(|job| job.answer(outcome));
        self.enqueues
            .into_iter()
            .for_each(|job| job.answer(outcome));
        self.receives
            .into_iter()
            .for_each(|job| job.answer(outcome));
        self.appends.into_iter().for_each(|job| job.answer(outcome));
    }
}

/// Takes the items out of all jobs, in order.
fn items_of<I, A>(jobs: &mut [Merged<I, A>]) -> Vec<I> {
    jobs.iter_mut().flat_map(Merged::take_items).collect()
}

/// Gives each job its answers, which are in the order of the items.
fn keep<I, A>(jobs: &mut [Merged<I, A>], answers: Vec<Result<A, StoreError>>) {
    let mut answers = answers.into_iter();
    for job in jobs {
        job.keep(&mut answers);
    }
}
