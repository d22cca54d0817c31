//! Durable events that wait for a consumer.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::event::Event;

use crate::StoreError;

/// What the outbox keeps while nobody relays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxBounds {
    /// Oldest age kept.
    pub retention: Duration,
    /// Most events kept; above it the oldest are shed.
    pub max_events: u64,
}

/// Durable events in the order of their commit.
#[async_trait]
pub trait EventOutbox: Send + Sync {
    /// Appends events; when it returns they are on disk. An id that is there already is skipped.
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError>;

    /// Reads at most `limit` events after the position `after`, with their positions, which rise.
    async fn read_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, Event)>, StoreError>;

    /// Sheds what is outside `bounds`, at most 10,000 events a call; returns how many.
    async fn trim(&self, bounds: OutboxBounds, now: Timestamp) -> Result<u64, StoreError>;
}

/// Events on their way out. Events are spread over lanes by device; a lane has one holder at a
/// time, so the events of one device leave in order.
#[async_trait]
pub trait EventRelay: Send + Sync {
    /// Claims a lane that has events and that nobody holds, with its oldest events, at most
    /// `limit` (1-10,000). `None` when there is no such lane. Lanes are taken in turn: a lane
    /// that is always full does not starve the others.
    ///
    /// What holds the claim must finish or drop it within `hold`; the store may give the lane
    /// to another holder after that, and the events may then go out twice.
    async fn claim(
        &self,
        limit: u32,
        hold: Duration,
    ) -> Result<Option<Box<dyn ClaimedEvents>>, StoreError>;

    /// How many events wait and since when the oldest does; both may be estimates that are a
    /// minute old.
    async fn backlog(&self) -> Result<Backlog, StoreError>;
}

/// Events of one lane, oldest first, held by this claim alone. Dropping it gives the lane back
/// with all its events.
#[async_trait]
pub trait ClaimedEvents: Send {
    /// The events, in the order in which each device's must go out.
    fn events(&self) -> &[Event];

    /// Removes the first `sent` events for good and gives the lane back.
    async fn finish(self: Box<Self>, sent: usize) -> Result<(), StoreError>;
}

/// What waits to be relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Events that wait.
    pub events: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
}

/// Where events go: a log that others read.
#[async_trait]
pub trait EventSink: Send + Sync {
    /// Hands events over in their order and waits until the log has them for good, at most
    /// `within`. Returns how many of the first are there; those after it may be there as well and
    /// are to be sent again (each has a stable id).
    async fn publish(&self, events: &[Event], within: Duration) -> usize;
}
