//! Refusals of what comes too fast.

use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_domain::limits::{DeviceOperation, HubOperation};
use downlink_ports::PeerError;
use thiserror::Error;

/// Why the hub's rate refuses (errors-limits.md §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Too many wait.
    Backlog,
    /// It would wait too long.
    Wait,
    /// It has been so for long.
    LongViolation,
}

/// Something comes faster than it may.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}, wait {} s", self.seconds())]
pub struct Throttled {
    code: ErrorCode,
    text: String,
    wait: Duration,
}

impl Throttled {
    /// The hub is asked for more of a class than it may be.
    pub fn hub(operation: HubOperation, reason: Reason, wait: Duration) -> Self {
        let (code, text) = match reason {
            Reason::Backlog => (
                ErrorCode::ThrottleBacklogLimitExceeded,
                "too many operations wait",
            ),
            Reason::Wait => (
                ErrorCode::ThrottlingBacklogTimeout,
                "operations would wait too long",
            ),
            Reason::LongViolation => (
                ErrorCode::ThrottlingException,
                "the rate has been exceeded for long",
            ),
        };
        Self {
            code,
            text: format!("{text} ({})", operation.name()),
            wait,
        }
    }

    /// One device is too fast.
    pub fn device(operation: DeviceOperation, wait: Duration) -> Self {
        let operation = operation.name();
        Self {
            code: ErrorCode::DeviceThrottlingLimitExceeded,
            text: format!("the device is faster than it may be ({operation})"),
            wait,
        }
    }

    /// The code of the catalogue.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// When it would have its turn.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// The same in whole seconds, and not one too early.
    pub fn seconds(&self) -> u64 {
        let seconds = self.wait.as_millis().div_ceil(1000).max(1);
        u64::try_from(seconds).unwrap_or(u64::MAX)
    }
}

impl From<Throttled> for PeerError {
    fn from(throttled: Throttled) -> Self {
        Self::refused(throttled.code, &throttled)
    }
}
