//! How fast devices over HTTPS are served; they have no connection that could be slowed.

use downlink_domain::device::Device;
use downlink_domain::limits::{DeviceOperation, HubOperation};

use super::Refused;
use crate::https::error::ApiError;
use crate::limits::Throttled;
use crate::shared::Shared;

/// What a device asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Telemetry,
    Receive,
}

/// Waits until the device may do something, `cost` times.
pub(super) async fn throttle(
    shared: &Shared,
    device: &Device,
    kind: Kind,
    cost: u32,
) -> Result<(), Refused> {
    let (own, hub) = match kind {
        Kind::Telemetry => (DeviceOperation::Telemetry, HubOperation::Telemetry),
        Kind::Receive => (DeviceOperation::C2dReceive, HubOperation::C2dReceive),
    };
    let limits = &shared.limits;
    limits.admit_device(device, own, cost).await?;
    limits.admit(hub, cost).await?;
    Ok(())
}

impl From<Throttled> for Refused {
    fn from(throttled: Throttled) -> Self {
        Self {
            retry_after: Some(throttled.wait()),
            error: ApiError::from(throttled),
        }
    }
}
