//! A peer service as its callers hold it: calls spread over nodes, lanes and frames.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use downlink_ports::PeerError;
use downlink_runtime::Lifecycle;
use tokio::time::Instant;

use super::attempts::{Attempt, Repeat, Trial};
use super::members::Members;
use super::node::Node;
use super::queues::Queues;
use super::set::NodeSet;
use crate::carrier::Endpoint;
use crate::failure::unreadable;
use crate::mux::{CallStream, Item, Lost, MuxOptions, Part, Standing, Ticket, split};

/// Calls to one service. Dropping it closes the connections once the last call has ended.
pub(crate) struct Peer<S: CallStream> {
    members: Members<S>,
    call_timeout: Duration,
}

/// A call that was added to a lane, or could not be.
pub(super) struct Added<S: CallStream> {
    pub(super) node: usize,
    pub(super) ticket: Result<Ticket<S>, Lost<S::Call>>,
}

impl<S: CallStream> Peer<S> {
    /// A service of one node; begins to connect, calls wait for the first attempt.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn one(endpoint: &Endpoint, options: &MuxOptions, lifecycle: &Lifecycle) -> Self {
        let node = Node::start("", endpoint, options, Standing::Ready, lifecycle);
        let set = NodeSet::new(vec![node], options.lanes);
        Self::many(Members::Fixed(Arc::new(set)), options)
    }

    /// A service whose nodes come and go.
    pub(crate) fn many(members: Members<S>, options: &MuxOptions) -> Self {
        Self {
            members,
            call_timeout: options.call_timeout,
        }
    }

    /// Time of a call that has none of its own.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.call_timeout
    }

    /// The nodes as they are now; waits for the first look-up until `deadline`.
    pub(crate) async fn nodes(&self, deadline: Instant) -> Result<Arc<NodeSet<S>>, PeerError> {
        self.members.current(deadline).await
    }

    /// Makes one call, at the node and on the lane of `key`, within `timeout`, `None` for the
    /// usual one.
    pub(crate) async fn call(
        &self,
        key: &(impl Hash + Sync),
        call: S::Call,
        timeout: Option<Duration>,
        repeat: Repeat,
    ) -> Result<S::Reply, PeerError> {
        let deadline = Instant::now() + timeout.unwrap_or(self.call_timeout);
        let set = self.nodes(deadline).await?;
        let service = S::SERVICE;
        let hash = set.hash_of(key);
        let node = set
            .pick(hash, None)
            .ok_or(PeerError::Unavailable { service })?;
        let trial = Trial {
            set: &set,
            hash,
            repeat,
            spare: spare(&set, &call, repeat),
        };
        let added = add(&set, node, hash, call, deadline);
        see_through(trial, added, deadline).await
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
        repeat: Repeat,
        make: impl Fn(Vec<T::Wire>) -> S::Call,
        read: impl Fn(S::Reply, &[usize]) -> Result<Vec<R>, PeerError>,
    ) -> Result<Vec<R>, PeerError>
    where
        T: Item,
    {
        let results = self.call_with_each_item(items, repeat, make, read).await;
        results.into_iter().collect()
    }

    /// As [`Self::call_with_items`], but what failed over one call is told of its items alone.
    pub(crate) async fn call_with_each_item<T, R>(
        &self,
        items: Vec<T>,
        repeat: Repeat,
        make: impl Fn(Vec<T::Wire>) -> S::Call,
        read: impl Fn(S::Reply, &[usize]) -> Result<Vec<R>, PeerError>,
    ) -> Vec<Result<R, PeerError>>
    where
        T: Item,
    {
        let service = S::SERVICE;
        let count = items.len();
        let deadline = Instant::now() + self.call_timeout;
        let set = match self.nodes(deadline).await {
            Ok(set) if set.is_empty() => return vec_of(count, &PeerError::Unavailable { service }),
            Ok(set) => set,
            Err(error) => return vec_of(count, &error),
        };
        let picker = set.picker();
        let mut parts = split(items, picker.slots(), |item| picker.place(&item.lane_key()));
        let mut queues = Queues::new(picker.slots());
        for (index, part) in parts.iter_mut().enumerate() {
            let call = make(std::mem::take(&mut part.items));
            let slot = part.place.slot;
            let trial = Trial {
                set: &*set,
                hash: part.place.hash,
                repeat,
                spare: spare(&set, &call, repeat),
            };
            let node = picker.node_of(slot);
            queues.add(index, (slot, node), trial, call, deadline);
        }
        let replies = queues.see_through(parts.len(), deadline).await;
        spread(service, count, &parts, replies, read)
    }
}

/// Adds a call to its lane; to that of the next node if this one cannot be reached.
pub(super) fn add<S: CallStream>(
    set: &NodeSet<S>,
    node: usize,
    hash: u64,
    call: S::Call,
    deadline: Instant,
) -> Added<S> {
    let ticket = set.node(node).lane(hash).add(call, deadline);
    match ticket {
        Err(Lost::NotSent(call)) => match set.pick(hash, Some(node)) {
            Some(next) => Added {
                node: next,
                ticket: set.node(next).lane(hash).add(*call, deadline),
            },
            None => Added {
                node,
                ticket: Err(Lost::NotSent(call)),
            },
        },
        ticket => Added { node, ticket },
    }
}

/// Waits for the outcome of a call that was added. Where there is one node there is nothing but
/// its reply.
pub(super) async fn see_through<S: CallStream>(
    trial: Trial<'_, S, S::Call>,
    added: Added<S>,
    deadline: Instant,
) -> Result<S::Reply, PeerError> {
    if !trial.set.is_single() {
        return Box::pin(follow(trial, added, deadline)).await;
    }
    let outcome = match added.ticket {
        Ok(ticket) => ticket.reply().await,
        Err(lost) => Err(lost),
    };
    outcome.map_err(|lost| lost.to_error(S::SERVICE))
}

async fn follow<S: CallStream>(
    mut trial: Trial<'_, S, S::Call>,
    added: Added<S>,
    deadline: Instant,
) -> Result<S::Reply, PeerError> {
    let Trial { set, hash, .. } = trial;
    let untaken = match trial.repeat {
        Repeat::IfUntaken => trial.spare.take(),
        Repeat::Never | Repeat::Harmless | Repeat::Read => None,
    };
    let began = Instant::now();
    let first = Attempt {
        node: added.node,
        outcome: async {
            let reply = added.ticket?.reply().await?;
            match untaken {
                Some(call) if S::is_untaken(&reply) => Err(Lost::NotSent(Box::new(call))),
                Some(_) | None => Ok(reply),
            }
        },
    };
    let again = |node: usize, mut call| {
        S::on_repeat(&mut call, began.elapsed());
        let ticket = set.node(node).lane(hash).add(call, deadline);
        async { ticket?.reply().await }
    };
    trial.see_through(first, again).await
}

/// A copy for a second attempt, where there may be one.
fn spare<S: CallStream>(set: &NodeSet<S>, call: &S::Call, repeat: Repeat) -> Option<S::Call> {
    let may_repeat = match repeat {
        Repeat::Never => false,
        Repeat::IfUntaken | Repeat::Harmless | Repeat::Read => !set.is_single(),
    };
    may_repeat.then(|| call.clone())
}

/// Puts what the calls answered where their items stood.
fn spread<W, Y, R>(
    service: &'static str,
    count: usize,
    parts: &[Part<W>],
    replies: Vec<Result<Y, PeerError>>,
    read: impl Fn(Y, &[usize]) -> Result<Vec<R>, PeerError>,
) -> Vec<Result<R, PeerError>> {
    let mut results: Vec<Option<Result<R, PeerError>>> =
        std::iter::repeat_with(|| None).take(count).collect();
    for (part, reply) in parts.iter().zip(replies) {
        let read = reply.and_then(|reply| {
            let read = read(reply, &part.positions)?;
            let is_whole = read.len() == part.positions.len();
            is_whole.then_some(read).ok_or_else(|| unreadable(service))
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
    let answered = |result: Option<_>| result.unwrap_or_else(|| Err(unreadable(service)));
    results.into_iter().map(answered).collect()
}

fn vec_of<R>(count: usize, error: &PeerError) -> Vec<Result<R, PeerError>> {
    std::iter::repeat_with(|| Err(error.clone()))
        .take(count)
        .collect()
}
