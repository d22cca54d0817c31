//! Telling connected devices what was written to their desired properties.

use std::sync::Arc;

use bytes::Bytes;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::DesiredNotification;
use downlink_ports::{IdSource, Notify};
use downlink_runtime::{BatchItem, Batcher, BatcherOptions, Lifecycle, TryEnqueueError};
use futures::future::join_all;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::by_gateway::{Finder, Part, pause};
use crate::metrics::{Metrics, Passage};

/// Passes over presence and gateways before a change is given up. Few, since the changes of other
/// devices wait meanwhile; what is given up the device finds by the gap in the versions.
const ROUNDS: u32 = 4;

/// Passes changes on in the background, one lane per device, so that versions keep their order on
/// the way from this node; the gateway drops what another node's change has overtaken.
pub(crate) struct Notifier {
    lanes: Batcher<Change, ()>,
    metrics: Metrics,
}

/// A change on its way.
#[derive(Clone)]
struct Change(Notify);

impl BatchItem for Change {
    fn lane_key(&self) -> u64 {
        self.0.device.0.cast_unsigned()
    }

    fn weight_bytes(&self) -> usize {
        self.0.body.len()
    }
}

impl Notifier {
    pub(crate) fn start(
        finder: Finder,
        ids: Arc<dyn IdSource>,
        options: BatcherOptions,
        metrics: Metrics,
        lifecycle: &Lifecycle,
    ) -> Self {
        let of_lanes = metrics.clone();
        let lanes = Batcher::start(lifecycle, "twin.notify", options, move |changes| {
            let finder = finder.clone();
            pass_on(finder, Arc::clone(&ids), of_lanes.clone(), changes)
        });
        Self { lanes, metrics }
    }

    /// Has the device told, without waiting. A full lane drops the change: the device finds the
    /// gap in the versions and reads the whole twin (twins.md §5.5).
    pub(crate) fn tell(&self, device: DeviceKey, notification: DesiredNotification) {
        let change = Change(Notify {
            device,
            version: notification.version,
            body: Bytes::from(Value::Object(notification.body).to_string()),
        });
        match self.lanes.try_enqueue(change) {
            // Nobody waits for the passage; its outcome is counted where it happens.
            Ok(reply) => drop(reply),
            Err(TryEnqueueError::Full(_) | TryEnqueueError::Closed(_)) => {
                self.metrics.count_notifications(Passage::Dropped, 1);
            }
        }
    }
}

async fn pass_on(
    finder: Finder,
    ids: Arc<dyn IdSource>,
    metrics: Metrics,
    changes: Vec<Change>,
) -> Vec<()> {
    let count = changes.len();
    let mut left = changes;
    for round in 0..ROUNDS {
        if round > 0 {
            sleep(pause(round, &*ids)).await;
        }
        left = pass_round(&finder, &metrics, left).await;
        if left.is_empty() {
            return vec![(); count];
        }
    }
    metrics.count_notifications(Passage::Failed, left.len());
    vec![(); count]
}

/// Offers each change once; returns those that may be offered again.
async fn pass_round(finder: &Finder, metrics: &Metrics, changes: Vec<Change>) -> Vec<Change> {
    let sorted = finder
        .sort(
            changes.clone(),
            |change| change.0.device,
            |change, _| change.0,
        )
        .await;
    let Some(sorted) = sorted else {
        return changes;
    };
    metrics.count_notifications(Passage::Absent, sorted.absent);
    let calls = sorted
        .parts
        .into_iter()
        .map(|part| tell_gateway(finder, metrics, part));
    let mut failed = join_all(calls).await.concat();
    failed.extend(sorted.lost.into_iter().map(Change));
    failed
}

/// Calls one gateway; returns what may be offered again, which is safe: what it has told already
/// it drops. A gateway that does not answer is not waited for twice.
async fn tell_gateway(finder: &Finder, metrics: &Metrics, part: Part<Notify>) -> Vec<Change> {
    let count = part.items.len();
    match timeout(finder.deadline, part.gateway.notify(part.items.clone())).await {
        Ok(Ok(())) => metrics.count_notifications(Passage::Passed, count),
        Ok(Err(error)) => {
            tracing::debug!(%error, count, "a gateway did not take changes of desired properties");
            return part.items.into_iter().map(Change).collect();
        }
        Err(_) => {
            tracing::warn!(count, "a gateway did not answer in time");
            metrics.count_notifications(Passage::Failed, count);
        }
    }
    Vec::new()
}
