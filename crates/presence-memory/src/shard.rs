//! One part of the directory: the routes and watches of the devices that hash to it.

use std::collections::HashMap;

use downlink_domain::id::DeviceKey;
use downlink_domain::presence::{LeaseEpoch, Route, Subscriptions};
use tokio::sync::watch;

/// Routes and watches behind one lock. Routes are bounded by the connections there are, watches
/// by `MAX_WATCHES`; a watch entry lives exactly as long as somebody watches.
#[derive(Default)]
pub(crate) struct Shard {
    routes: HashMap<DeviceKey, Route>,
    watches: HashMap<DeviceKey, watch::Sender<Option<Route>>>,
}

impl Shard {
    pub(crate) fn route(&self, device: DeviceKey) -> Option<Route> {
        self.routes.get(&device).cloned()
    }

    /// Enters a route; returns the one it takes the place of.
    pub(crate) fn enter(&mut self, device: DeviceKey, route: Route) -> Option<Route> {
        self.publish(device, Some(&route));
        self.routes.insert(device, route)
    }

    pub(crate) fn subscribe(
        &mut self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        subscriptions: Subscriptions,
    ) {
        let Some(route) = self.routes.get_mut(&device) else {
            return;
        };
        if route.epoch != epoch || route.subscriptions == subscriptions {
            return;
        }
        route.subscriptions = subscriptions;
        let route = route.clone();
        self.publish(device, Some(&route));
    }

    /// Removes the route if `epoch` is its epoch; tells whether it was.
    pub(crate) fn leave(&mut self, device: DeviceKey, epoch: LeaseEpoch) -> bool {
        let is_current = self
            .routes
            .get(&device)
            .is_some_and(|route| route.epoch == epoch);
        if is_current {
            self.routes.remove(&device);
            self.publish(device, None);
        }
        is_current
    }

    pub(crate) fn watch(&mut self, device: DeviceKey) -> watch::Receiver<Option<Route>> {
        let current = self.routes.get(&device);
        self.watches
            .entry(device)
            .or_insert_with(|| watch::Sender::new(current.cloned()))
            .subscribe()
    }

    /// Takes a watch back and drops the entry with its last one.
    pub(crate) fn unwatch(&mut self, device: DeviceKey, receiver: watch::Receiver<Option<Route>>) {
        drop(receiver);
        let is_unused = self
            .watches
            .get(&device)
            .is_some_and(|sender| sender.receiver_count() == 0);
        if is_unused {
            self.watches.remove(&device);
        }
    }

    pub(crate) fn watched_count(&self) -> usize {
        self.watches.len()
    }

    fn publish(&self, device: DeviceKey, route: Option<&Route>) {
        if let Some(sender) = self.watches.get(&device) {
            sender.send_replace(route.cloned());
        }
    }
}
