//! The calls in flight, counted for each device and for the node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU32;

use downlink_domain::id::DeviceKey;
use downlink_domain::method::MethodError;
use downlink_runtime::telemetry::HotGauge;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Calls in flight. Bounded by the calls of the node; a call beyond a bound is refused.
pub(crate) struct InFlight {
    counts: Mutex<Counts>,
    max_per_device: u32,
    max_total: u32,
    gauge: HotGauge,
    emptied: Notify,
}

#[derive(Default)]
struct Counts {
    by_device: HashMap<DeviceKey, u32>,
    total: u32,
}

/// The place of one call, given back when it is dropped.
pub(crate) struct Place<'a> {
    in_flight: &'a InFlight,
    device: DeviceKey,
}

impl InFlight {
    pub(crate) fn new(max_per_device: NonZeroU32, max_total: NonZeroU32, gauge: HotGauge) -> Self {
        Self {
            counts: Mutex::default(),
            max_per_device: max_per_device.get(),
            max_total: max_total.get(),
            gauge,
            emptied: Notify::new(),
        }
    }

    /// Takes a place for a call to `device`.
    ///
    /// # Errors
    /// [`MethodError::TooManyInFlight`] when the device has as many calls as it may,
    /// [`MethodError::Unavailable`] when the node has.
    pub(crate) fn enter(&self, device: DeviceKey) -> Result<Place<'_>, MethodError> {
        let mut counts = self.counts.lock();
        if counts.total >= self.max_total {
            return Err(MethodError::Unavailable);
        }
        let count = counts.by_device.entry(device).or_insert(0);
        if *count >= self.max_per_device {
            return Err(MethodError::TooManyInFlight);
        }
        *count += 1;
        counts.total += 1;
        drop(counts);
        self.gauge.add(1);
        Ok(Place {
            in_flight: self,
            device,
        })
    }

    /// Waits until no call is in flight.
    ///
    /// # Cancellation
    /// Safe: it only waits.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.counts.lock().total == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.in_flight.counts.lock();
        if let Entry::Occupied(mut count) = counts.by_device.entry(self.device) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        counts.total -= 1;
        let is_empty = counts.total == 0;
        drop(counts);
        self.in_flight.gauge.add(-1);
        if is_empty {
            self.in_flight.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(max_per_device: u32, max_total: u32) -> InFlight {
        let bound = |count| NonZeroU32::new(count).unwrap();
        InFlight::new(bound(max_per_device), bound(max_total), HotGauge::default())
    }

    fn refusal(in_flight: &InFlight, device: i64) -> Option<MethodError> {
        in_flight.enter(DeviceKey(device)).err()
    }

    #[test]
    fn a_device_has_as_many_places_as_it_may_and_gets_them_back() {
        let in_flight = bounded(2, 10);
        let first = in_flight.enter(DeviceKey(1)).unwrap();
        let second = in_flight.enter(DeviceKey(1)).unwrap();
        assert_eq!(refusal(&in_flight, 1), Some(MethodError::TooManyInFlight));
        assert_eq!(refusal(&in_flight, 2), None);
        drop(first);
        assert_eq!(refusal(&in_flight, 1), None);
        drop(second);
        assert!(in_flight.counts.lock().by_device.is_empty());
        assert_eq!(in_flight.gauge.value(), 0);
    }

    #[test]
    fn the_node_has_a_bound_of_its_own() {
        let in_flight = bounded(2, 3);
        let places: Vec<_> = (0..3)
            .map(|n| in_flight.enter(DeviceKey(n)).unwrap())
            .collect();
        assert_eq!(refusal(&in_flight, 9), Some(MethodError::Unavailable));
        drop(places);
        assert_eq!(refusal(&in_flight, 9), None);
    }

    #[tokio::test]
    async fn the_last_place_given_back_wakes_who_waits_for_it() {
        let in_flight = bounded(2, 3);
        in_flight.emptied().await;
        let place = in_flight.enter(DeviceKey(1)).unwrap();
        let emptied = in_flight.emptied();
        tokio::pin!(emptied);
        assert!(futures::poll!(emptied.as_mut()).is_pending());
        drop(place);
        emptied.await;
    }
}
