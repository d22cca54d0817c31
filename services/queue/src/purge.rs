//! Emptying a queue, and counting what waits in it.

use downlink_domain::ErrorCode;
use downlink_domain::id::{DeviceId, DeviceKey, HubName};
use downlink_ports::{EnqueueError, PeerError, PurgeOutcome};

use crate::service::Shared;

/// Empties a device's queue (c2d.md §7).
pub(crate) async fn purge(
    shared: &Shared,
    hub: HubName,
    device: DeviceId,
) -> Result<PurgeOutcome, PeerError> {
    let (rules, now) = (shared.options.rules(), shared.deps.clock.now());
    let purged = shared
        .deps
        .messages
        .purge(hub, device.clone(), rules, now)
        .await
        .map_err(|error| shared.store_failed("purge", error))?;
    let Some(outcome) = purged else {
        let unknown = EnqueueError::DeviceNotFound(device);
        return Err(PeerError::refused(ErrorCode::DeviceNotFound, &unknown));
    };
    shared.metrics.purged.add(outcome.removed);
    let removed = usize::try_from(outcome.removed).unwrap_or(usize::MAX);
    shared.on_outcomes(removed);
    Ok(outcome)
}

/// Messages waiting for each device, by position.
pub(crate) async fn count(shared: &Shared, devices: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError> {
    let now = shared.deps.clock.now();
    let counted = shared.deps.messages.count(devices, now).await;
    counted.map_err(|error| shared.store_failed("count", error))
}
