//! Tags of devices, for policies that are limited by them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_domain::id::{DeviceId, HubName};
use downlink_domain::twin::Object;
use downlink_ports::{PeerError, TwinApi};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

/// How long tags count.
const LIFE: Duration = Duration::from_secs(1);
/// Most devices whose tags are kept.
const MAX_DEVICES: usize = 10_000;
/// Most bytes of JSON text that what is kept stands for; tags of a device have at most 32 KiB.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Time between two looks for what may go when there is no room.
const SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// How long a look-up may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// What is known of the tags of one device. Whoever holds the lock looks them up, for all who wait for it.
type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

struct Known {
    /// When the look-up began.
    asked_at: Instant,
    /// When it ended.
    answered_at: Instant,
    tags: Result<Arc<Object>, PeerError>,
}

#[derive(Default)]
struct Slots {
    by_device: HashMap<DeviceId, Entry>,
    bytes: usize,
    swept_at: Option<Instant>,
}

struct Entry {
    slot: Slot,
    touched_at: Instant,
    bytes: usize,
}

/// A bounded cache of tags.
pub struct TagCache {
    hub: HubName,
    twins: Arc<dyn TwinApi>,
    known: Mutex<Slots>,
}

impl TagCache {
    /// Makes an empty cache.
    pub fn new(hub: HubName, twins: Arc<dyn TwinApi>) -> Self {
        Self {
            hub,
            twins,
            known: Mutex::default(),
        }
    }

    /// The tags of a device as they were at most a second ago; none when there is no such device.
    ///
    /// # Errors
    /// When they cannot be read, or too many are being read: nobody is allowed anything then.
    ///
    /// # Cancellation
    /// Safe: the next who waits for the same look-up makes it.
    pub async fn find(&self, device: &DeviceId) -> Result<Arc<Object>, PeerError> {
        let wanted_at = Instant::now();
        let slot = self.slot(device, wanted_at)?;
        let mut known = slot.lock().await;
        if let Some(known) = &*known {
            let is_fresh = match known.tags {
                Ok(_) => known.asked_at.elapsed() < LIFE,
                // A look-up that failed while this one waited for it answers it too.
                Err(_) => known.answered_at > wanted_at,
            };
            if is_fresh {
                return known.tags.clone();
            }
        }
        let asked_at = Instant::now();
        let tags = self.look_up(device).await;
        if let Ok(tags) = &tags {
            self.note_size(device, &slot, tags);
        }
        *known = Some(Known {
            asked_at,
            answered_at: Instant::now(),
            tags: tags.clone(),
        });
        tags
    }

    async fn look_up(&self, device: &DeviceId) -> Result<Arc<Object>, PeerError> {
        let asking = self.twins.get_twin(self.hub.clone(), device.clone().into());
        let late = PeerError::DeadlineExceeded { service: "twin" };
        match timeout(DEADLINE, asking).await.unwrap_or(Err(late)) {
            Ok(view) => Ok(Arc::new(view.twin.tags)),
            Err(error) if error.code() == ErrorCode::DeviceNotFound => Ok(Arc::default()),
            Err(error) => Err(error),
        }
    }

    fn slot(&self, device: &DeviceId, now: Instant) -> Result<Slot, PeerError> {
        let mut known = self.known.lock();
        if let Some(entry) = known.by_device.get_mut(device) {
            return Ok(Arc::clone(&entry.slot));
        }
        let is_due = known.swept_at.is_none_or(|at| now >= at + LIFE);
        if is_due || !known.has_room() {
            known.sweep(now);
        }
        if !known.has_room() {
            return Err(PeerError::Unavailable { service: "twin" });
        }
        let slot = Slot::default();
        let entry = Entry {
            slot: Arc::clone(&slot),
            touched_at: now,
            bytes: 0,
        };
        known.by_device.insert(device.clone(), entry);
        Ok(slot)
    }

    fn note_size(&self, device: &DeviceId, slot: &Slot, tags: &Object) {
        let bytes = serde_json::to_vec(tags).map_or(0, |text| text.len());
        let mut known = self.known.lock();
        let Slots {
            by_device,
            bytes: all,
            ..
        } = &mut *known;
        let entry = by_device.get_mut(device);
        if let Some(entry) = entry.filter(|entry| Arc::ptr_eq(&entry.slot, slot)) {
            *all = all.saturating_sub(entry.bytes).saturating_add(bytes);
            entry.bytes = bytes;
            entry.touched_at = Instant::now();
        }
    }
}

impl Slots {
    fn has_room(&self) -> bool {
        self.by_device.len() < MAX_DEVICES && self.bytes < MAX_BYTES
    }

    /// Drops what counts no more and is looked up by nobody.
    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now < at + SWEEP_PAUSE) {
            return;
        }
        self.swept_at = Some(now);
        self.by_device
            .retain(|_, entry| entry.touched_at + LIFE > now || Arc::strong_count(&entry.slot) > 1);
        self.bytes = self.by_device.values().map(|entry| entry.bytes).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fakes::TestHub;

    fn cache(hub: &TestHub) -> TagCache {
        let twins = Arc::clone(&hub.shared.peers.twins);
        TagCache::new(hub.shared.options.hub.clone(), twins)
    }

    fn device(number: usize) -> DeviceId {
        format!("dev-{number}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_for_ten_thousand_devices_and_one_more_is_refused() {
        let hub = TestHub::new().await;
        let cache = cache(&hub);
        let now = Instant::now();
        let asked: Vec<Slot> = (0..MAX_DEVICES)
            .map(|number| cache.slot(&device(number), now).unwrap())
            .collect();
        let refused = cache.find(&device(MAX_DEVICES)).await;
        assert_eq!(refused, Err(PeerError::Unavailable { service: "twin" }));
        // One that is there is found still, and those that are done with make room.
        assert!(cache.find(&device(0)).await.is_ok());
        drop(asked);
        tokio::time::advance(LIFE).await;
        assert!(cache.find(&device(MAX_DEVICES)).await.is_ok());
        assert!(cache.known.lock().by_device.len() < MAX_DEVICES);
    }

    #[tokio::test(start_paused = true)]
    async fn tags_are_asked_for_once_a_second_and_a_failure_is_never_kept() {
        let hub = TestHub::new().await;
        hub.device("dev-1").await;
        let cache = cache(&hub);
        let first = cache.find(&device(1)).await.unwrap();
        let again = cache.find(&device(1)).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again), "the same look-up answers both");
        tokio::time::advance(LIFE).await;
        hub.backend.set_down(true);
        assert!(cache.find(&device(1)).await.is_err());
        hub.backend.set_down(false);
        let later = cache.find(&device(1)).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &later));
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_at_a_time_share_one_look_up() {
        let hub = TestHub::new().await;
        hub.device("dev-1").await;
        let cache = cache(&hub);
        let id = device(1);
        let asking = (0..100).map(|_| cache.find(&id));
        let answers = futures::future::join_all(asking).await;
        let first = answers[0].clone().unwrap();
        let is_it = |tags: Result<Arc<Object>, _>| Arc::ptr_eq(&first, &tags.unwrap());
        assert!(answers.into_iter().all(is_it));
    }

    #[tokio::test(start_paused = true)]
    async fn large_tags_take_the_room_of_others() {
        let hub = TestHub::new().await;
        let cache = cache(&hub);
        cache.find(&device(1)).await.unwrap();
        cache.known.lock().bytes = MAX_BYTES;
        assert!(cache.find(&device(2)).await.is_err());
        tokio::time::advance(LIFE).await;
        assert!(cache.find(&device(2)).await.is_ok());
    }
}
