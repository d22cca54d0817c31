//! Calls of one session that are on their way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use downlink_domain::device::Device;
use downlink_domain::id::LockToken;
use downlink_ports::{LockedMessage, MissedChanges, PeerError, SettleError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::session::OperationOutcome;

/// What a call was for. At most one call of each kind is on its way, so that what it changes
/// keeps its order and what arrives meanwhile forms the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Settling = 1,
    Storing = 2,
    Operating = 4,
    LapseTimer = 8,
    Rechecking = 16,
    CatchingUp = 32,
    Pacing = 64,
    AwaitingTurn = 128,
}

/// How a call ended.
pub(super) enum Done<T> {
    Received(u16, Result<Vec<LockedMessage>, PeerError>),
    Settled(
        Vec<LockToken>,
        Result<Vec<Result<(), SettleError>>, PeerError>,
    ),
    Stored(Vec<T>, Result<(), PeerError>),
    /// An operation, and the version of desired from which on a new subscription is told.
    Ended(T, OperationOutcome, Option<u64>),
    Lapse,
    /// What the identity is now.
    Rechecked(Box<Result<Option<Device>, PeerError>>),
    /// What the device missed of its desired properties.
    CaughtUp(Box<Result<MissedChanges, PeerError>>),
    /// The pause after that could not be read is over.
    CatchUp,
    /// Telemetry may be stored.
    Paced,
    /// Messages may be asked for.
    TurnCame,
    /// A receive was not made, because it may not be made now.
    Withdrawn,
    /// The pause after a failed receive is over.
    Retry,
}

impl<T> Done<T> {
    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Received(..) | Self::Withdrawn | Self::Retry | Self::CatchUp => None,
            Self::Settled(..) => Some(Kind::Settling),
            Self::Stored(..) => Some(Kind::Storing),
            Self::Ended(..) => Some(Kind::Operating),
            Self::Lapse => Some(Kind::LapseTimer),
            Self::Rechecked(..) => Some(Kind::Rechecking),
            Self::CaughtUp(..) => Some(Kind::CatchingUp),
            Self::Paced => Some(Kind::Pacing),
            Self::TurnCame => Some(Kind::AwaitingTurn),
        }
    }
}

type Call<T> = Pin<Box<dyn Future<Output = Done<T>> + Send>>;

/// The calls of one session; empty it holds no memory worth the name.
pub(super) struct Running<T> {
    calls: FuturesUnordered<Call<T>>,
    kinds: u8,
}

impl<T> Default for Running<T> {
    fn default() -> Self {
        Self {
            calls: FuturesUnordered::new(),
            kinds: 0,
        }
    }
}

impl<T> Running<T> {
    /// Tells whether a call of this kind is on its way.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.kinds & kind as u8 != 0
    }

    /// Starts the one call of its kind.
    pub(super) fn begin<F>(&mut self, kind: Kind, call: F)
    where
        F: Future<Output = Done<T>> + Send + 'static,
    {
        self.kinds |= kind as u8;
        self.calls.push(Box::pin(call));
    }

    /// Starts a call that keeps its own count.
    pub(super) fn push<F>(&mut self, call: F)
    where
        F: Future<Output = Done<T>> + Send + 'static,
    {
        self.calls.push(Box::pin(call));
    }

    /// The next call that ended, `None` when none is on its way.
    ///
    /// # Cancellation
    /// Safe: calls stay.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Done<T>>> {
        let done = self.calls.poll_next_unpin(cx);
        if let Poll::Ready(Some(done)) = &done
            && let Some(kind) = done.kind()
        {
            self.kinds &= !(kind as u8);
        }
        done
    }
}
