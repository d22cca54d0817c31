//! Identities.

use std::num::{NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

use super::{nonzero_u32, nonzero_u64};
use crate::violation::Checker;

/// Identities of devices and modules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Registry {
    /// Identities of one hub, devices and modules together, 1 to 100,000,000; more are refused with 403002. Those that
    /// are there stay when it is lowered.
    pub max_identities: NonZeroU64,
    /// Modules of one device, 1 to 500; more are refused with 413003. `$edgeAgent` and `$edgeHub` are not counted.
    pub max_modules_per_device: NonZeroU32,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            max_identities: nonzero_u64(1_000_000),
            max_modules_per_device: nonzero_u32(50),
        }
    }
}

impl Registry {
    pub(super) fn check(&self, at: &mut Checker) {
        at.number("max_identities", self.max_identities, 1..=100_000_000);
        at.number(
            "max_modules_per_device",
            self.max_modules_per_device,
            1..=500,
        );
    }
}
