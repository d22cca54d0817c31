//! Presence in memory keeps every promise of the port.

use std::sync::Arc;

use downlink_domain::Timestamp;
use downlink_ports::PresenceDirectory;
use downlink_presence_memory::MemoryPresence;

async fn directory() -> Arc<dyn PresenceDirectory> {
    Arc::new(MemoryPresence::new(Timestamp::from_millis(
        1_767_604_351_412,
    )))
}

downlink_ports::presence_conformance_tests!(directory);
