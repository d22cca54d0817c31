//! How often devices may ask for messages over HTTPS, where nothing holds a connection to push them on.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;

use crate::StoreError;

/// Whether a device may ask now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollTurn {
    /// It may; its next turn comes after the interval.
    Taken,
    /// It asked within the interval since its last turn.
    TooSoon {
        /// How long to wait, as far as the clocks of the nodes agree; at most the interval.
        wait: Duration,
    },
}

/// Turns of devices to poll, shared by all gateways (http-device.md §7). May be lost: then devices poll once more than
/// they should.
#[async_trait]
pub trait PollThrottle: Send + Sync {
    /// Takes the device's turn, unless it took one within `interval` (at least a millisecond). Of many calls at once,
    /// on whatever nodes, one takes it. `now` is the caller's clock and serves to tell the wait alone; a turn ends by
    /// the throttle's own clock.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the turn may have been taken. Callers let the device poll.
    async fn take_turn(
        &self,
        device: DeviceKey,
        interval: Duration,
        now: Timestamp,
    ) -> Result<PollTurn, StoreError>;
}
