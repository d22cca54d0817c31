//! Writing twins in batches: writes of one twin keep their order, what is on disk is told.

use std::sync::Arc;

use downlink_domain::id::DeviceKey;
use downlink_domain::twin::{Twin, TwinChange, TwinError, TwinRules};
use downlink_ports::{Clock, StoreError, TwinStore};
use downlink_runtime::{BatchItem, Batcher, BatcherOptions, Lifecycle};

use crate::notify::Notifier;

/// One write of one twin.
pub(crate) struct Write {
    pub(crate) device: DeviceKey,
    pub(crate) change: TwinChange,
}

impl BatchItem for Write {
    fn lane_key(&self) -> u64 {
        self.device.0.cast_unsigned()
    }

    fn weight_bytes(&self) -> usize {
        self.change.counted_bytes()
    }
}

/// What became of a write; `None` when the identity is gone.
pub(crate) type Outcome = Result<Option<Result<Twin, TwinError>>, StoreError>;

/// Lanes that write twins.
pub(crate) type Writer = Batcher<Write, Outcome>;

/// What a lane needs.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) twins: Arc<dyn TwinStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) rules: TwinRules,
}

impl Desk {
    pub(crate) fn start(self, options: BatcherOptions, lifecycle: &Lifecycle) -> Writer {
        Batcher::start(lifecycle, "twin.write", options, move |writes| {
            self.clone().write(writes)
        })
    }

    /// Commits a batch. Changes are handed to the notifier before the next batch of the lane is
    /// begun, so that a device hears of its versions in their order.
    async fn write(self, writes: Vec<Write>) -> Vec<Outcome> {
        let devices: Vec<DeviceKey> = writes.iter().map(|write| write.device).collect();
        let changes = writes.into_iter().map(|write| (write.device, write.change));
        let now = self.clock.now();
        let written = self
            .twins
            .update_twins(changes.collect(), self.rules, now)
            .await;
        match written {
            Err(error) => devices.iter().map(|_| Err(error.clone())).collect(),
            Ok(written) => {
                let pairs = devices.into_iter().zip(written);
                pairs
                    .map(|(device, one)| Ok(one.map(|one| self.told(device, one))))
                    .collect()
            }
        }
    }

    fn told(
        &self,
        device: DeviceKey,
        written: Result<downlink_domain::twin::TwinWritten, TwinError>,
    ) -> Result<Twin, TwinError> {
        let written = written?;
        if let Some(notification) = written.notification {
            self.notifier.tell(device, notification);
        }
        Ok(written.twin)
    }
}
