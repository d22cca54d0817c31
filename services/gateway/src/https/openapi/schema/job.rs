//! Jobs (registry.md §6).

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Instant;
use super::method::MethodRequest;

/// Id of a job.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 64,
    pattern = "^[a-z0-9\\-']{1,64}$",
    example = "update-ring-2"
)]
pub(in crate::https) struct JobName(String);

/// A job that is wanted.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct NewJob {
    /// That of the path.
    job_id: Option<JobName>,
    /// `scheduleUpdateTwin` or `scheduleDeviceMethod`.
    #[schema(example = "scheduleUpdateTwin")]
    r#type: String,
    /// What is changed in each twin: `tags`, `properties.desired`, and `etag`, which is `*` for any.
    update_twin: Option<Map<String, Value>>,
    /// What is called of each device.
    cloud_to_device_method: Option<MethodRequest>,
    /// For whom: a condition of the query language, `*` for all devices, or `FROM devices.modules WHERE …`.
    #[schema(max_length = 8192, example = "tags.site = 'zrh'")]
    query_condition: Option<String>,
    /// When it starts, at most 168 hours ahead; now if it is left out.
    start_time: Option<String>,
    /// How long it may run; 3600 if it is left out.
    #[schema(minimum = 0, maximum = 604_800)]
    max_execution_time_in_seconds: Option<u64>,
}

/// A job, and how far it is.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct Job {
    job_id: JobName,
    query_condition: Option<String>,
    created_time: Option<Instant>,
    start_time: Option<Instant>,
    end_time: Option<Instant>,
    max_execution_time_in_seconds: Option<u64>,
    r#type: String,
    /// As it was asked for.
    update_twin: Option<Map<String, Value>>,
    /// As it was asked for.
    cloud_to_device_method: Option<Map<String, Value>>,
    /// `queued`, `scheduled`, `running`, `completed`, `failed`, `cancelled`; `unknown` for one that is not there.
    status: String,
    failure_reason: Option<String>,
    status_message: Option<String>,
    device_job_statistics: Option<JobStatistics>,
}

/// How many devices the job concerns, and what became of them.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct JobStatistics {
    device_count: u64,
    failed_count: u64,
    succeeded_count: u64,
    running_count: u64,
    pending_count: u64,
}
