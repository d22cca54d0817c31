//! Ids that count.

use std::sync::atomic::{AtomicU64, Ordering};

use downlink_domain::Timestamp;
use downlink_domain::id::LockToken;
use downlink_ports::IdSource;

/// A deterministic source: the same calls in the same order give the same ids, all different.
#[derive(Debug, Default)]
pub struct CountingIds {
    next: AtomicU64,
}

impl CountingIds {
    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl IdSource for CountingIds {
    fn lock_token(&self) -> LockToken {
        LockToken((u128::from(self.next()) | 0x4000_8000_0000_0000_0000).to_be_bytes())
    }

    fn record_id(&self, now: Timestamp) -> [u8; 16] {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        (u128::from(millis) << 80 | 0x7000_8000_0000_0000_0000 | u128::from(self.next()))
            .to_be_bytes()
    }

    fn connection_number(&self) -> u64 {
        self.next()
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.next().to_be_bytes();
            chunk.copy_from_slice(&bytes[8 - chunk.len()..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_source_differ_and_repeat_with_the_next_source() {
        let (a, b) = (CountingIds::default(), CountingIds::default());
        let first = a.lock_token();
        assert_ne!(first, a.lock_token());
        assert_eq!(first, b.lock_token());
        let now = Timestamp::from_millis(1);
        assert!(a.record_id(now) < a.record_id(now));
    }
}
