//! What is done about a call that has no reply: at most one more attempt, at another node.

use std::pin::pin;
use std::time::Duration;

use downlink_ports::PeerError;
use futures::future::{Either, select};
use tracing::debug;

use super::set::NodeSet;
use crate::mux::{CallStream, Lost};

/// Time after which a read is also asked of the next node. Above what a healthy node needs, below
/// what the keep-alive takes to find a silent one.
const HEDGE_AFTER: Duration = Duration::from_secs(1);

/// Whether a call may be made again when its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// No: it would be carried out twice.
    Never,
    /// Only when the node says that it took nothing on.
    IfUntaken,
    /// Yes: a repeat is known by its ids, or writes what is there already.
    Harmless,
    /// Yes, and a node that is slow need not be waited for.
    Read,
}

/// One attempt at a call.
pub(crate) struct Attempt<F> {
    /// Index of its node.
    pub(crate) node: usize,
    pub(crate) outcome: F,
}

/// A call under way: what its first attempt needs to be followed by another.
pub(crate) struct Trial<'a, S: CallStream, C> {
    pub(crate) set: &'a NodeSet<S>,
    /// Hash of the call's key.
    pub(crate) hash: u64,
    pub(crate) repeat: Repeat,
    /// The call once more, where it may be repeated and there is another node.
    pub(crate) spare: Option<C>,
}

impl<S: CallStream, C> Trial<'_, S, C> {
    /// Waits for the outcome of the `first` attempt, and of a second that `again` makes at the
    /// node of the given index. Every attempt ends by the call's own deadline.
    pub(crate) async fn see_through<R, F>(
        mut self,
        first: Attempt<impl Future<Output = Result<R, Lost<C>>>>,
        again: impl Fn(usize, C) -> F,
    ) -> Result<R, PeerError>
    where
        F: Future<Output = Result<R, Lost<C>>>,
    {
        let mut outcome = pin!(first.outcome);
        if self.repeat == Repeat::Read && self.spare.is_some() {
            if let Ok(outcome) = tokio::time::timeout(HEDGE_AFTER, outcome.as_mut()).await {
                return self.follow(first.node, outcome, again).await;
            }
            let hedges = pin!(self.set.hedges.acquire());
            let _hedge = match select(outcome.as_mut(), hedges).await {
                Either::Left((outcome, _)) => {
                    return self.follow(first.node, outcome, again).await;
                }
                Either::Right((hedge, _)) => hedge,
            };
            if let Some(node) = self.set.pick_ready(self.hash, first.node)
                && let Some(call) = self.spare.take()
            {
                let won = race(outcome, again(node, call)).await;
                return won.map_err(|lost| lost.to_error(S::SERVICE));
            }
        }
        let outcome = outcome.await;
        self.follow(first.node, outcome, again).await
    }

    async fn follow<R, F>(
        self,
        node: usize,
        outcome: Result<R, Lost<C>>,
        again: impl Fn(usize, C) -> F,
    ) -> Result<R, PeerError>
    where
        F: Future<Output = Result<R, Lost<C>>>,
    {
        let service = S::SERVICE;
        let call = match outcome {
            Ok(reply) => return Ok(reply),
            Err(Lost::NotSent(call)) => Some(*call),
            Err(Lost::Unknown) => match self.repeat {
                Repeat::Never | Repeat::IfUntaken => None,
                Repeat::Harmless | Repeat::Read => self.spare,
            },
            Err(Lost::Failed(error)) => return Err(error),
        };
        match (call, self.set.pick(self.hash, Some(node))) {
            (Some(call), Some(node)) => {
                debug!(service, "a call goes to another node");
                let outcome = again(node, call).await;
                outcome.map_err(|lost| lost.to_error(service))
            }
            (None, _) | (_, None) => Err(PeerError::Unavailable { service }),
        }
    }
}

/// The first of two attempts that gives an answer.
async fn race<R, C>(
    first: impl Future<Output = Result<R, Lost<C>>> + Unpin,
    second: impl Future<Output = Result<R, Lost<C>>>,
) -> Result<R, Lost<C>> {
    match select(first, pin!(second)).await {
        Either::Left((Err(lost), second)) if lost.is_open() => second.await,
        Either::Right((Err(lost), first)) if lost.is_open() => first.await,
        Either::Left((outcome, _)) | Either::Right((outcome, _)) => outcome,
    }
}
