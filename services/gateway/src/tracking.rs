//! What an operator finds a failed request by (errors-limits.md §1).

use downlink_domain::Timestamp;
use downlink_ports::IdSource;

use crate::shared::Shared;

/// A tracking id: it stands in the body of a failure and in the line of the log that tells more.
#[derive(Clone, Debug)]
pub(crate) struct Tracking {
    /// 32 hexadecimal digits, which are random.
    pub(crate) id: String,
    /// Stands for the gateway.
    pub(crate) gateway: u8,
    pub(crate) at: Timestamp,
}

impl Tracking {
    /// Makes an id for a failure that happens now.
    pub(crate) fn new(shared: &Shared) -> Self {
        let gateway = shared.options.id.as_str().bytes();
        let gateway = gateway.fold(0, |sum: u8, byte| sum.wrapping_mul(31).wrapping_add(byte));
        Self::made(&*shared.peers.ids, gateway, shared.peers.clock.now())
    }

    /// Makes an id for a failure at `gateway` that happens at `at`.
    pub(crate) fn made(ids: &dyn IdSource, gateway: u8, at: Timestamp) -> Self {
        let mut random = [0; 16];
        ids.fill_random(&mut random);
        let id = format!("{:032x}", u128::from_be_bytes(random));
        Self { id, gateway, at }
    }
}

/// `<32 hex>-G:<n>-TimeStamp:<MM/dd/yyyy HH:mm:ss>`, the time in UTC.
impl std::fmt::Display for Tracking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The ISO form has fixed places for years 1 to 9999, which is all there are.
        let at = self.at.to_string();
        let (date, time) = at.split_once('T').unwrap_or((&at, ""));
        let (year, day) = date.split_once('-').unwrap_or((date, ""));
        let time = time.get(..8).unwrap_or(time);
        let day = day.replace('-', "/");
        write!(
            f,
            "{}-G:{}-TimeStamp:{day}/{year} {time}",
            self.id, self.gateway
        )
    }
}
