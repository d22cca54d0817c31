//! The in-memory stores keep every promise of the ports.

use std::sync::Arc;

use downlink_ports::testsuite::Subject;
use downlink_testkit::MemoryStore;

async fn subject() -> Subject {
    Subject::of(Arc::new(MemoryStore::new()), ())
}

downlink_ports::conformance_tests!(subject);
