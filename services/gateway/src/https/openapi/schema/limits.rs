//! Limits of the hub and of devices.

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// So many operations in a unit of time, and how many may come at once; or none.
#[derive(ToSchema)]
#[schema(
    max_length = 64,
    pattern = "^(unlimited|[1-9][0-9]{0,8}/(s|min|h)( burst [1-9][0-9]{0,8})?)$",
    example = "100/min"
)]
pub(in crate::https) struct RateLimit(String);

/// Limits of the hub, all its gateways together; one that is left out is as configured.
#[derive(ToSchema)]
pub(in crate::https) struct HubLimits {
    registry: Option<RateLimit>,
    connects: Option<RateLimit>,
    telemetry: Option<RateLimit>,
    c2d_sends: Option<RateLimit>,
    c2d_receives: Option<RateLimit>,
    /// In units of 4 KiB of request payload.
    method_calls: Option<RateLimit>,
    queries: Option<RateLimit>,
    twin_reads: Option<RateLimit>,
    twin_updates: Option<RateLimit>,
    jobs: Option<RateLimit>,
    configurations: Option<RateLimit>,
}

/// Limits of a device and its modules; one that is left out is as for every device, or as configured.
#[derive(ToSchema)]
pub(in crate::https) struct DeviceLimits {
    telemetry: Option<RateLimit>,
    c2d_receives: Option<RateLimit>,
    method_calls: Option<RateLimit>,
    twin_reads: Option<RateLimit>,
    twin_updates: Option<RateLimit>,
    connects: Option<RateLimit>,
}

/// What is stated over what is configured.
#[derive(ToSchema)]
pub(in crate::https) struct StatedLimits {
    hub: Option<HubLimits>,
    device: Option<DeviceLimits>,
}

/// What holds, and what of it was stated.
#[derive(ToSchema)]
pub(in crate::https) struct Limits {
    hub: HubLimits,
    device: DeviceLimits,
    stated: StatedLimits,
}

/// What holds for one device, and what of it was stated for it alone.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct LimitsOfDevice {
    device_id: String,
    device: DeviceLimits,
    stated: DeviceLimits,
}

/// What was stated for single devices, by their ids.
#[derive(ToSchema)]
pub(in crate::https) struct LimitsByDevice(BTreeMap<String, DeviceLimits>);
