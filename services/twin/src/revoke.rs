//! Ending connections of identities that lost the right to them.

use std::sync::Arc;

use downlink_domain::id::DeviceKey;
use downlink_domain::presence::DisconnectReason;
use downlink_ports::{Disconnect, IdSource};
use downlink_runtime::{BatchItem, Batcher, BatcherOptions, Lifecycle};
use futures::future::join_all;
use tokio::time::{sleep, timeout};

use crate::by_gateway::{Finder, Part, pause};
use crate::metrics::{Metrics, Passage};

/// Passes over presence and gateways before an order is given up: some six seconds, in which a
/// new gateway becomes known.
const ROUNDS: u32 = 7;

/// Gives orders to end connections, in the background and again when they fail.
#[derive(Clone)]
pub(crate) struct Revoker {
    lanes: Batcher<Order, ()>,
}

/// Whose connections end and why.
#[derive(Clone, Copy)]
struct Order {
    device: DeviceKey,
    reason: DisconnectReason,
}

impl BatchItem for Order {
    fn lane_key(&self) -> u64 {
        self.device.0.cast_unsigned()
    }

    fn weight_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

impl Revoker {
    pub(crate) fn start(
        finder: Finder,
        ids: Arc<dyn IdSource>,
        metrics: Metrics,
        lifecycle: &Lifecycle,
    ) -> Self {
        let options = BatcherOptions::default();
        let lanes = Batcher::start(lifecycle, "twin.revoke", options, move |orders| {
            give_orders(finder.clone(), Arc::clone(&ids), metrics.clone(), orders)
        });
        Self { lanes }
    }

    /// Has the connections of `device` ended; waits for room only. Orders that come while the
    /// service goes away are lost: the devices authenticate again when they reconnect.
    pub(crate) async fn revoke(&self, device: DeviceKey, reason: DisconnectReason) {
        match self.lanes.enqueue(Order { device, reason }).await {
            Ok(reply) => drop(reply),
            Err(error) => tracing::warn!(%error, "an order to disconnect a device was lost"),
        }
    }
}

async fn give_orders(
    finder: Finder,
    ids: Arc<dyn IdSource>,
    metrics: Metrics,
    orders: Vec<Order>,
) -> Vec<()> {
    let count = orders.len();
    let mut left = orders;
    for round in 0..ROUNDS {
        if round > 0 {
            sleep(pause(round, &*ids)).await;
        }
        left = give_round(&finder, &metrics, left).await;
        if left.is_empty() {
            return vec![(); count];
        }
    }
    tracing::error!(count = left.len(), "devices could not be disconnected");
    metrics.count_revocations(Passage::Failed, left.len());
    vec![(); count]
}

/// Gives each order once; returns those that failed.
async fn give_round(finder: &Finder, metrics: &Metrics, orders: Vec<Order>) -> Vec<Order> {
    let sorted = finder
        .sort(
            orders.clone(),
            |order| order.device,
            |order, route| Disconnect {
                device: order.device,
                up_to: route.epoch,
                reason: order.reason,
            },
        )
        .await;
    let Some(sorted) = sorted else {
        return orders;
    };
    metrics.count_revocations(Passage::Absent, sorted.absent);
    let calls = sorted
        .parts
        .into_iter()
        .map(|part| order_gateway(finder, metrics, part));
    let mut failed = join_all(calls).await.concat();
    failed.extend(sorted.lost.into_iter().map(again));
    failed
}

fn again(order: Disconnect) -> Order {
    Order {
        device: order.device,
        reason: order.reason,
    }
}

async fn order_gateway(finder: &Finder, metrics: &Metrics, part: Part<Disconnect>) -> Vec<Order> {
    let answer = timeout(finder.deadline, part.gateway.disconnect(part.items.clone())).await;
    if matches!(answer, Ok(Ok(()))) {
        metrics.count_revocations(Passage::Passed, part.items.len());
        return Vec::new();
    }
    part.items.into_iter().map(again).collect()
}
