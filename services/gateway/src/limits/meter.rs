//! The rates of one connected device, kept in its connection.

use std::time::Duration;

use downlink_domain::limits::{DeviceOperation, DeviceRates, Rate};
use tokio::time::Instant;

use super::bucket::Bucket;

/// Buckets of one device, as far as it is limited.
#[derive(Debug)]
pub struct DeviceMeter {
    /// Of what was stated when they were made.
    version: u64,
    buckets: [Option<(Rate, Bucket)>; DeviceOperation::COUNT],
}

/// What may be done of what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// So much of it now.
    Now(u32),
    /// Nothing before that time has passed.
    After(Duration),
}

impl DeviceMeter {
    /// Makes full buckets.
    pub fn new(rates: &DeviceRates, version: u64, now: Instant) -> Self {
        let mut meter = Self {
            version,
            buckets: std::array::from_fn(|_| None),
        };
        meter.set(rates, version, now);
        meter
    }

    /// Changes the rates; what was taken stays taken.
    pub fn set(&mut self, rates: &DeviceRates, version: u64, now: Instant) {
        self.version = version;
        for operation in DeviceOperation::ALL {
            let bucket = &mut self.buckets[operation.place()];
            match (rates.of(*operation), &mut *bucket) {
                (None, bucket) => *bucket = None,
                (Some(rate), Some((of, bucket))) => {
                    if *of != rate {
                        *of = rate;
                        bucket.set(rate.per_second(), f64::from(rate.burst()), now);
                    }
                }
                (Some(rate), bucket @ None) => {
                    let full = Bucket::new(rate.per_second(), f64::from(rate.burst()), now);
                    *bucket = Some((rate, full));
                }
            }
        }
    }

    /// What is limited, and how much of it is used.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (DeviceOperation, Rate, &Bucket)> {
        let all = DeviceOperation::ALL.iter().zip(&self.buckets);
        all.filter_map(|(operation, bucket)| {
            let (rate, bucket) = bucket.as_ref()?;
            Some((*operation, *rate, bucket))
        })
    }

    /// Takes over what was used before, unless the rate is another by now.
    pub(super) fn restore(&mut self, operation: DeviceOperation, of: Rate, used: Bucket) {
        if let Some((rate, bucket)) = &mut self.buckets[operation.place()]
            && *rate == of
        {
            *bucket = used;
        }
    }

    /// By which version of what is stated the buckets were made.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes up to `most` tokens that are there.
    pub fn take_up_to(&mut self, operation: DeviceOperation, most: u32) -> Turn {
        let now = Instant::now();
        let Some((_, bucket)) = &mut self.buckets[operation.place()] else {
            return Turn::Now(most);
        };
        match bucket.take_up_to(most, now) {
            0 => Turn::After(bucket.delay(1, now)),
            taken => Turn::Now(taken),
        }
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, operation: DeviceOperation, count: u32) {
        if let Some((_, bucket)) = &mut self.buckets[operation.place()] {
            bucket.give_back(count);
        }
    }

    /// How long it takes until there are so many tokens.
    pub fn delay(&mut self, operation: DeviceOperation, count: u32) -> Duration {
        let bucket = self.buckets[operation.place()].as_mut();
        bucket.map_or(Duration::ZERO, |(_, bucket)| {
            bucket.delay(count, Instant::now())
        })
    }

    /// Takes what was used, also beyond what is there.
    pub fn charge(&mut self, operation: DeviceOperation, count: u32) {
        if let Some((_, bucket)) = &mut self.buckets[operation.place()] {
            bucket.take(count, Instant::now());
        }
    }

    /// Takes one token that comes within `most`.
    ///
    /// # Errors
    /// The wait, when it is longer.
    pub fn take_within(
        &mut self,
        operation: DeviceOperation,
        most: Duration,
    ) -> Result<Duration, Duration> {
        match &mut self.buckets[operation.place()] {
            Some((_, bucket)) => bucket.take_within(1, most, Instant::now()),
            None => Ok(Duration::ZERO),
        }
    }
}
