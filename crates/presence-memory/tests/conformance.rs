//! Presence in memory keeps every promise of the ports.

use std::sync::Arc;

use downlink_domain::Timestamp;
use downlink_ports::testsuite::presence::Presence;
use downlink_presence_memory::MemoryPresence;

async fn presence() -> Presence {
    let started_at = Timestamp::from_millis(1_767_604_351_412);
    Presence::of(Arc::new(MemoryPresence::new(started_at)))
}

downlink_ports::presence_conformance_tests!(presence);
