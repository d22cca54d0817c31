//! A clock that moves by hand.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_ports::Clock;
use downlink_ports::testsuite::given::noon;
use tokio::sync::watch;

/// A clock that stands until it is moved; clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<watch::Sender<Timestamp>>,
}

impl ManualClock {
    /// Makes a clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: Arc::new(watch::Sender::new(now)),
        }
    }

    /// Moves forward and wakes whoever waited for an instant that has come.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = *now + by);
    }

    /// Moves to `now`, backwards too.
    pub fn set(&self, now: Timestamp) {
        self.now.send_replace(now);
    }

    /// How many waits for an instant are under way.
    pub fn sleepers(&self) -> usize {
        self.now.receiver_count()
    }
}

impl Default for ManualClock {
    /// Stands at noon of a day in 2026.
    fn default() -> Self {
        Self::new(noon())
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, due: Timestamp) {
        let mut now = self.now.subscribe();
        now.wait_for(|now| *now >= due)
            .await
            .expect("the clock holds its sender while it is borrowed here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_reaches_its_instant() {
        let clock = ManualClock::default();
        let due = clock.now() + Duration::from_secs(10);
        let (slept, ()) = tokio::join!(
            async {
                clock.sleep_until(due).await;
                clock.now()
            },
            async {
                clock.advance(Duration::from_secs(9));
                assert_eq!(clock.sleepers(), 1);
                tokio::task::yield_now().await;
                clock.advance(Duration::from_secs(1));
            }
        );
        assert_eq!(slept, due);
    }

    #[tokio::test]
    async fn an_instant_that_has_passed_is_not_waited_for() {
        let clock = ManualClock::default();
        clock.sleep_until(clock.now()).await;
        assert_eq!(clock.sleepers(), 0);
    }
}
