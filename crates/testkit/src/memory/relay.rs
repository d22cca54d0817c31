//! Events on their way out, in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::event::Event;
use downlink_domain::id::DeviceKey;
use downlink_ports::{Backlog, ClaimedEvents, EventRelay, StoreError};
use parking_lot::Mutex;

use super::{MemoryStore, State};

/// Lanes that devices are spread over.
const LANES: usize = 16;

/// Lanes that are held, and the one that was given last.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    held: [bool; LANES],
    last: usize,
}

fn lane_of(device: DeviceKey) -> usize {
    usize::from(device.0.to_le_bytes()[0]) % LANES
}

#[async_trait]
impl EventRelay for MemoryStore {
    async fn claim(
        &self,
        limit: u32,
        _hold: Duration,
    ) -> Result<Option<Box<dyn ClaimedEvents>>, StoreError> {
        let mut state = self.state.lock();
        let next = state.relay.last + 1;
        let free = (next..next + LANES).map(|lane| lane % LANES).find(|lane| {
            let mut events = state.outbox.values();
            !state.relay.held[*lane] && events.any(|event| lane_of(event.device_key) == *lane)
        });
        let Some(lane) = free else {
            return Ok(None);
        };
        state.relay.held[lane] = true;
        state.relay.last = lane;
        let own = state
            .outbox
            .iter()
            .filter(|(_, event)| lane_of(event.device_key) == lane);
        let own = own.take(limit as usize);
        let (positions, events) = own.map(|(at, event)| (*at, event.clone())).unzip();
        Ok(Some(Box::new(Claim {
            state: Arc::clone(&self.state),
            lane,
            positions,
            events,
        })))
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let state = self.state.lock();
        Ok(Backlog {
            events: state.outbox.len() as u64,
            oldest: state.outbox.first_key_value().map(|(_, event)| event.at),
        })
    }
}

struct Claim {
    state: Arc<Mutex<State>>,
    lane: usize,
    positions: Vec<u64>,
    events: Vec<Event>,
}

#[async_trait]
impl ClaimedEvents for Claim {
    fn events(&self) -> &[Event] {
        &self.events
    }

    async fn finish(self: Box<Self>, sent: usize) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for position in self.positions.iter().take(sent) {
            if let Some(event) = state.outbox.remove(position) {
                state.outbox_ids.remove(&event.id);
            }
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.state.lock().relay.held[self.lane] = false;
    }
}
