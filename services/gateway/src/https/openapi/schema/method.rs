//! Direct methods (methods.md §1, §2).

use serde_json::Value;
use utoipa::ToSchema;

/// A call.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct MethodRequest {
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = "^[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,128}$",
        example = "reboot"
    )]
    method_name: String,
    /// Any JSON; absent is not `null`.
    payload: Option<Value>,
    /// How long the device may take to answer, in seconds; 30 if it is left out.
    #[schema(minimum = 5, maximum = 300)]
    response_timeout_in_seconds: Option<u32>,
    /// How long to wait for a device that is not connected, in seconds; 0 if it is left out.
    #[schema(minimum = 0, maximum = 300)]
    connect_timeout_in_seconds: Option<u32>,
}

/// What the device answered.
#[derive(ToSchema)]
pub(in crate::https) struct MethodResponse {
    /// The device's own number.
    status: i32,
    /// Any JSON.
    payload: Value,
}
