//! Telling connected devices what was written to their desired properties.

use bytes::Bytes;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::DesiredNotification;
use downlink_ports::Notify;
use downlink_runtime::{BatchItem, Batcher, BatcherOptions, Lifecycle, TryEnqueueError};
use futures::future::join_all;
use serde_json::Value;
use tokio::time::timeout;

use crate::by_gateway::{Finder, Part};
use crate::metrics::{Metrics, Passage};

/// Passes changes on in the background, one lane per device, so that versions keep their order.
pub(crate) struct Notifier {
    lanes: Batcher<Change, ()>,
    metrics: Metrics,
}

/// A change on its way.
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
        options: BatcherOptions,
        metrics: Metrics,
        lifecycle: &Lifecycle,
    ) -> Self {
        let of_lanes = metrics.clone();
        let lanes = Batcher::start(lifecycle, "twin.notify", options, move |changes| {
            pass_on(finder.clone(), of_lanes.clone(), changes)
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

async fn pass_on(finder: Finder, metrics: Metrics, changes: Vec<Change>) -> Vec<()> {
    let count = changes.len();
    let sorted = finder
        .sort(changes, |change| change.0.device, |change, _| change.0)
        .await;
    let Some(sorted) = sorted else {
        metrics.count_notifications(Passage::Failed, count);
        return vec![(); count];
    };
    metrics.count_notifications(Passage::Absent, sorted.absent);
    let calls = sorted
        .parts
        .into_iter()
        .map(|part| tell_gateway(&finder, &metrics, part));
    join_all(calls).await;
    vec![(); count]
}

async fn tell_gateway(finder: &Finder, metrics: &Metrics, part: Part<Notify>) {
    let count = part.items.len();
    let passage = match timeout(finder.deadline, part.gateway.notify(part.items)).await {
        Ok(Ok(())) => Passage::Passed,
        Ok(Err(error)) => {
            tracing::warn!(%error, count, "a gateway did not take changes of desired properties");
            Passage::Failed
        }
        Err(_) => {
            tracing::warn!(count, "a gateway did not answer in time");
            Passage::Failed
        }
    };
    metrics.count_notifications(passage, count);
}
