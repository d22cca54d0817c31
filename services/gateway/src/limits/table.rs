//! Rates of devices that have no connection in which to keep them: of those on HTTPS, and of connections themselves.

use std::collections::HashMap;
use std::time::Duration;

use downlink_domain::id::DeviceKey;
use downlink_domain::limits::{DeviceOperation, Rate};
use tokio::time::Instant;

use super::bucket::Bucket;
use super::meter::DeviceMeter;

/// Most buckets that are kept, some 6 MiB. A device beyond them is not limited.
const MAX_BUCKETS: usize = 65_536;
/// Least time between two looks for full buckets, each of which passes all of them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Buckets that are not full; one that is has nothing to remember.
#[derive(Default)]
pub(super) struct DeviceTable {
    buckets: HashMap<(DeviceKey, DeviceOperation), (Rate, Bucket)>,
    swept_at: Option<Instant>,
}

impl DeviceTable {
    /// Takes turns that come within `most`.
    ///
    /// # Errors
    /// The wait, when it is longer.
    pub(super) fn reserve(
        &mut self,
        key: (DeviceKey, DeviceOperation),
        rate: Rate,
        cost: u32,
        now: Instant,
        most: Duration,
    ) -> Result<Duration, Duration> {
        if !self.buckets.contains_key(&key) && self.buckets.len() >= MAX_BUCKETS {
            self.sweep(now);
            if self.buckets.len() >= MAX_BUCKETS {
                return Ok(Duration::ZERO);
            }
        }
        let (per_second, burst) = (rate.per_second(), f64::from(rate.burst()));
        let (of, bucket) = self
            .buckets
            .entry(key)
            .or_insert_with(|| (rate, Bucket::new(per_second, burst, now)));
        if *of != rate {
            *of = rate;
            bucket.set(per_second, burst, now);
        }
        if bucket.is_full(now) {
            // Else a batch above the burst would never come in.
            return Ok(bucket.take(cost, now).min(most));
        }
        bucket.take_within(cost, most, now)
    }

    /// Keeps what a connection has used, as far as there is room.
    pub(super) fn park(&mut self, device: DeviceKey, meter: &DeviceMeter, now: Instant) {
        for (operation, rate, bucket) in meter.buckets() {
            let mut bucket = bucket.clone();
            if bucket.is_full(now) {
                continue;
            }
            if self.buckets.len() >= MAX_BUCKETS {
                self.sweep(now);
            }
            if self.buckets.len() < MAX_BUCKETS {
                self.buckets.insert((device, operation), (rate, bucket));
            }
        }
    }

    /// Gives back to a connection what was kept of an earlier one.
    pub(super) fn unpark(&mut self, device: DeviceKey, meter: &mut DeviceMeter) {
        if self.buckets.is_empty() {
            return;
        }
        for operation in DeviceOperation::ALL {
            // Connections are counted here alone.
            if *operation == DeviceOperation::Connect {
                continue;
            }
            if let Some((rate, bucket)) = self.buckets.remove(&(device, *operation)) {
                meter.restore(*operation, rate, bucket);
            }
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now < at + SWEEP_INTERVAL) {
            return;
        }
        self.swept_at = Some(now);
        self.buckets.retain(|_, (_, bucket)| !bucket.is_full(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn full_buckets_make_room_and_devices_beyond_the_bound_are_not_limited() {
        let (start, rate): (_, Rate) = (Instant::now(), "1/s burst 1".parse().unwrap());
        let mut table = DeviceTable::default();
        let mut take = |device: usize, now| {
            let device = DeviceKey(i64::try_from(device).unwrap());
            let key = (device, DeviceOperation::Connect);
            table.reserve(key, rate, 1, now, Duration::ZERO)
        };
        for device in 0..MAX_BUCKETS {
            assert_eq!(take(device, start), Ok(Duration::ZERO));
        }
        assert_eq!(take(0, start), Err(Duration::from_secs(1)));
        for _ in 0..3 {
            assert_eq!(take(MAX_BUCKETS, start), Ok(Duration::ZERO), "not noted");
        }
        let later = start + Duration::from_secs(2);
        assert_eq!(take(MAX_BUCKETS, later), Ok(Duration::ZERO));
        assert!(take(MAX_BUCKETS, later).is_err(), "there is room now");
    }
}
