//! The devices that wait to be woken.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use downlink_domain::id::DeviceKey;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// How often the gateway of a device was tried.
pub(super) type Tries = u32;

/// A device that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) device: DeviceKey,
    pub(super) tries: Tries,
}

/// Devices that wait to be woken, each once, and those put aside for a further try.
pub(crate) struct Wakes {
    sets: Mutex<Sets>,
    arrived: Notify,
    /// Bounds both sets together.
    max_pending: usize,
    pub(super) calls: Arc<Semaphore>,
}

#[derive(Default)]
struct Sets {
    now: HashMap<DeviceKey, Tries>,
    /// By when they are due; a number tells equal instants apart.
    later: BTreeMap<(Instant, u64), Vec<DeviceKey>>,
    /// Those of `later`, each once.
    aside: HashMap<DeviceKey, Tries>,
    next_number: u64,
}

impl Sets {
    /// Puts a device in unless there are `max` already; tells whether it is in.
    fn put(&mut self, device: DeviceKey, tries: Tries, max: usize) -> bool {
        if let Some(known) = self.now.get_mut(&device) {
            *known = tries.min(*known);
            return true;
        }
        let has_room = self.now.len() + self.aside.len() < max;
        if has_room {
            self.now.insert(device, tries);
        }
        has_room
    }
}

impl Wakes {
    pub(crate) fn new(max_pending: usize, max_calls: usize) -> Self {
        Self {
            sets: Mutex::default(),
            arrived: Notify::new(),
            max_pending,
            calls: Arc::new(Semaphore::new(max_calls)),
        }
    }

    /// Puts devices in; those that wait already count once. Returns how many found no room.
    pub(crate) fn push(&self, devices: impl IntoIterator<Item = DeviceKey>) -> u64 {
        self.put_back(
            devices
                .into_iter()
                .map(|device| Waiting { device, tries: 0 }),
        )
    }

    /// As [`Self::push`], with the tries they had.
    pub(super) fn put_back(&self, devices: impl IntoIterator<Item = Waiting>) -> u64 {
        let mut dropped = 0;
        let mut sets = self.sets.lock();
        let before = sets.now.len();
        for Waiting { device, tries } in devices {
            dropped += u64::from(!sets.put(device, tries, self.max_pending));
        }
        let is_anything_new = sets.now.len() > before;
        drop(sets);
        if is_anything_new {
            self.arrived.notify_one();
        }
        dropped
    }

    /// Puts devices aside until `due`. Returns how many found no room.
    pub(super) fn put_aside(&self, mut devices: Vec<DeviceKey>, tries: Tries, due: Instant) -> u64 {
        let mut sets = self.sets.lock();
        let Sets { now, aside, .. } = &mut *sets;
        devices.retain(|device| {
            if let Some(known) = aside.get_mut(device) {
                *known = tries.min(*known);
                return false;
            }
            // One that was put in anew is tried before that, as if for the first time.
            !now.contains_key(device)
        });
        let room = self
            .max_pending
            .saturating_sub(sets.now.len() + sets.aside.len());
        let dropped = devices.len().saturating_sub(room);
        devices.truncate(room);
        if !devices.is_empty() {
            let entries = devices.iter().map(|device| (*device, tries));
            sets.aside.extend(entries);
            sets.next_number += 1;
            let key = (due, sets.next_number);
            sets.later.insert(key, devices);
        }
        drop(sets);
        // Whoever waits may have to wait less long now.
        self.arrived.notify_one();
        dropped as u64
    }

    /// Puts in what was put aside until `now` or earlier; returns when the next of it is due.
    pub(super) fn collect_due(&self, now: Instant) -> Option<Instant> {
        let mut sets = self.sets.lock();
        while let Some(first) = sets.later.first_entry() {
            if first.key().0 > now {
                return Some(first.key().0);
            }
            for device in first.remove() {
                // There is room: it gave up its own just now.
                if let Some(tries) = sets.aside.remove(&device) {
                    sets.put(device, tries, self.max_pending);
                }
            }
        }
        None
    }

    pub(super) fn take(&self, most: usize) -> Vec<Waiting> {
        let waiting = |(device, tries): (DeviceKey, Tries)| Waiting { device, tries };
        let mut sets = self.sets.lock();
        if sets.now.len() <= most {
            return std::mem::take(&mut sets.now)
                .into_iter()
                .map(waiting)
                .collect();
        }
        let taken = sets.now.iter().take(most);
        let taken: Vec<_> = taken
            .map(|(device, tries)| waiting((*device, *tries)))
            .collect();
        for Waiting { device, .. } in &taken {
            sets.now.remove(device);
        }
        taken
    }

    /// Waits until something was put in or aside.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn keys(range: std::ops::Range<i64>) -> impl Iterator<Item = DeviceKey> {
        range.map(DeviceKey)
    }

    fn devices(taken: &[Waiting]) -> Vec<DeviceKey> {
        let mut devices: Vec<_> = taken.iter().map(|waiting| waiting.device).collect();
        devices.sort_unstable();
        devices
    }

    #[test]
    fn a_device_that_waits_already_takes_no_second_place() {
        let wakes = Wakes::new(10, 1);
        assert_eq!(wakes.push(keys(0..5).chain(keys(0..5))), 0);
        assert_eq!(wakes.take(10).len(), 5);
    }

    #[test]
    fn devices_beyond_the_bound_are_dropped_and_counted() {
        let wakes = Wakes::new(3, 1);
        assert_eq!(wakes.push(keys(0..5)), 2);
        assert_eq!(wakes.push(keys(0..3)), 0);
        assert_eq!(wakes.take(10).len(), 3);
        assert_eq!(wakes.push(keys(7..8)), 0);
    }

    #[test]
    fn a_large_set_is_taken_in_parts_without_losing_any() {
        let wakes = Wakes::new(100, 1);
        wakes.push(keys(0..25));
        let taken: Vec<_> = (0..3).flat_map(|_| wakes.take(10)).collect();
        assert_eq!(devices(&taken), keys(0..25).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_put_aside_comes_back_when_it_is_due_with_its_tries() {
        let wakes = Wakes::new(10, 1);
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        wakes.put_aside(keys(0..2).collect(), 3, late);
        wakes.put_aside(keys(2..3).collect(), 1, soon);
        assert_eq!(wakes.collect_due(now), Some(soon));
        assert_eq!(wakes.take(10), []);
        assert_eq!(wakes.collect_due(soon), Some(late));
        let expected = Waiting {
            device: DeviceKey(2),
            tries: 1,
        };
        assert_eq!(wakes.take(10), [expected]);
        assert_eq!(wakes.collect_due(late), None);
        assert_eq!(devices(&wakes.take(10)), [DeviceKey(0), DeviceKey(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_aside_counts_towards_the_bound() {
        let wakes = Wakes::new(3, 1);
        let due = Instant::now() + Duration::from_secs(1);
        assert_eq!(wakes.put_aside(keys(0..2).collect(), 1, due), 0);
        assert_eq!(wakes.push(keys(5..7)), 1);
        assert_eq!(wakes.put_aside(keys(8..9).collect(), 1, due), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_that_is_put_aside_again_takes_no_second_place() {
        let wakes = Wakes::new(2, 1);
        let due = Instant::now();
        for tries in [4, 1, 2] {
            assert_eq!(wakes.put_aside(keys(0..1).collect(), tries, due), 0);
        }
        assert_eq!(wakes.push(keys(5..6)), 0, "there is room for another");
        wakes.collect_due(due);
        let mut taken = wakes.take(10);
        taken.sort_unstable_by_key(|waiting| waiting.device);
        assert_eq!(devices(&taken), [DeviceKey(0), DeviceKey(5)]);
        assert_eq!(taken[0].tries, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_device_put_in_anew_is_tried_as_if_for_the_first_time() {
        let wakes = Wakes::new(10, 1);
        let due = Instant::now();
        wakes.put_aside(keys(0..1).collect(), 4, due);
        wakes.push(keys(0..1));
        wakes.collect_due(due);
        assert_eq!(wakes.take(10)[0].tries, 0);
    }
}
