//! Whether this process may ask for messages: it must not have been stopped past its lease without
//! knowing since which devices are still its own.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use downlink_ports::LeaseState;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Messages may be asked for.
const RUNNING: u8 = 0;
/// The lease was renewed after a stop; entries are still to be written again.
const RENEWED: u8 = 1;
/// The process was stopped past its lease, which has not been renewed since.
const STOPPED: u8 = 2;

/// How the process stands with the lease.
///
/// The monotonic clock goes on while a process is stopped. A gap of more than a lease's life
/// between two beats of the keeper therefore says that the process did not run, which a mere
/// outage of presence never looks like: the keeper beats whether or not its calls succeed, and
/// locks and tokens alone then keep the order.
#[derive(Debug)]
pub struct Standing {
    base: Instant,
    /// Longest time between two beats; 0 until the keeper has begun.
    ttl_millis: AtomicU64,
    beat_millis: AtomicU64,
    phase: AtomicU8,
    /// Counts the times that entries may have been lost.
    generation: AtomicU64,
    /// The generation up to which entries have been written again.
    restored: AtomicU64,
    lost: Notify,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            base: Instant::now(),
            ttl_millis: AtomicU64::new(0),
            beat_millis: AtomicU64::new(0),
            phase: AtomicU8::new(RUNNING),
            generation: AtomicU64::new(0),
            restored: AtomicU64::new(0),
            lost: Notify::new(),
        }
    }
}

impl Standing {
    /// Tells whether messages may be asked for; cheap enough for every receive.
    ///
    /// Whoever was told "no" is woken when it may.
    pub fn may_receive(&self) -> bool {
        let ttl = self.ttl_millis.load(Ordering::Relaxed);
        if ttl == 0 {
            return true;
        }
        // The phase changes before the beat that ends the gap, hence it is read after it.
        let gap = self.gap_millis();
        gap <= ttl && !self.is_suspended()
    }

    /// The number of times that entries may have been lost. One that was entered under an earlier
    /// number and was not yet among the gateway's connections must be written again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn begin(&self, ttl: Duration) {
        self.beat_millis.store(self.millis(), Ordering::Release);
        self.ttl_millis.store(millis(ttl).max(1), Ordering::Release);
    }

    /// Notes that the process runs. Answers whether it ran all the time since the last beat; else
    /// no messages are asked for until [`Self::resume`].
    pub(super) fn beat(&self) -> bool {
        let ran = self.gap_millis() <= self.ttl_millis.load(Ordering::Relaxed);
        if !ran {
            self.phase.store(STOPPED, Ordering::Release);
        }
        self.beat_millis.store(self.millis(), Ordering::Release);
        ran
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.phase.load(Ordering::Acquire) != RUNNING
    }

    /// Notes a renewal that was asked for and answered while the process ran. After a stop every
    /// entry is written again even if the lease outlasted it: that is how a connection is found
    /// whose device went elsewhere meanwhile.
    pub(super) fn renewed(&self, state: LeaseState) {
        let was_stopped = self.phase.load(Ordering::Acquire) == STOPPED;
        if state == LeaseState::Anew || was_stopped {
            self.generation.fetch_add(1, Ordering::AcqRel);
            self.lost.notify_one();
        }
        // After the generation: what was written before the renewal does not count.
        self.move_phase(STOPPED, RENEWED);
    }

    /// Lets messages be asked for again if nothing is left to be written again; answers whether
    /// they could not before.
    pub(super) fn resume(&self) -> bool {
        self.is_restored() && self.move_phase(RENEWED, RUNNING)
    }

    fn move_phase(&self, from: u8, to: u8) -> bool {
        self.phase
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(super) fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Acquire) == self.generation()
    }

    /// Notes that all entries of `generation` have been written again.
    pub(super) fn restored(&self, generation: u64) {
        self.restored.fetch_max(generation, Ordering::AcqRel);
    }

    /// Waits until entries may have been lost since the last such wait.
    pub(super) async fn entries_lost(&self) {
        self.lost.notified().await;
    }

    fn gap_millis(&self) -> u64 {
        let beat = self.beat_millis.load(Ordering::Acquire);
        self.millis().saturating_sub(beat)
    }

    fn millis(&self) -> u64 {
        millis(self.base.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
impl Standing {
    /// Waits until everything that may have been lost has been written again.
    pub(crate) async fn until_restored(&self) {
        while !self.is_restored() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the keeper sees that entries may have been lost.
    pub(crate) async fn until_lost(&self) {
        while self.is_restored() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for a loss and for its repair.
    pub(crate) async fn until_lost_and_restored(&self) {
        self.until_lost().await;
        self.until_restored().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_gateway_without_a_keeper_asks_for_messages() {
        let standing = Standing::default();
        tokio::time::advance(TTL * 100).await;
        assert!(standing.may_receive());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_between_two_beats_suspends_before_and_after_it_is_noted() {
        let standing = Standing::default();
        standing.begin(TTL);
        tokio::time::advance(TTL).await;
        assert!(standing.may_receive());
        assert!(standing.beat());
        tokio::time::advance(TTL + Duration::from_millis(1)).await;
        assert!(!standing.may_receive());
        assert!(!standing.beat());
        assert!(!standing.may_receive());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_gateway_resumes_when_entries_were_written_after_its_lease_was_renewed() {
        let standing = Standing::default();
        standing.begin(TTL);
        tokio::time::advance(TTL * 2).await;
        standing.beat();
        assert!(!standing.resume(), "the lease is not renewed");
        standing.renewed(LeaseState::Kept);
        assert!(!standing.resume(), "nothing was written since");
        standing.restored(standing.generation());
        assert!(standing.resume());
        assert!(standing.may_receive());
    }
}
