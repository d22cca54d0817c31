//! The outbox in memory.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::event::Event;
use downlink_ports::{EventOutbox, OutboxBounds, StoreError};

use super::MemoryStore;

/// Most events that one call sheds.
const MAX_TRIM: u64 = 10_000;

#[async_trait]
impl EventOutbox for MemoryStore {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for event in events {
            state.append(event);
        }
        Ok(())
    }

    async fn read_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, Event)>, StoreError> {
        let state = self.state.lock();
        let next = state.outbox.range(after.saturating_add(1)..);
        let next = next.take(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(next.map(|(at, event)| (*at, event.clone())).collect())
    }

    async fn trim(&self, bounds: OutboxBounds, now: Timestamp) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let oldest_kept = now - bounds.retention;
        let mut shed = 0;
        while shed < MAX_TRIM {
            let count = u64::try_from(state.outbox.len()).unwrap_or(u64::MAX);
            let Some(first) = state.outbox.first_entry() else {
                break;
            };
            if count <= bounds.max_events && first.get().at >= oldest_kept {
                break;
            }
            let event = first.remove();
            state.outbox_ids.remove(&event.id);
            shed += 1;
        }
        Ok(shed)
    }
}
