//! How deep deep queues are, remembered so that they are not counted for every message.
//!
//! The bound of a queue is checked by counting what waits, which costs nothing while queues are as
//! short as they are by default. A queue of 100,000 is another matter: its depth is counted now
//! and then, and followed in between by what this process stores and ends. What other processes do
//! is missed until the next count; callers choose a node by the device, so that is little.

use std::collections::HashMap;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceId, DeviceKey, HubName};
use parking_lot::Mutex;

/// Queues with fewer messages are counted each time.
const DEEP: u64 = 1_000;
/// Most queues that are remembered; others are counted each time.
const MOST_QUEUES: usize = 10_000;

/// A device by name.
pub(super) type Name = (HubName, DeviceId);

/// What is known of deep queues.
#[derive(Debug, Default)]
pub(crate) struct Depths {
    queues: Mutex<Queues>,
}

#[derive(Debug, Default)]
struct Queues {
    by_name: HashMap<Name, DeviceKey>,
    by_key: HashMap<DeviceKey, Depth>,
}

#[derive(Debug)]
struct Depth {
    name: Name,
    waiting: u64,
    counted_at: Timestamp,
}

impl Depths {
    /// The key and the depth of a queue that need not be counted for `added` more messages.
    pub(super) fn recall(
        &self,
        name: &Name,
        added: u64,
        max_depth: u64,
        now: Timestamp,
    ) -> Option<(DeviceKey, u64)> {
        let queues = self.queues.lock();
        let key = *queues.by_name.get(name)?;
        let depth = queues.by_key.get(&key)?;
        // Counting ten messages takes about a microsecond: a count each time this is over costs a
        // hundredth of one core. Where the answer would be no it is worth more.
        let per_message = if depth.waiting + added <= max_depth {
            Duration::from_micros(100)
        } else {
            Duration::from_micros(10)
        };
        let messages = u32::try_from(depth.waiting).unwrap_or(u32::MAX);
        let is_fresh = now < depth.counted_at + per_message.saturating_mul(messages);
        is_fresh.then_some((key, depth.waiting))
    }

    /// Puts stored messages on top of what is remembered.
    pub(super) fn on_stored(&self, key: DeviceKey, stored: u64) {
        // Added and not set: others may have ended since the depth was recalled.
        if let Some(depth) = self.queues.lock().by_key.get_mut(&key) {
            depth.waiting += stored;
        }
    }

    /// Learns that `waiting` messages wait, counted at `counted_at`.
    pub(super) fn learn(&self, name: &Name, key: DeviceKey, waiting: u64, counted_at: Timestamp) {
        let mut queues = self.queues.lock();
        if waiting < DEEP {
            queues.forget(name);
            return;
        }
        if let Some(depth) = queues.by_key.get_mut(&key) {
            depth.waiting = waiting;
            depth.counted_at = counted_at;
            return;
        }
        queues.forget(name);
        if queues.by_key.len() >= MOST_QUEUES {
            return;
        }
        queues.by_name.insert(name.clone(), key);
        let depth = Depth {
            name: name.clone(),
            waiting,
            counted_at,
        };
        queues.by_key.insert(key, depth);
    }

    /// Takes ended messages off, one for each key.
    pub(super) fn on_ended(&self, keys: impl IntoIterator<Item = DeviceKey>) {
        let mut queues = self.queues.lock();
        if queues.by_key.is_empty() {
            return;
        }
        for key in keys {
            let Some(depth) = queues.by_key.get_mut(&key) else {
                continue;
            };
            depth.waiting = depth.waiting.saturating_sub(1);
            if depth.waiting < DEEP {
                let name = depth.name.clone();
                queues.forget(&name);
            }
        }
    }

    /// Lets the queue be counted the next time.
    pub(super) fn forget(&self, name: &Name) {
        self.queues.lock().forget(name);
    }
}

impl Queues {
    fn forget(&mut self, name: &Name) {
        if let Some(key) = self.by_name.remove(name) {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        ("hub.test".parse().unwrap(), "dev-1".parse().unwrap())
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    const KEY: DeviceKey = DeviceKey(7);

    #[test]
    fn a_short_queue_is_counted_each_time() {
        let depths = Depths::default();
        depths.learn(&name(), KEY, DEEP - 1, at(0));
        assert_eq!(depths.recall(&name(), 1, 100_000, at(0)), None);
    }

    #[test]
    fn a_deep_queue_is_counted_again_after_a_while_and_sooner_when_it_is_full() {
        let depths = Depths::default();
        depths.learn(&name(), KEY, 50_000, at(0));
        let known = Some((KEY, 50_000));
        assert_eq!(depths.recall(&name(), 1, 100_000, at(4_999)), known);
        assert_eq!(depths.recall(&name(), 1, 100_000, at(5_000)), None);
        assert_eq!(depths.recall(&name(), 1, 50_000, at(499)), known);
        assert_eq!(depths.recall(&name(), 1, 50_000, at(500)), None);
    }

    #[test]
    fn what_is_stored_and_ended_is_followed_without_counting() {
        let depths = Depths::default();
        depths.learn(&name(), KEY, 1_001, at(0));
        depths.on_ended([KEY, DeviceKey(8)]);
        depths.on_stored(KEY, 1);
        depths.on_stored(DeviceKey(8), 1);
        assert_eq!(depths.recall(&name(), 1, 2_000, at(1)), Some((KEY, 1_001)));
        depths.on_ended([KEY, KEY]);
        assert_eq!(depths.recall(&name(), 1, 2_000, at(1)), None);
    }

    #[test]
    fn a_new_life_of_a_name_takes_the_place_of_the_former() {
        let depths = Depths::default();
        depths.learn(&name(), KEY, 5_000, at(0));
        depths.learn(&name(), DeviceKey(8), 2_000, at(1));
        let known = Some((DeviceKey(8), 2_000));
        assert_eq!(depths.recall(&name(), 1, 100_000, at(1)), known);
        depths.forget(&name());
        assert_eq!(depths.recall(&name(), 1, 100_000, at(1)), None);
        assert!(depths.queues.lock().by_key.is_empty());
    }
}
