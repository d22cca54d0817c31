//! Bodies of failures (errors-limits.md §1).

use utoipa::ToSchema;

/// A failure. For direct methods `Message` is the text of a `FlatFailure` and `ExceptionMessage` is empty.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub(in crate::https) struct ClassicFailure {
    /// `ErrorCode:<name>;<text>`
    #[schema(example = "ErrorCode:DeviceNotFound;device boiler-7 is not registered")]
    message: String,
    /// `Tracking ID:<id>-G:<gateway>-TimeStamp:<time>`; the log of the hub has a line with that id.
    exception_message: String,
}

/// A failure among modules.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct FlatFailure {
    /// The number in the catalogue of errors.
    #[schema(minimum = 400_000, maximum = 599_999, example = 409_301)]
    error_code: u32,
    tracking_id: String,
    message: String,
    #[schema(required = true)]
    info: Option<String>,
    timestamp_utc: super::Instant,
}
