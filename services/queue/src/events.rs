//! The event outbox: recording telemetry, and keeping the outbox within its bounds.

use std::sync::Arc;

use downlink_domain::event::Event;
use downlink_ports::PeerError;
use tracing::{debug, warn};

use crate::service::Shared;

/// What [`downlink_ports::EventOutbox::trim`] sheds at most by one call.
const TRIM_BATCH: u64 = 10_000;

/// Stores events; answered when they are on disk.
pub(crate) async fn record(shared: &Shared, events: Vec<Event>) -> Result<(), PeerError> {
    let count = events.len() as u64;
    let appended = shared.deps.outbox.append(events).await;
    appended.map_err(|error| shared.store_failed("record events", error))?;
    shared.metrics.events.recorded.add(count);
    shared.arrivals.announce();
    Ok(())
}

/// Trims the outbox at slow ticks until the service drains.
pub(crate) async fn run_trimmer(shared: Arc<Shared>) {
    loop {
        let next = shared.deps.clock.now() + shared.options.outbox_trim_interval;
        tokio::select! {
            () = shared.drain.cancelled() => return,
            () = shared.deps.clock.sleep_until(next) => {}
        }
        trim(&shared).await;
    }
}

/// Sheds what is outside the bounds, batch after batch, so that writers get their turn between.
async fn trim(shared: &Shared) {
    let now = shared.deps.clock.now();
    while !shared.drain.is_cancelled() {
        match shared.deps.outbox.trim(shared.options.outbox, now).await {
            Ok(shed) => {
                shared.metrics.events.shed.add(shed);
                if shed > 0 && shared.deps.relay.is_some() {
                    warn!(
                        shed,
                        "events were shed that nobody has read: the outbox is at its bounds"
                    );
                }
                if shed < TRIM_BATCH {
                    debug!(shed, "outbox trimmed");
                    return;
                }
            }
            Err(error) => {
                shared.metrics.store_failures.increment();
                warn!(%error, "outbox was not trimmed");
                return;
            }
        }
    }
}
