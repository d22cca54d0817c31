//! Whether the log takes events, as the workers of a node found.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

/// Mean pause before the first try after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Healthy until a worker says otherwise, and again once a try succeeded.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_failing: AtomicBool,
    /// Failed tries in a row. Held by the one worker that tries, across its pause and its try, so
    /// that the others do not.
    failures: Mutex<u32>,
}

/// The right to try whether the log takes events again; no other worker has it meanwhile.
pub(super) struct Trial<'a> {
    health: &'a Health,
    failures: MutexGuard<'a, u32>,
}

impl Health {
    /// Takes note of a failure.
    pub(super) fn fail(&self) {
        self.is_failing.store(true, Ordering::Release);
    }

    /// `None` while the log takes events. Otherwise waits for its turn to try. Cancel safe.
    pub(super) async fn trial(&self) -> Option<Trial<'_>> {
        if !self.is_failing.load(Ordering::Acquire) {
            return None;
        }
        let failures = self.failures.lock().await;
        // The worker before may have found it well.
        self.is_failing.load(Ordering::Acquire).then_some(Trial {
            health: self,
            failures,
        })
    }
}

impl Trial<'_> {
    /// Mean pause before the try: doubled by each failed one.
    pub(super) fn pause(&self, most: Duration) -> Duration {
        let doubled = 2_u32.saturating_pow(*self.failures);
        FIRST_PAUSE.saturating_mul(doubled).min(most)
    }

    pub(super) fn failed(mut self) {
        *self.failures = self.failures.saturating_add(1);
    }

    pub(super) fn succeeded(mut self) {
        *self.failures = 0;
        self.health.is_failing.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn one_worker_tries_and_the_others_wait_for_what_it_finds() {
        let health = Health::default();
        assert!(health.trial().await.is_none());
        health.fail();
        let first = health.trial().await.unwrap();
        let second = health.trial();
        tokio::pin!(second);
        assert!(poll!(second.as_mut()).is_pending());
        first.succeeded();
        assert!(second.await.is_none());
    }

    #[tokio::test]
    async fn pauses_double_up_to_the_longest_and_begin_again_after_a_success() {
        let health = Health::default();
        let most = Duration::from_secs(1);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            health.fail();
            let trial = health.trial().await.unwrap();
            pauses.push(trial.pause(most).as_millis());
            trial.failed();
        }
        assert_eq!(pauses, [200, 400, 800, 1_000, 1_000]);
        health.trial().await.unwrap().succeeded();
        health.fail();
        let trial = health.trial().await.unwrap();
        assert_eq!(trial.pause(most), FIRST_PAUSE);
    }
}
