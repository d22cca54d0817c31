//! Waits that differ from process to process.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A time between three and five quarters of `duration`, so that processes that lost a server
/// together do not come back to it together.
pub(crate) fn jittered(duration: Duration) -> Duration {
    // The keys of a hasher differ with every one made; nothing here must be unguessable.
    let random = RandomState::new().hash_one(0_u8) % 1024;
    let part = u32::try_from(random).unwrap_or_default();
    duration * 3 / 4 + duration * part / 2048
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jittered_wait_stays_near_and_differs() {
        let waits: Vec<_> = (0..100).map(|_| jittered(Duration::from_secs(1))).collect();
        let range = Duration::from_millis(750)..Duration::from_millis(1250);
        assert!(waits.iter().all(|wait| range.contains(wait)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
