//! Jobs that work on many devices.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::nonzero_u32;
use crate::human::HumanDuration;
use crate::violation::Checker;

/// Jobs: one twin update or one method call for all devices or modules that a condition names. The nodes of the twin
/// service share them; what a node had begun when it died, another ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Jobs {
    /// Jobs of a hub that are scheduled, wait or run, 1 to 1000; more are refused. Azure IoT Hub allows 1, 5 or 10,
    /// depending on the tier.
    pub max_active: NonZeroU32,
    /// Devices and modules that all jobs of a hub together begin with per second, 1 to 100,000. Azure IoT Hub allows 10
    /// to 50 per unit; raise it as far as store and devices can bear.
    pub device_rate: NonZeroU32,
    /// Method calls of one job in flight, 1 to 10,000. Devices that do not answer hold one each until their response
    /// timeout.
    pub max_calls: NonZeroU32,
    /// How long a node may be silent before another takes its jobs over, 5 seconds to 10 minutes.
    pub lease: HumanDuration,
    /// Mean time between two looks of each node for jobs that are due, 100 ms to 1 minute. A job created at the same
    /// node begins at once.
    pub poll_interval: HumanDuration,
    /// How long ended jobs and their devices are remembered, 1 hour to 1 year.
    pub history: HumanDuration,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            max_active: nonzero_u32(10),
            device_rate: nonzero_u32(50),
            max_calls: nonzero_u32(100),
            lease: HumanDuration::from_secs(30),
            poll_interval: HumanDuration::from_secs(1),
            history: HumanDuration::from_secs(30 * 86_400),
        }
    }
}

impl Jobs {
    pub(super) fn check(&self, at: &mut Checker) {
        at.number("max_active", self.max_active, 1..=1_000);
        at.number("device_rate", self.device_rate, 1..=100_000);
        at.number("max_calls", self.max_calls, 1..=10_000);
        let (least, most) = (HumanDuration::from_secs(5), HumanDuration::from_secs(600));
        at.duration("lease", self.lease, least..=most);
        let (least, most) = (
            HumanDuration::from_millis(100),
            HumanDuration::from_secs(60),
        );
        at.duration("poll_interval", self.poll_interval, least..=most);
        let least = HumanDuration::from_secs(3_600);
        at.duration(
            "history",
            self.history,
            least..=HumanDuration::from_secs(365 * 86_400),
        );
    }
}
