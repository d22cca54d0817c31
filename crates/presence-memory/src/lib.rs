//! Presence of devices in the memory of one process.
//!
//! [`MemoryPresence`] is the directory of the all-in-one, where gateway and services share a
//! process and presence ends with it; so does it hold when devices polled and what gateways want of rates. Wiring may
//! enter; services see only `downlink_ports::PresenceDirectory`, `GatewayLeases`, `PollThrottle` and `RateShares`.
//!
//! ```
//! use downlink_domain::Timestamp;
//! use downlink_presence_memory::MemoryPresence;
//!
//! let presence = MemoryPresence::new(Timestamp::from_millis(1_767_604_351_412));
//! assert_eq!(presence.watch_count(), 0);
//! ```

mod directory;
mod polls;
mod rates;
mod shard;
#[cfg(test)]
mod tests;

pub use directory::{MAX_WATCHES, MemoryPresence};
pub use polls::MAX_TURNS;
