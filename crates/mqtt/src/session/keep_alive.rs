//! Keep-alive (mqtt.md §4, [MQTT-3.1.2-24]).

use std::time::Duration;

use crate::limits::MAX_KEEP_ALIVE_TIMEOUT_SECONDS;

/// How long a connection lives without a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    timeout: Duration,
}

impl KeepAlive {
    /// Reads the seconds of CONNECT: one and a half times that, at most the cap; 0 means the cap.
    pub fn from_seconds(seconds: u16) -> Self {
        let cap = Duration::from_secs(MAX_KEEP_ALIVE_TIMEOUT_SECONDS);
        let one_and_a_half = Duration::from_millis(u64::from(seconds).saturating_mul(1500));
        let timeout = if seconds == 0 {
            cap
        } else {
            one_and_a_half.min(cap)
        };
        Self { timeout }
    }

    /// Lowers the cap to `longest`.
    #[must_use]
    pub fn at_most(self, longest: Duration) -> Self {
        Self {
            timeout: self.timeout.min(longest),
        }
    }

    /// Returns the time after the last packet at which the connection is closed.
    pub fn timeout(self) -> Duration {
        self.timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_timeout(seconds: u16, milliseconds: u64) {
        let timeout = KeepAlive::from_seconds(seconds).timeout();
        assert_eq!(timeout, Duration::from_millis(milliseconds));
    }

    #[test]
    fn the_timeout_is_one_and_a_half_times_the_keep_alive_up_to_the_cap() {
        assert_timeout(1, 1_500);
        assert_timeout(60, 90_000);
        assert_timeout(1177, 1_765_500);
        assert_timeout(1178, 1_767_000);
        assert_timeout(u16::MAX, 1_767_000);
    }

    #[test]
    fn the_cap_can_be_lowered_but_not_raised() {
        let minute = Duration::from_mins(1);
        assert_eq!(KeepAlive::from_seconds(0).at_most(minute).timeout(), minute);
        let lower = KeepAlive::from_seconds(10).at_most(minute).timeout();
        assert_eq!(lower, Duration::from_secs(15));
    }

    #[test]
    fn no_keep_alive_means_the_cap() {
        assert_timeout(0, 1_767_000);
    }
}
