//! The turns of one class of operations of a hub at this gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use downlink_domain::limits::{Rate, WANTS_PER_OPERATION};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use super::LimitsOptions;
use super::bucket::Bucket;
use super::throttled::Reason;

/// How much one exchange counts in what is asked for in a second: what comes now and then must not move the shares.
const SMOOTHING: f64 = 0.3;
/// What is wanted of what is asked for, so that what comes unevenly need not wait.
const HEADROOM: f64 = 1.1;
/// Exchanges in a row at which somebody waits that show that there is too little.
const SHORT_EXCHANGES: u32 = 3;

/// One class of operations.
#[derive(Default)]
pub(super) struct Lane {
    is_limited: AtomicBool,
    waiting: Arc<AtomicU32>,
    turns: Mutex<Option<Turns>>,
}

struct Turns {
    rate: Rate,
    bucket: Bucket,
    /// What was asked for since the last exchange.
    asked: u32,
    /// The same in a second, smoothed.
    asked_rate: f64,
    /// Exchanges in a row at which somebody had to wait.
    short_exchanges: u32,
    /// What this gateway may take of the rate.
    share: f64,
    /// Since when more is asked for than may be, without a break.
    exceeded_since: Option<Instant>,
}

/// A turn that is taken and has not come. Dropping it gives up the wait, not the turn.
#[derive(Debug)]
pub struct Reserved {
    at: Instant,
    _held: Held,
}

/// A place among those that wait.
#[derive(Debug)]
pub struct Held(Arc<AtomicU32>);

impl Held {
    fn new(waiting: &Arc<AtomicU32>) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reserved {
    /// Waits for the turn.
    ///
    /// # Cancellation
    /// Safe; the turn is lost.
    pub async fn come(self) {
        sleep_until(self.at).await;
    }
}

impl Lane {
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// Sets the rate of the hub. Until the next exchange a changed one is shared as the one before it.
    pub(super) fn set_rate(&self, rate: Option<Rate>, now: Instant) {
        let mut turns = self.turns.lock();
        match (&mut *turns, rate) {
            (turns, None) => *turns = None,
            (Some(turns), Some(rate)) if turns.rate == rate => {}
            (Some(turns), Some(rate)) => {
                let part = turns.share / turns.rate.per_second();
                turns.rate = rate;
                turns.set_share(part * rate.per_second(), now);
            }
            (turns @ None, Some(rate)) => {
                let share = rate.per_second();
                *turns = Some(Turns {
                    bucket: Bucket::new(share, f64::from(rate.burst()), now),
                    asked: 0,
                    asked_rate: 0.0,
                    short_exchanges: 0,
                    share,
                    exceeded_since: None,
                    rate,
                });
            }
        }
        self.is_limited.store(rate.is_some(), Ordering::Relaxed);
    }

    /// The rate of the hub.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.turns.lock().as_ref().map(|turns| turns.rate)
    }

    /// What this gateway may take of the rate, in a second.
    #[cfg(test)]
    pub(super) fn share(&self) -> f64 {
        self.turns.lock().as_ref().map_or(0.0, |turns| turns.share)
    }

    /// Sets what this gateway may take of the rate.
    pub(super) fn set_share(&self, share: f64, now: Instant) {
        if let Some(turns) = &mut *self.turns.lock() {
            turns.set_share(share, now);
        }
    }

    /// What this gateway wants in a second, by what was asked for in `elapsed`. Whoever has let somebody wait for some time
    /// wants twice what it has and no less than an `even` share, for what waits outside cannot be seen.
    pub(super) fn want(&self, elapsed: Duration, even: f64) -> u32 {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let mut turns = self.turns.lock();
        let Some(turns) = &mut *turns else {
            return 0;
        };
        let asked = f64::from(std::mem::take(&mut turns.asked));
        let asked = asked / elapsed.as_secs_f64().max(1e-3);
        turns.asked_rate += (asked - turns.asked_rate) * SMOOTHING;
        if waiting > 0 || turns.bucket.is_in_debt() {
            turns.short_exchanges = turns.short_exchanges.saturating_add(1);
        } else {
            turns.short_exchanges = 0;
        }
        let usual = turns.asked_rate * HEADROOM;
        let is_short = turns.short_exchanges >= SHORT_EXCHANGES;
        to_want(if is_short {
            usual.max(turns.share * 2.0).max(even)
        } else {
            usual
        })
    }

    pub(super) fn reserve(
        &self,
        cost: u32,
        now: Instant,
        options: &LimitsOptions,
    ) -> Result<Option<Reserved>, (Reason, Duration)> {
        let mut turns = self.turns.lock();
        let Some(turns) = &mut *turns else {
            return Ok(None);
        };
        turns.asked = turns.asked.saturating_add(cost);
        if !turns.bucket.is_in_debt() {
            turns.exceeded_since = None;
        }
        let wait = turns.bucket.delay(cost, now);
        if wait.is_zero() {
            turns.bucket.take(cost, now);
            return Ok(None);
        }
        // What costs more than ever is there has its turn when as much is there as can be.
        let reason = if wait > options.max_delay && !turns.bucket.is_full(now) {
            Some(Reason::Wait)
        } else if self.waiting.load(Ordering::Relaxed) >= options.max_backlog {
            Some(Reason::Backlog)
        } else {
            None
        };
        if let Some(reason) = reason {
            let since = *turns.exceeded_since.get_or_insert(now);
            let is_long = now.saturating_duration_since(since) >= options.long_violation;
            let reason = if is_long {
                Reason::LongViolation
            } else {
                reason
            };
            return Err((reason, wait));
        }
        let wait = turns.bucket.take(cost, now);
        Ok(Some(self.reserved(now + wait)))
    }

    pub(super) fn take_up_to(&self, most: u32, now: Instant) -> u32 {
        let mut turns = self.turns.lock();
        let Some(turns) = &mut *turns else {
            return most;
        };
        let taken = turns.bucket.take_up_to(most, now);
        turns.asked = turns.asked.saturating_add(taken);
        taken
    }

    pub(super) fn queue_up(&self, now: Instant) -> Reserved {
        let mut turns = self.turns.lock();
        let wait = turns.as_mut().map_or(Duration::ZERO, |turns| {
            turns.asked = turns.asked.saturating_add(1);
            turns.bucket.take(1, now)
        });
        self.reserved(now + wait)
    }

    pub(super) fn delay(&self, now: Instant) -> Duration {
        let mut turns = self.turns.lock();
        let delay = |turns: &mut Turns| turns.bucket.delay(1, now);
        turns.as_mut().map_or(Duration::ZERO, delay)
    }

    fn reserved(&self, at: Instant) -> Reserved {
        Reserved {
            at,
            _held: Held::new(&self.waiting),
        }
    }
}

impl Turns {
    fn set_share(&mut self, share: f64, now: Instant) {
        let part = share / self.rate.per_second();
        self.share = share;
        let burst = f64::from(self.rate.burst()) * part;
        self.bucket.set(share, burst, now);
    }
}

fn to_want(want: f64) -> u32 {
    let want = (want * WANTS_PER_OPERATION).clamp(0.0, f64::from(u32::MAX));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what a u32 holds"
    )]
    let want = want as u32;
    want
}
