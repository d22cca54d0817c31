//! Plain options of the service; the configuration section that fills them lives in
//! `downlink-config`.

use std::num::NonZeroU32;
use std::time::Duration;

use downlink_domain::caps;
use thiserror::Error;

/// Longest `answer_margin`: less than half of the shortest response timeout.
const MAX_ANSWER_MARGIN: Duration = Duration::from_secs(2);

/// What an operator may set about direct methods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodOptions {
    /// Calls in flight for one device, those that wait for it included; one more is refused with
    /// `TooManyInFlight`.
    pub max_per_device: NonZeroU32,
    /// Calls in flight on this node; one more is refused as unavailable.
    pub max_in_flight: NonZeroU32,
    /// Largest payload in each direction, in bytes.
    pub max_payload_bytes: usize,
    /// How long before the end of the response timeout the caller is told that it ended, at most
    /// 2 s. Some SDKs give up at that very instant and would see a broken connection instead
    /// (methods.md §1.2).
    pub answer_margin: Duration,
}

/// An option outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option} must be {bounds}")]
pub struct OptionsError {
    /// Which option.
    pub option: &'static str,
    /// What it must be.
    pub bounds: &'static str,
}

impl Default for MethodOptions {
    fn default() -> Self {
        Self {
            max_per_device: NonZeroU32::MIN.saturating_add(99),
            max_in_flight: NonZeroU32::MIN.saturating_add(49_999),
            max_payload_bytes: caps::MAX_METHOD_BYTES,
            answer_margin: Duration::from_millis(200),
        }
    }
}

impl MethodOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// All violations.
    pub fn validate(&self) -> Result<(), Vec<OptionsError>> {
        if self.answer_margin <= MAX_ANSWER_MARGIN {
            return Ok(());
        }
        Err(vec![OptionsError {
            option: "answer_margin",
            bounds: "at most 2 s",
        }])
    }
}
