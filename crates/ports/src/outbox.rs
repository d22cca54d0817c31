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
