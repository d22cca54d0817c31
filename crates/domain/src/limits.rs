//! Rates at which a hub and its devices are served (errors-limits.md §5).
//!
//! A hub has rates by class of operation, shared by all its gateways; each device has rates of its own. What is
//! configured holds until an administrator states something else ([`LimitOverrides`]); nothing stated and nothing
//! configured is no limit.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use self::effective::{DeviceRates, HubRates, RatePlan};
pub use self::overrides::{
    LimitKey, LimitOverrides, LimitsChange, LimitsError, LimitsSnapshot, MAX_LIMITED_DEVICES,
    Replaces,
};
pub use self::preset::Preset;
pub use self::share::{WANTS_PER_OPERATION, share};

mod effective;
mod json;
mod overrides;
mod preset;
mod share;
#[cfg(test)]
mod tests;

/// One token of [`HubOperation::MethodCall`] pays for this many bytes of payload (errors-limits.md §5.1).
pub const METHOD_METER_BYTES: usize = 4 * 1024;
/// Most operations a rate may allow in its unit of time.
pub const MAX_RATE_COUNT: u32 = 1_000_000_000;
/// Longest text of a limit, in bytes.
const MAX_LIMIT_BYTES: usize = 64;

macro_rules! classes {
    ($(#[$of:meta])* $type:ident: $($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$doc])* $name,)*
        }

        impl $type {
            /// Every class.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The name in settings, in the administration API and in metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The class of that name.
            pub fn find(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|class| class.name() == name)
            }

            /// Its place among [`Self::ALL`].
            pub const fn place(self) -> usize {
                self as usize
            }
        }
    };
}

classes! {
    /// What a hub has a rate for, all gateways and callers together.
    HubOperation:
    /// Identities: read, list, create, update, delete.
    Registry = "registry";
    /// New connections of devices.
    Connect = "connects";
    /// Messages of devices.
    Telemetry = "telemetry";
    /// Messages to devices.
    C2dSend = "c2d_sends";
    /// Asking for messages over HTTPS.
    C2dReceive = "c2d_receives";
    /// Direct methods, in units of 4 KiB of request payload.
    MethodCall = "method_calls";
    /// Queries.
    Query = "queries";
    /// Reading twins, by whomever.
    TwinRead = "twin_reads";
    /// Writing twins, by whomever.
    TwinUpdate = "twin_updates";
    /// Creating, updating, listing, deleting jobs.
    Job = "jobs";
    /// Anything about configurations.
    Configuration = "configurations";
}

classes! {
    /// What one device has a rate for.
    DeviceOperation:
    /// Messages that it sends.
    Telemetry = "telemetry";
    /// Messages that it is handed, or asks for over HTTPS.
    C2dReceive = "c2d_receives";
    /// Methods that it is called.
    MethodCall = "method_calls";
    /// Its reads of its twin.
    TwinRead = "twin_reads";
    /// Its reports.
    TwinUpdate = "twin_updates";
    /// Its connections.
    Connect = "connects";
}

/// The unit of time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

impl Per {
    /// The unit of so many seconds.
    pub const fn of_seconds(seconds: u32) -> Option<Self> {
        match seconds {
            1 => Some(Self::Second),
            60 => Some(Self::Minute),
            3_600 => Some(Self::Hour),
            _ => None,
        }
    }

    /// Its seconds.
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
        }
    }
}

/// So many operations in a unit of time, and so many at once after a time of rest. Written `100/min` or
/// `50/s burst 200`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    count: u32,
    per: Per,
    burst: Option<u32>,
}

/// A text or numbers that are no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "not a rate: write 50/s, 100/min or 10/h, with `burst 200` behind it where more may come at once, or `unlimited`"
)]
pub struct NotARate;

impl Rate {
    /// Makes a rate of 1 to 1,000,000,000 operations, and as large a burst; without one, it is a second's worth, but no
    /// fewer than 10 and no more than `count`.
    ///
    /// # Errors
    /// [`NotARate`].
    pub fn new(count: u32, per: Per, burst: Option<u32>) -> Result<Self, NotARate> {
        let bounds = 1..=MAX_RATE_COUNT;
        if !bounds.contains(&count) || burst.is_some_and(|burst| !bounds.contains(&burst)) {
            return Err(NotARate);
        }
        Ok(Self { count, per, burst })
    }

    /// Operations in its unit of time.
    pub const fn count(self) -> u32 {
        self.count
    }

    /// Its unit of time.
    pub const fn per(self) -> Per {
        self.per
    }

    /// The burst that was stated, if one was.
    pub const fn stated_burst(self) -> Option<u32> {
        self.burst
    }

    /// Operations in a second.
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / f64::from(self.per.seconds())
    }

    /// Operations at once.
    pub fn burst(self) -> u32 {
        self.burst.unwrap_or_else(|| {
            let second = self.count / self.per.seconds();
            second.max(10).min(self.count)
        })
    }

    /// The rate of so many units of it, its stated burst included.
    #[must_use]
    pub fn times(self, units: u32) -> Self {
        let scale = |count: u32| count.saturating_mul(units.max(1)).min(MAX_RATE_COUNT);
        Self {
            count: scale(self.count),
            per: self.per,
            burst: self.burst.map(scale),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.text())?;
        match self.burst {
            Some(burst) => write!(f, " burst {burst}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        if text.len() > MAX_LIMIT_BYTES {
            return Err(NotARate);
        }
        let (rate, burst) = match text.split_once("burst") {
            Some((rate, burst)) => (rate, Some(number(burst.trim())?)),
            None => (text, None),
        };
        let (count, per) = rate.split_once('/').ok_or(NotARate)?;
        let per = match per.trim() {
            "s" => Per::Second,
            "min" | "m" => Per::Minute,
            "h" => Per::Hour,
            _ => return Err(NotARate),
        };
        Self::new(number(count.trim())?, per, burst)
    }
}

fn number(text: &str) -> Result<u32, NotARate> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or(NotARate)
}

/// What somebody has decided on an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// None.
    Unlimited,
    /// This.
    Rate(Rate),
}

impl Limit {
    /// The rate, if there is one.
    pub const fn rate(self) -> Option<Rate> {
        match self {
            Self::Unlimited => None,
            Self::Rate(rate) => Some(rate),
        }
    }
}

impl From<Option<Rate>> for Limit {
    fn from(rate: Option<Rate>) -> Self {
        rate.map_or(Self::Unlimited, Self::Rate)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Rate(rate) => rate.fmt(f),
        }
    }
}

impl FromStr for Limit {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        match text.trim() {
            "unlimited" => Ok(Self::Unlimited),
            // Untrimmed: the bound is on what was written.
            _ => text.parse().map(Self::Rate),
        }
    }
}
