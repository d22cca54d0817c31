//! A bucket of tokens that may go into debt.
//!
//! The `governor` crate is what one would take for a rate that stands still. Here the rate changes five times a second,
//! as gateways share it, and what comes too fast is given a turn in the future rather than a refusal: both are two
//! lines on a level that may be negative, and neither can be had from a limiter whose quota is fixed when it is made.

use std::time::Duration;

use tokio::time::Instant;

/// Slowest rate that is reckoned with, in tokens a second: it keeps waits finite.
const SLOWEST: f64 = 1e-6;
/// Longest wait that is told.
const LONGEST: Duration = Duration::from_hours(24);

/// Tokens that come at a rate up to a burst. Whoever takes more than there are has them at once and waits until they
/// have come; the next one waits behind.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// Makes a full bucket of at least one token.
    pub fn new(rate: f64, burst: f64, now: Instant) -> Self {
        let burst = burst.max(1.0);
        Self {
            rate: rate.max(SLOWEST),
            burst,
            level: burst,
            at: now,
        }
    }

    /// Changes rate and burst; what is there stays as far as it fits, and so does a debt.
    pub fn set(&mut self, rate: f64, burst: f64, now: Instant) {
        self.refill(now);
        self.rate = rate.max(SLOWEST);
        self.burst = burst.max(1.0);
        self.level = self.level.min(self.burst);
    }

    /// Takes as many whole tokens as there are, up to `most`.
    pub fn take_up_to(&mut self, most: u32, now: Instant) -> u32 {
        self.refill(now);
        let whole = self.level.clamp(0.0, f64::from(u32::MAX));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to what a u32 holds; a part of a token is none"
        )]
        let taken = (whole as u32).min(most);
        self.level -= f64::from(taken);
        taken
    }

    /// Takes tokens and tells when they will have come.
    pub fn take(&mut self, cost: u32, now: Instant) -> Duration {
        self.refill(now);
        self.level -= f64::from(cost);
        self.until(0.0)
    }

    /// Takes tokens if they come within `most`; tells how long that takes, or would have.
    ///
    /// # Errors
    /// The wait, when it is longer than `most`; nothing was taken.
    pub fn take_within(
        &mut self,
        cost: u32,
        most: Duration,
        now: Instant,
    ) -> Result<Duration, Duration> {
        self.refill(now);
        let wait = self.until(f64::from(cost));
        if wait > most {
            return Err(wait);
        }
        self.level -= f64::from(cost);
        Ok(wait)
    }

    /// Gives tokens back that were not used.
    pub fn give_back(&mut self, count: u32) {
        self.level = (self.level + f64::from(count)).min(self.burst);
    }

    /// How long it takes until there are so many tokens.
    pub fn delay(&mut self, count: u32, now: Instant) -> Duration {
        self.refill(now);
        self.until(f64::from(count))
    }

    /// Tells whether more was taken than there was.
    pub fn is_in_debt(&self) -> bool {
        self.level < 0.0
    }

    /// Tells whether nothing is missing: it is as good as new.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.level >= self.burst
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        self.level = (self.level + elapsed.as_secs_f64() * self.rate).min(self.burst);
    }

    fn until(&self, level: f64) -> Duration {
        let missing = level - self.level;
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        let wait = Duration::try_from_secs_f64(missing / self.rate);
        wait.unwrap_or(LONGEST).min(LONGEST)
    }
}
