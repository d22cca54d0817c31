//! What a lane hands out: to the caller the place of its call, to the stream what is to be written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use downlink_ports::PeerError;
use futures::Stream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::CallStream;
use super::lane::Lane;
use super::lost::Lost;

/// How a call of a stream ended.
pub(crate) type Outcome<S> = Result<<S as CallStream>::Reply, Lost<<S as CallStream>::Call>>;

/// A call in its place. Dropping it gives the call up: what was not written never is, what was
/// written is cancelled at the server, and a late reply goes nowhere.
pub(crate) struct Ticket<S: CallStream> {
    lane: Arc<Lane<S>>,
    call_id: u64,
    receiver: oneshot::Receiver<Outcome<S>>,
    deadline: Instant,
}

impl<S: CallStream> Ticket<S> {
    pub(crate) fn new(
        lane: Arc<Lane<S>>,
        call_id: u64,
        receiver: oneshot::Receiver<Outcome<S>>,
        deadline: Instant,
    ) -> Self {
        Self {
            lane,
            call_id,
            receiver,
            deadline,
        }
    }

    /// Waits for the reply.
    pub(crate) async fn reply(mut self) -> Outcome<S> {
        let service = S::SERVICE;
        match tokio::time::timeout_at(self.deadline, &mut self.receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Lost::Unknown),
            Err(_) => Err(Lost::Failed(PeerError::DeadlineExceeded { service })),
        }
    }
}

impl<S: CallStream> Drop for Ticket<S> {
    fn drop(&mut self) {
        if !self.receiver.is_terminated() {
            self.lane.give_up(self.call_id);
        }
    }
}

/// What is written to one stream: batches of whatever waits. It ends when its stream was given up.
pub(crate) struct Outbound<S: CallStream> {
    lane: Arc<Lane<S>>,
    stream: u64,
}

impl<S: CallStream> Outbound<S> {
    pub(crate) fn new(lane: Arc<Lane<S>>, stream: u64) -> Self {
        Self { lane, stream }
    }
}

impl<S: CallStream> Stream for Outbound<S> {
    type Item = S::Calls;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Calls>> {
        self.lane.poll_batch(self.stream, context)
    }
}
