//! Rates at which a hub and its devices are served.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::nonzero_u32;
use crate::human::{HumanDuration, HumanLimit};
use crate::violation::Checker;

const SECOND: HumanDuration = HumanDuration::from_secs(1);
const MINUTE: HumanDuration = HumanDuration::from_secs(60);

/// Whose rates a hub takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum LimitsPreset {
    /// Nobody's: there are none.
    #[default]
    #[serde(rename = "none")]
    None,
    /// Those of S1 of Azure IoT Hub.
    S1,
    /// Those of S2.
    S2,
    /// Those of S3.
    S3,
}

/// Rates at which a hub and its devices are served. None by default: a hub of one's own is as fast as its machines.
/// Administrators change them while the hub runs (`/admin/limits`); docs/limits.md tells how they work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The tier of Azure IoT Hub whose rates a hub has where `hub` says nothing else: `none`, `S1`, `S2`, `S3`.
    pub preset: LimitsPreset,
    /// Units of that tier, 1 to 10,000.
    pub units: NonZeroU32,
    /// Rates of each hub, all its gateways together.
    pub hub: HubRates,
    /// Rates of each device.
    pub device: DeviceRates,
    /// Longest time that an operation waits for its turn before it is refused instead, up to 25 seconds. Telemetry over
    /// MQTT is never refused: it waits as long as it takes, and its connection is read no further.
    pub max_delay: HumanDuration,
    /// Operations of one class that may wait at one gateway, 1 to 1,000,000; more are refused.
    pub max_backlog: NonZeroU32,
    /// How long a rate may be exceeded without a break until refusals say so (429001), 1 second to 1 hour.
    pub long_violation: HumanDuration,
    /// Time between two looks of a gateway at what administrators state, 100 ms to 1 minute.
    pub refresh_interval: HumanDuration,
    /// Time between two exchanges in which gateways tell each other what they want of a hub's rates, 50 ms to 5 seconds.
    /// Nothing is exchanged while no hub has a rate.
    pub exchange_interval: HumanDuration,
    /// How long shares stay as they are when gateways cannot exchange what they want, 1 second to 10 minutes. After it
    /// each gateway takes an even share.
    pub share_timeout: HumanDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            preset: LimitsPreset::default(),
            units: nonzero_u32(1),
            hub: HubRates::default(),
            device: DeviceRates::default(),
            max_delay: HumanDuration::from_secs(5),
            max_backlog: nonzero_u32(1_000),
            long_violation: MINUTE,
            refresh_interval: SECOND,
            exchange_interval: HumanDuration::from_millis(200),
            share_timeout: HumanDuration::from_secs(10),
        }
    }
}

impl Limits {
    pub(super) fn check(&self, at: &mut Checker) {
        at.number("units", self.units, 1..=10_000);
        at.duration(
            "max_delay",
            self.max_delay,
            HumanDuration::default()..=HumanDuration::from_secs(25),
        );
        at.number("max_backlog", self.max_backlog, 1..=1_000_000);
        at.duration(
            "long_violation",
            self.long_violation,
            SECOND..=HumanDuration::from_secs(3_600),
        );
        at.duration(
            "refresh_interval",
            self.refresh_interval,
            HumanDuration::from_millis(100)..=MINUTE,
        );
        at.duration(
            "exchange_interval",
            self.exchange_interval,
            HumanDuration::from_millis(50)..=HumanDuration::from_secs(5),
        );
        at.duration(
            "share_timeout",
            self.share_timeout,
            SECOND..=HumanDuration::from_secs(600),
        );
    }
}

macro_rules! rates {
    ($(#[$of:meta])* $type:ident = $default:expr; $($(#[$doc:meta])* $name:ident,)*) => {
        $(#[$of])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(default, deny_unknown_fields)]
        pub struct $type {
            $($(#[$doc])* pub $name: HumanLimit,)*
        }

        impl Default for $type {
            fn default() -> Self {
                Self { $($name: $default,)* }
            }
        }

        impl $type {
            /// Every class by its name.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, HumanLimit)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

rates! {
    /// Rates of each hub, all its gateways together: `"preset"` for that of the tier, `"unlimited"`, or as in
    /// `"100/min"`, `"50/s burst 200"`. Without a burst, as much comes at once as in a second, but 10 at least.
    HubRates = HumanLimit::Preset;
    /// Identities: read, list, create, update, delete. S1: 100/min for each unit.
    registry,
    /// New connections of devices. S1: 12/s for each unit, 100/s at least.
    connects,
    /// Messages of devices. S1: 12/s for each unit, 100/s at least.
    telemetry,
    /// Messages to devices. S1: 100/min for each unit.
    c2d_sends,
    /// Asking for messages over HTTPS. S1: 1000/min for each unit.
    c2d_receives,
    /// Direct methods, in units of 4 KiB of request payload. S1: 40/s (160 KB/s) for each unit.
    method_calls,
    /// Queries. S1: 20/min for each unit.
    queries,
    /// Reading twins, by devices and back-ends. S1: 100/s.
    twin_reads,
    /// Writing twins, by devices and back-ends. S1: 50/s.
    twin_updates,
    /// Creating, reading and cancelling jobs. S1: 100/min for each unit.
    jobs,
    /// Anything about configurations. S1: 20/min for each unit.
    configurations,
}

rates! {
    /// Rates of each device, written as those of a hub. A device that is faster is slowed, then refused; others do not
    /// notice.
    DeviceRates = HumanLimit::Unlimited;
    /// Messages that it sends.
    telemetry,
    /// Messages that it is handed, or asks for over HTTPS.
    c2d_receives,
    /// Methods that it is called; more are refused at once.
    method_calls,
    /// Its reads of its twin.
    twin_reads,
    /// Its reports.
    twin_updates,
    /// Its connections.
    connects,
}
