//! The calls that one batch needs, by lane of a node.
//!
//! Calls of one lane may be about one device, so they keep their order wherever they end: those
//! that the lane has taken go out side by side, and what it did not take, or gave back, is made
//! elsewhere only when the calls before it have their outcome.

use downlink_ports::PeerError;
use futures::future::join_all;
use tokio::time::Instant;

use super::attempts::Trial;
use super::peer::{Added, add, see_through};
use crate::mux::{CallStream, Lost};

/// The calls of one batch.
pub(super) struct Queues<'a, S: CallStream> {
    /// Where in `queues` the queue of a slot is.
    places: Vec<Option<usize>>,
    queues: Vec<Queue<'a, S>>,
}

/// The calls that go to one lane of one node.
struct Queue<'a, S: CallStream> {
    calls: Vec<Entry<'a, S>>,
    /// Whether the lane has taken every call so far.
    is_taken: bool,
    /// What a call was refused with: nothing more goes out then, it would overtake that one.
    refusal: Option<PeerError>,
}

struct Entry<'a, S: CallStream> {
    /// Where its reply belongs.
    index: usize,
    trial: Trial<'a, S, S::Call>,
    added: Added<S>,
}

impl<'a, S: CallStream> Queues<'a, S> {
    /// Makes a queue for each of `slots` that is used.
    pub(super) fn new(slots: usize) -> Self {
        Self {
            places: vec![None; slots],
            queues: Vec::new(),
        }
    }

    /// Adds the call of part `index`, which belongs to a slot of a node.
    pub(super) fn add(
        &mut self,
        index: usize,
        (slot, node): (usize, usize),
        trial: Trial<'a, S, S::Call>,
        call: S::Call,
        deadline: Instant,
    ) {
        let queues = &mut self.queues;
        let place = *self.places[slot].get_or_insert_with(|| {
            queues.push(Queue {
                calls: Vec::with_capacity(1),
                is_taken: true,
                refusal: None,
            });
            queues.len() - 1
        });
        let queue = &mut queues[place];
        let added = queue.admit(node, &trial, call, deadline);
        queue.calls.push(Entry {
            index,
            trial,
            added,
        });
    }

    /// Waits for the outcomes; by index of `count` parts.
    pub(super) async fn see_through(
        self,
        count: usize,
        deadline: Instant,
    ) -> Vec<Result<S::Reply, PeerError>> {
        let queues = self.queues.into_iter().map(|queue| async move {
            let mut replies: Vec<(usize, Result<S::Reply, PeerError>)> =
                Vec::with_capacity(queue.calls.len());
            for mut entry in queue.calls {
                let before = replies.last().and_then(|(_, reply)| reply.as_ref().err());
                if let (Some(error), Err(Lost::NotSent(_))) = (before, &entry.added.ticket) {
                    // Made elsewhere it would overtake what failed.
                    entry.added.ticket = Err(Lost::Failed(error.clone()));
                }
                let reply = see_through(entry.trial, entry.added, deadline).await;
                replies.push((entry.index, reply));
            }
            replies
        });
        let mut replies: Vec<_> = join_all(queues).await.into_iter().flatten().collect();
        debug_assert_eq!(replies.len(), count, "every part has its call");
        replies.sort_unstable_by_key(|(index, _)| *index);
        replies.into_iter().map(|(_, reply)| reply).collect()
    }
}

impl<S: CallStream> Queue<'_, S> {
    fn admit(
        &mut self,
        node: usize,
        trial: &Trial<'_, S, S::Call>,
        call: S::Call,
        deadline: Instant,
    ) -> Added<S> {
        let ticket = match &self.refusal {
            Some(error) => Err(Lost::Failed(error.clone())),
            None if !self.is_taken => Err(Lost::NotSent(Box::new(call))),
            None if self.calls.is_empty() => {
                let added = add(trial.set, node, trial.hash, call, deadline);
                self.is_taken = added.node == node;
                self.note(&added.ticket);
                return added;
            }
            None => {
                let lane = trial.set.node(node).lane(trial.hash);
                let ticket = lane.add(call, deadline);
                self.note(&ticket);
                ticket
            }
        };
        Added { node, ticket }
    }

    fn note<T>(&mut self, ticket: &Result<T, Lost<S::Call>>) {
        match ticket {
            Ok(_) => {}
            Err(Lost::Failed(error)) => self.refusal = Some(error.clone()),
            Err(Lost::NotSent(_) | Lost::Unknown) => self.is_taken = false,
        }
    }
}
