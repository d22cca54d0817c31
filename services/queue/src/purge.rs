//! Emptying a queue, and counting what waits in it.

use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceId, DeviceKey, HubName};
use downlink_ports::{EnqueueError, PeerError, PurgeOrder, PurgeOutcome};

use crate::service::Shared;

/// Empties a device's queue (c2d.md §7).
pub(crate) async fn purge(
    shared: &Shared,
    hub: HubName,
    device: DeviceId,
    by: Actor,
) -> Result<PurgeOutcome, PeerError> {
    let (rules, now) = (shared.options.rules(), shared.deps.clock.now());
    let order = PurgeOrder {
        hub,
        device: device.clone(),
        by,
        audit_id: shared.deps.ids.record_id(now),
        at: now,
    };
    let purged = shared
        .deps
        .messages
        .purge(order, rules)
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
