//! Jobs (registry.md §6).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use downlink_domain::Timestamp;
use downlink_domain::access::{Access, Action, Actor};
use downlink_domain::caps;
use downlink_domain::id::JobId;
use downlink_domain::job::{Job, JobKey, JobKind, JobOrder, JobSpec, JobState};
use downlink_domain::twin::Object;
use downlink_ports::JobFilter;
use serde_json::{Value, json};

use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::job::{Job as JobDocument, JobName, NewJob};
use super::request::{find_query, member, object_member, parse_object, text_member};
use crate::shared::Shared;

/// Most bytes of a body: the largest work, the longest condition, and room to spare.
pub(super) const MAX_BODY_BYTES: usize =
    caps::MAX_JOB_WORK_BYTES + 4 * caps::MAX_CONDITION_CHARS + 16 * 1024;

/// Jobs of a page, unless fewer are asked for (registry.md §6.4, §5.1). Of the largest jobs, so many and one more still
/// fit into one message of a peer.
const PAGE: u32 = 40;

const MAX_ITEMS: &str = "x-ms-max-item-count";
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");

/// Kinds and states that the contract has and that no job here is of.
const OTHER_KINDS: [&str; 3] = ["unknown", "export", "import"];
const OTHER_STATES: [&str; 2] = ["unknown", "enqueued"];

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    List,
    Get(JobId),
    Create(JobId),
    Cancel(JobId),
}

impl Call {
    /// What the call does, as far as it is known without its body.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::List | Self::Get(_) => Action::JobsRead,
            Self::Create(_) => Action::JobsWrite,
            Self::Cancel(_) => Action::JobsDelete,
        }
    }
}

/// What a path below `/jobs/v2` takes; `segments` are those of the whole path. Empty when there is nothing.
pub(super) fn known(rest: &[&str], segments: &[String]) -> Result<Vec<(Method, Call)>, ApiError> {
    let id = || {
        let id = segments[2].parse::<JobId>();
        id.map_err(|error| ApiError::invalid(&error))
    };
    Ok(match *rest {
        // No job can have this name: it could not be read.
        // A job of that name would be out of reach.
        ["query"] => vec![(Method::GET, Call::List)],
        [_] => vec![
            (Method::GET, Call::Get(id()?)),
            (Method::PUT, Call::Create(id()?)),
        ],
        [_, "cancel"] => vec![(Method::POST, Call::Cancel(id()?))],
        _ => Vec::new(),
    })
}

/// Creates a job: a twin update or a method call for all devices, or modules, that a condition names.
///
/// Who creates it needs the right to do to the whole hub what the job does.
#[utoipa::path(
    put,
    path = "/jobs/v2/{id}",
    tag = "jobs",
    operation_id = "createJob",
    params(("id" = JobName, Path, description = "The job.")),
    request_body = NewJob,
    responses((status = 200, description = "The job.", body = JobDocument)),
)]
pub(super) async fn create(shared: &Shared, spec: JobSpec, by: Actor) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let job = shared.peers.fleet.create_job(hub, spec, by).await?;
    Ok(Answer::json(&document(&job)))
}

/// Reads a job; one that is not there has the type and the status `unknown`.
#[utoipa::path(
    get,
    path = "/jobs/v2/{id}",
    tag = "jobs",
    operation_id = "getJob",
    params(("id" = JobName, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = JobDocument)),
)]
pub(super) async fn get(shared: &Shared, id: JobId) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let found = shared.peers.fleet.find_job(hub, id.clone()).await?;
    Ok(Answer::json(&match found {
        Some(job) => document(&job),
        None => json!({ "jobId": id.as_str(), "type": "unknown", "status": "unknown" }),
    }))
}

/// Ends a job that has not begun.
#[utoipa::path(
    post,
    path = "/jobs/v2/{id}/cancel",
    tag = "jobs",
    operation_id = "cancelJob",
    params(("id" = JobName, Path, description = "The job.")),
    responses((status = 200, description = "The job as it is now.", body = JobDocument)),
)]
pub(super) async fn cancel(shared: &Shared, id: JobId, by: Actor) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let job = shared.peers.fleet.cancel_job(hub, id, by).await?;
    Ok(Answer::json(&document(&job)))
}

/// Lists jobs in the order of their creation, a page at a time.
#[utoipa::path(
    get,
    path = "/jobs/v2/query",
    tag = "jobs",
    operation_id = "listJobs",
    params(
        ("jobType" = Option<String>, Query, description = "Only such, in any case of letters."),
        ("jobStatus" = Option<String>, Query, description = "Only such, in any case of letters."),
        ("x-ms-max-item-count" = Option<u32>, Header, description = "Most jobs, 1 to 1000; a page has 40 at most."),
        ("x-ms-continuation" = Option<String>, Header, description = "Where the page before ended."),
    ),
    responses((status = 200, description = "Jobs.", body = Vec<JobDocument>)),
)]
pub(super) async fn list(
    shared: &Shared,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let limit = page_size(headers)?;
    let after = continuation(headers)?;
    let jobs = match filter(uri)? {
        None => Vec::new(),
        Some(filter) => {
            // One more tells whether there is a further page.
            let listed = shared.peers.fleet.list_jobs(hub, filter, after, limit + 1);
            listed.await?
        }
    };
    let page: Vec<&Job> = jobs.iter().take(limit as usize).collect();
    let documents: Vec<Value> = page.iter().map(|job| document(job)).collect();
    let answer = Answer::json(&Value::from(documents))
        .with_header(ITEM_TYPE, HeaderValue::from_static("JobResponse"));
    Ok(match page.last() {
        Some(last) if jobs.len() > page.len() => {
            answer.with_header(CONTINUATION, HeaderValue::from(last.key.0))
        }
        _ => answer,
    })
}

fn page_size(headers: &HeaderMap) -> Result<u32, ApiError> {
    let Some(value) = headers.get(MAX_ITEMS) else {
        return Ok(PAGE);
    };
    let number = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number
        .filter(|number| (1..=1000).contains(number))
        .map(|number: u32| number.min(PAGE))
        .ok_or_else(|| ApiError::invalid(&format_args!("{MAX_ITEMS} must be 1 to 1000")))
}

fn continuation(headers: &HeaderMap) -> Result<Option<JobKey>, ApiError> {
    let text = headers.get(CONTINUATION).map(HeaderValue::to_str);
    match text {
        None | Some(Ok("")) => Ok(None),
        Some(text) => text
            .ok()
            .and_then(|text| text.parse().ok())
            .map(|key| Some(JobKey(key)))
            .ok_or_else(|| ApiError::invalid(&"the continuation is not one of this hub")),
    }
}

/// Which jobs are asked for; `None` when the contract has such, but no job here can be.
fn filter(uri: &Uri) -> Result<Option<JobFilter>, ApiError> {
    let kind = find_query(uri, "jobType").filter(|word| !word.is_empty());
    let state = find_query(uri, "jobStatus").filter(|word| !word.is_empty());
    let mut filter = JobFilter::default();
    let is_other =
        |known: &[&str], word: &str| known.iter().any(|other| other.eq_ignore_ascii_case(word));
    if let Some(word) = &kind {
        filter.kind = JobKind::parse(word);
        if filter.kind.is_none() {
            return if is_other(&OTHER_KINDS, word) {
                Ok(None)
            } else {
                Err(ApiError::invalid(&"jobType is not known"))
            };
        }
    }
    if let Some(word) = &state {
        filter.state = JobState::parse(word);
        if filter.state.is_none() {
            return if is_other(&OTHER_STATES, word) {
                Ok(None)
            } else {
                Err(ApiError::invalid(&"jobStatus is not known"))
            };
        }
    }
    Ok(Some(filter))
}

/// Reads what is asked for at `now`; members without effect are ignored.
pub(super) fn parse(id: JobId, body: &[u8], now: Timestamp) -> Result<JobSpec, ApiError> {
    let body = parse_object(body)?;
    if text_member(&body, "jobId")?.is_some_and(|named| named != id.as_str()) {
        return Err(ApiError::invalid(&"jobId is not that of the path"));
    }
    let kind = text_member(&body, "type")?.and_then(JobKind::parse);
    let kind = kind.ok_or_else(|| {
        ApiError::invalid(&"type must be scheduleUpdateTwin or scheduleDeviceMethod")
    })?;
    let name = work_name(kind);
    let work = object_member(&body, name)?;
    let work = work.ok_or_else(|| ApiError::invalid(&format_args!("{name} is missing")))?;
    if work_bytes(work) > caps::MAX_JOB_WORK_BYTES {
        return Err(ApiError::invalid(&format_args!("{name} is too large")));
    }
    Ok(JobSpec {
        id,
        kind,
        condition: text_member(&body, "queryCondition")?
            .unwrap_or_default()
            .to_owned(),
        work: work.clone(),
        start_at: start_at(&body, now)?,
        max_execution: max_execution(&body)?,
    })
}

fn work_bytes(work: &Object) -> usize {
    serde_json::to_vec(work).map_or(usize::MAX, |text| text.len())
}

fn work_name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::UpdateTwin => "updateTwin",
        JobKind::DeviceMethod => "cloudToDeviceMethod",
    }
}

/// Absent, `null` and empty are now (registry.md §6.1); without an offset it is UTC.
fn start_at(body: &Object, now: Timestamp) -> Result<Timestamp, ApiError> {
    match text_member(body, "startTime")?.map(str::trim) {
        None | Some("") => Ok(now),
        Some(text) => Timestamp::parse_iso(text)
            .or_else(|| Timestamp::parse_iso(&format!("{text}Z")))
            .ok_or_else(|| ApiError::invalid(&"startTime is not an ISO 8601 instant")),
    }
}

fn max_execution(body: &Object) -> Result<Duration, ApiError> {
    match member(body, "maxExecutionTimeInSeconds") {
        None => Ok(caps::DEFAULT_JOB_EXECUTION),
        Some(value) => match value.as_u64() {
            None => Err(ApiError::invalid(
                &"maxExecutionTimeInSeconds must be a whole number",
            )),
            Some(0) => Ok(caps::DEFAULT_JOB_EXECUTION),
            Some(seconds) => Ok(Duration::from_secs(seconds)),
        },
    }
}

/// What the job does to each identity.
///
/// # Errors
/// Work outside its rules.
pub(super) fn order(spec: &JobSpec) -> Result<JobOrder, ApiError> {
    let order = JobOrder::read(spec.kind, &spec.work);
    order.map_err(|error| ApiError::new(error.code(), error.to_string()))
}

/// What a job does to the whole hub; whoever creates it must be allowed that, so that nobody gets around the limits of a
/// policy by way of a job.
pub(super) fn access(order: &JobOrder) -> Access<'_> {
    match order {
        JobOrder::UpdateTwin(_) => Access::to_hub(Action::TwinsWrite),
        JobOrder::Invoke { name, .. } => Access {
            method: Some(name),
            ..Access::to_hub(Action::InvokeMethod)
        },
    }
}

/// The job in the member order of the contract.
fn document(job: &Job) -> Value {
    let spec = &job.spec;
    let mut members = Object::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("jobId", spec.id.as_str().into());
    put("queryCondition", spec.condition.as_str().into());
    put("createdTime", job.created_at.to_string().into());
    put("startTime", spec.start_at.to_string().into());
    if let Some(at) = job.ended_at {
        put("endTime", at.to_string().into());
    }
    put(
        "maxExecutionTimeInSeconds",
        spec.max_execution.as_secs().into(),
    );
    put("type", spec.kind.as_str().into());
    put(work_name(spec.kind), Value::Object(spec.work.clone()));
    put("status", job.state.as_str().into());
    if let Some(reason) = &job.failure {
        put("failureReason", reason.as_str().into());
        put("statusMessage", reason.as_str().into());
    }
    let counts = &job.statistics;
    put(
        "deviceJobStatistics",
        json!({
            "deviceCount": counts.devices,
            "failedCount": counts.failed,
            "succeededCount": counts.succeeded,
            "runningCount": counts.running,
            "pendingCount": counts.pending,
        }),
    );
    Value::Object(members)
}
