//! What tests stand on: a clock that moves by hand, ids that count, builders, and every store
//! port in memory.
//!
//! The in-memory stores pass the same conformance suite as the real ones. For tests only; nothing
//! that ships may depend on this room.
//!
//! ```
//! use downlink_ports::Clock;
//! use downlink_testkit::ManualClock;
//! use std::time::Duration;
//!
//! let clock = ManualClock::default();
//! let before = clock.now();
//! clock.advance(Duration::from_secs(5));
//! assert_eq!(clock.now().since(before), Duration::from_secs(5));
//! ```

mod clock;
mod ids;
pub mod memory;
mod own_process;

pub use clock::ManualClock;
pub use downlink_ports::testsuite::given::{
    a_device_spec, a_hub, a_message, a_message_to, a_policy, a_receive, an_event, an_identity,
    noon, queue_rules, sas_keys, somebody, twin_rules,
};
pub use ids::CountingIds;
pub use memory::MemoryStore;
pub use own_process::{assert_names_what_does_not_answer, assert_names_what_it_lacks};
