//! The rates of Azure IoT Hub's tiers (errors-limits.md §5.1).

use super::{HubOperation, HubRates, Per, Rate};

/// A tier whose rates a hub takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// No rates.
    #[default]
    None,
    /// The rates of S1.
    S1,
    /// The rates of S2.
    S2,
    /// The rates of S3.
    S3,
}

/// By the second or by the minute, for a hub of one unit and for each unit; the higher holds.
type Row = (HubOperation, Per, [(u32, u32); 3]);

/// `(least, for each unit)` for S1, S2, S3.
const RATES: [Row; HubOperation::COUNT] = [
    (
        HubOperation::Registry,
        Per::Minute,
        [(0, 100), (0, 100), (0, 5_000)],
    ),
    (
        HubOperation::Connect,
        Per::Second,
        [(100, 12), (0, 120), (0, 6_000)],
    ),
    (
        HubOperation::Telemetry,
        Per::Second,
        [(100, 12), (0, 120), (0, 6_000)],
    ),
    (
        HubOperation::C2dSend,
        Per::Minute,
        [(0, 100), (0, 100), (0, 5_000)],
    ),
    (
        HubOperation::C2dReceive,
        Per::Minute,
        [(0, 1_000), (0, 1_000), (0, 50_000)],
    ),
    // 160 KB, 480 KB and 24 MB a second, by 4 KB.
    (
        HubOperation::MethodCall,
        Per::Second,
        [(0, 40), (0, 120), (0, 6_000)],
    ),
    (
        HubOperation::Query,
        Per::Minute,
        [(0, 20), (0, 20), (0, 1_000)],
    ),
    (
        HubOperation::TwinRead,
        Per::Second,
        [(100, 0), (100, 10), (0, 500)],
    ),
    (
        HubOperation::TwinUpdate,
        Per::Second,
        [(50, 0), (50, 5), (0, 250)],
    ),
    (
        HubOperation::Job,
        Per::Minute,
        [(0, 100), (0, 100), (0, 5_000)],
    ),
    (
        HubOperation::Configuration,
        Per::Minute,
        [(0, 20), (0, 20), (0, 20)],
    ),
];

impl Preset {
    /// The rates of a hub of so many units.
    pub fn rates(self, units: u32) -> HubRates {
        let mut rates = HubRates::default();
        let tier = match self {
            Self::None => return rates,
            Self::S1 => 0,
            Self::S2 => 1,
            Self::S3 => 2,
        };
        for (operation, per, tiers) in RATES {
            let (least, each) = tiers[tier];
            let count = each.saturating_mul(units.max(1)).max(least);
            let count = count.min(super::MAX_RATE_COUNT);
            rates.set(operation, Rate::new(count, per, None).ok());
        }
        rates
    }
}
