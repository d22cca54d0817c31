//! The system's time and randomness behind the ports that hand them in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::LockToken;
use downlink_ports::{Clock, IdSource};

/// The longest single sleep: a wall clock that was set while we slept is noticed after it.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// The wall clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    async fn sleep_until(&self, due: Timestamp) {
        loop {
            let left = due.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// Ids and secrets from the operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn lock_token(&self) -> LockToken {
        let mut bytes: [u8; 16] = random();
        // In .NET order the third field is little-endian: its high byte comes second.
        bytes[7] = 0x40 | (bytes[7] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        LockToken(bytes)
    }

    fn record_id(&self, now: Timestamp) -> [u8; 16] {
        let mut bytes: [u8; 16] = random();
        bytes[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        bytes
    }

    fn connection_number(&self) -> u64 {
        u64::from_be_bytes(random())
    }

    fn fill_random(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the kernel's random source is open from boot on");
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    RandomIds.fill_random(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_instant_that_has_passed_is_not_waited_for() {
        let clock = SystemClock;
        clock.sleep_until(clock.now()).await;
    }

    #[tokio::test]
    async fn a_sleep_ends_at_or_after_its_instant() {
        let clock = SystemClock;
        let due = clock.now() + Duration::from_millis(3);
        clock.sleep_until(due).await;
        assert!(clock.now() >= due);
    }

    #[test]
    fn a_lock_token_prints_as_a_version_4_uuid() {
        let text = RandomIds.lock_token().to_string();
        assert_eq!(&text[14..15], "4", "{text}");
        assert!("89ab".contains(&text[19..20]), "{text}");
        assert_ne!(text, RandomIds.lock_token().to_string());
    }

    #[test]
    fn record_ids_are_ordered_by_their_time() {
        let early = RandomIds.record_id(Timestamp::from_millis(1_767_604_351_412));
        let late = RandomIds.record_id(Timestamp::from_millis(1_767_604_351_413));
        assert!(early < late);
        assert_eq!(early[6] >> 4, 7);
    }
}
