//! How many identities may be begun with now.

use tokio::time::Instant;

/// A rate that may be shared by more or fewer jobs from one moment to the next. What was not used
/// is kept for one second.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Pace {
    /// A rate of `per_second`, of which a tenth may be used at once.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self {
            per_second,
            left: (per_second / 10.0).max(1.0),
            at: now,
        }
    }

    /// How many there may be at `now` when `sharers` go at this rate together; at most 1,000.
    pub(crate) fn available(&mut self, sharers: u32, now: Instant) -> u32 {
        let rate = self.per_second / f64::from(sharers.max(1));
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.left = (self.left + elapsed * rate).min(rate.max(1.0));
        (0..=1_000)
            .rev()
            .find(|number| f64::from(*number) <= self.left)
            .unwrap_or(0)
    }

    /// Notes that `number` were begun with.
    pub(crate) fn take(&mut self, number: usize) {
        self.left -= f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_kept_and_shared() {
        let start = Instant::now();
        let mut pace = Pace::new(100, start);
        let mut begun = 0;
        for step in 0..100 {
            let sharers = if step < 50 { 1 } else { 4 };
            let now = start + Duration::from_millis(100 * step);
            let number = pace.available(sharers, now);
            pace.take(number as usize);
            begun += number;
        }
        // Five seconds alone, five seconds as one of four.
        assert!((620..=640).contains(&begun), "{begun}");
    }

    #[test]
    fn what_was_not_used_is_kept_for_a_second_and_a_slow_rate_still_goes_on() {
        let start = Instant::now();
        let mut pace = Pace::new(100, start);
        assert_eq!(pace.available(1, start + Duration::from_hours(1)), 100);
        let mut slow = Pace::new(1, start);
        slow.take(1);
        assert_eq!(slow.available(4, start + Duration::from_secs(3)), 0);
        assert_eq!(slow.available(4, start + Duration::from_secs(4)), 1);
    }
}
