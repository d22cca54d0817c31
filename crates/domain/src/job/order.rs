//! What a job does, read from what was asked for.

use super::{
    Bytes, Duration, IfMatch, JobError, JobKind, MethodName, MethodTimeouts, Object, TwinChange,
    Value, caps,
};
use crate::method::MethodError;

/// What a job does to each identity.
#[derive(Clone, Debug, PartialEq)]
pub enum JobOrder {
    /// Patches its twin.
    UpdateTwin(TwinChange),
    /// Calls a method.
    Invoke {
        /// Which.
        name: MethodName,
        /// JSON text, empty when there is none.
        payload: Bytes,
        /// Both timeouts.
        timeouts: MethodTimeouts,
    },
}

impl JobOrder {
    /// Reads `updateTwin` or `cloudToDeviceMethod`. Members that have no effect are ignored, as in
    /// the operations themselves (twins.md §4.1, methods.md §1.1).
    ///
    /// # Errors
    /// [`JobError::Invalid`].
    pub fn read(kind: JobKind, work: &Object) -> Result<Self, JobError> {
        match kind {
            JobKind::UpdateTwin => update(work),
            JobKind::DeviceMethod => invoke(work),
        }
    }
}

fn invalid(text: impl Into<String>) -> JobError {
    JobError::Invalid(text.into())
}

fn object(parent: &Object, name: &str) -> Result<Option<Object>, JobError> {
    match parent.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members.clone())),
        Some(_) => Err(invalid(format!("{name} must be an object"))),
    }
}

fn text<'a>(parent: &'a Object, name: &str) -> Result<Option<&'a str>, JobError> {
    match parent.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(format!("{name} must be a string"))),
    }
}

fn update(work: &Object) -> Result<JobOrder, JobError> {
    let properties = object(work, "properties")?;
    let desired = match &properties {
        None => None,
        Some(properties) => object(properties, "desired")?,
    };
    let bare = text(work, "etag")?.unwrap_or("*").trim_matches('"');
    let if_match = match bare {
        "" | "*" => IfMatch::Any,
        etag => IfMatch::Etag(etag.to_owned()),
    };
    Ok(JobOrder::UpdateTwin(TwinChange::Patch {
        tags: object(work, "tags")?,
        desired,
        if_match,
    }))
}

fn invoke(work: &Object) -> Result<JobOrder, JobError> {
    let seconds = |name: &str| match work.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .map(|seconds| Some(Duration::from_secs(seconds)))
            .ok_or_else(|| invalid(format!("{name} must be a whole number of seconds"))),
    };
    let response = match seconds("responseTimeoutInSeconds")? {
        None => seconds("timeoutInSeconds")?,
        given => given,
    };
    let response = response.unwrap_or(caps::DEFAULT_RESPONSE_TIMEOUT);
    let connect = seconds("connectTimeoutInSeconds")?.unwrap_or_default();
    let payload = work.get("payload").map(Value::to_string);
    let payload = Bytes::from(payload.unwrap_or_default());
    if payload.len() > caps::MAX_METHOD_BYTES {
        return Err(invalid(MethodError::PayloadTooLarge.to_string()));
    }
    let name = text(work, "methodName")?.unwrap_or_default();
    Ok(JobOrder::Invoke {
        name: name.parse().map_err(refused)?,
        payload,
        timeouts: MethodTimeouts::new(connect, response).map_err(refused)?,
    })
}

fn refused(error: MethodError) -> JobError {
    invalid(error.to_string())
}
