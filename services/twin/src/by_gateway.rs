//! Finding the gateways that hold the devices of a batch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::presence::Route;
use downlink_ports::{GatewayApi, Gateways, IdSource, PresenceDirectory};
use tokio::time::timeout;

/// Finds who holds what.
#[derive(Clone)]
pub(crate) struct Finder {
    pub(crate) presence: Arc<dyn PresenceDirectory>,
    pub(crate) gateways: Arc<dyn Gateways>,
    pub(crate) deadline: Duration,
}

/// One gateway's part of a batch, in the order of the batch.
pub(crate) struct Part<T> {
    pub(crate) gateway: Arc<dyn GatewayApi>,
    pub(crate) items: Vec<T>,
}

/// A batch sorted by who holds its devices.
pub(crate) struct Sorted<T> {
    pub(crate) parts: Vec<Part<T>>,
    /// How many items are for devices that nobody holds.
    pub(crate) absent: usize,
    /// Items for gateways that are not known: they are new and this node has yet to hear of them,
    /// or gone and presence has yet to.
    pub(crate) lost: Vec<T>,
}

/// Wait before the second try of what failed; doubled for each further one, with jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The wait before round `round`, 50–100 % of a doubling time.
pub(crate) fn pause(round: u32, ids: &dyn IdSource) -> Duration {
    let mut random = [0];
    ids.fill_random(&mut random);
    let full = FIRST_PAUSE * 2_u32.pow(round.saturating_sub(1).min(16));
    full / 2 + full * u32::from(random[0]) / 512
}

impl Finder {
    /// Looks up the devices of a batch in one call and sorts what `item_of` makes of each by
    /// gateway. `None` when presence fails or takes too long.
    pub(crate) async fn sort<I, T>(
        &self,
        items: Vec<I>,
        device_of: impl Fn(&I) -> DeviceKey,
        item_of: impl Fn(I, &Route) -> T,
    ) -> Option<Sorted<T>> {
        let devices: Vec<DeviceKey> = items.iter().map(device_of).collect();
        let routes = match timeout(self.deadline, self.presence.lookup(&devices)).await {
            Ok(Ok(routes)) => routes,
            Ok(Err(error)) => {
                tracing::warn!(%error, "presence cannot be read");
                return None;
            }
            Err(_) => {
                tracing::warn!("presence did not answer in time");
                return None;
            }
        };
        let mut by_gateway: HashMap<GatewayId, Vec<T>> = HashMap::new();
        let mut absent = 0;
        for (item, route) in items.into_iter().zip(routes) {
            match route {
                None => absent += 1,
                Some(route) => {
                    let item = item_of(item, &route);
                    by_gateway.entry(route.gateway).or_default().push(item);
                }
            }
        }
        let mut parts = Vec::with_capacity(by_gateway.len());
        let mut lost = Vec::new();
        for (id, items) in by_gateway {
            match self.gateways.find(&id) {
                Some(gateway) => parts.push(Part { gateway, items }),
                None => lost.extend(items),
            }
        }
        Some(Sorted {
            parts,
            absent,
            lost,
        })
    }
}
