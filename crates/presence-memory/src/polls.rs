//! Turns of devices to poll.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_ports::{PollThrottle, PollTurn, StoreError};

use crate::MemoryPresence;

/// Most turns that are remembered, some 32 MiB. A device beyond them may poll: its turn is not noted.
pub const MAX_TURNS: usize = 1_000_000;
/// Least time between two looks for turns that are over, each of which passes all of them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Until when each device has had its turn.
#[derive(Default)]
pub(crate) struct Polls {
    turns: HashMap<DeviceKey, Timestamp>,
    swept_at: Option<Timestamp>,
}

impl Polls {
    fn take(
        &mut self,
        device: DeviceKey,
        interval: Duration,
        now: Timestamp,
        most: usize,
    ) -> PollTurn {
        if let Some(until) = self.turns.get(&device).filter(|until| **until > now) {
            let wait = until.as_millis().saturating_sub(now.as_millis());
            let wait = Duration::from_millis(wait.unsigned_abs());
            return PollTurn::TooSoon {
                wait: wait.min(interval),
            };
        }
        if self.turns.len() >= most && self.swept_at.is_none_or(|at| at + SWEEP_INTERVAL <= now) {
            self.turns.retain(|_, until| *until > now);
            self.swept_at = Some(now);
        }
        if self.turns.len() < most || self.turns.contains_key(&device) {
            self.turns.insert(device, now + interval);
        }
        PollTurn::Taken
    }
}

#[async_trait]
impl PollThrottle for MemoryPresence {
    async fn take_turn(
        &self,
        device: DeviceKey,
        interval: Duration,
        now: Timestamp,
    ) -> Result<PollTurn, StoreError> {
        let mut polls = self.polls().lock();
        Ok(polls.take(device, interval, now, MAX_TURNS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn turns_that_are_over_make_room_and_devices_beyond_the_bound_may_poll() {
        let start = Timestamp::from_millis(1_767_604_351_412);
        let mut polls = Polls::default();
        let mut take = |device, now| polls.take(DeviceKey(device), MINUTE, now, 2);
        assert_eq!(take(1, start), PollTurn::Taken);
        assert_eq!(take(2, start), PollTurn::Taken);
        for _ in 0..3 {
            assert_eq!(take(3, start), PollTurn::Taken, "it is not noted");
        }
        assert_eq!(take(1, start), PollTurn::TooSoon { wait: MINUTE });
        let later = start + MINUTE;
        assert_eq!(take(3, later), PollTurn::Taken);
        assert_eq!(take(3, later), PollTurn::TooSoon { wait: MINUTE });
        assert_eq!(take(1, later), PollTurn::Taken);
        assert_eq!(polls.turns.len(), 2);
    }
}
