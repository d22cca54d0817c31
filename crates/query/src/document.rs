//! The twin of an identity as a document (twins.md §2): as a whole, and member by member without
//! making the whole.

use std::borrow::Cow;

use downlink_domain::device::{Authentication, Device};
use downlink_domain::job::{DeviceJob, DeviceJobOutcome};
use downlink_domain::twin::{Object, Section};
use downlink_ports::ScanRow;
use serde_json::{Value, json};

use crate::evaluate::Document;
use crate::path::{Path, Step};
use crate::value::Found;

/// The whole twin in the member order of the contract.
pub fn twin(row: &ScanRow) -> Value {
    let (device, twin) = (&row.device, &row.twin);
    let mut members = Object::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("deviceId", device.name.device.as_str().into());
    if let Some(module) = &device.name.module {
        put("moduleId", module.as_str().into());
    }
    put("etag", twin.etag_text().into());
    put("deviceEtag", device.etag_text().into());
    put("status", device.status.as_str().into());
    if let Some(reason) = &device.status_reason {
        put("statusReason", reason.as_str().into());
    }
    put(
        "statusUpdateTime",
        device.status_updated_at.to_string().into(),
    );
    put("connectionState", connection_state(device).into());
    put(
        "lastActivityTime",
        device.last_activity_at.to_string().into(),
    );
    put("cloudToDeviceMessageCount", waiting(row).into());
    put("authenticationType", authentication_type(device).into());
    put("x509Thumbprint", thumbprints(device));
    put("modelId", device.model_id.as_str().into());
    put("version", twin.version.into());
    if !twin.tags.is_empty() {
        put("tags", twin.tags.clone().into());
    }
    put("properties", twin.properties().into());
    if !row.configurations.is_empty() {
        put("configurations", row.configurations.clone().into());
    }
    put("capabilities", capabilities(device));
    if let Some(scope) = &device.device_scope {
        put("deviceScope", scope.as_str().into());
        put("parentScopes", parent_scopes(device));
    }
    Value::Object(members)
}

/// A row about a job on a device (registry.md §5.3): without the members that it has no value for.
pub fn device_job(row: &DeviceJob) -> Value {
    let mut members = Object::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("deviceId", row.name.device.as_str().into());
    if let Some(module) = &row.name.module {
        put("moduleId", module.as_str().into());
    }
    put("jobId", row.job_id.to_string().into());
    put("jobType", row.kind.as_str().into());
    put("status", row.state.as_str().into());
    let optional = [
        ("startTimeUtc", row.started_at),
        ("endTimeUtc", row.ended_at),
    ];
    for (name, at) in optional {
        if let Some(at) = at {
            put(name, at.to_string().into());
        }
    }
    put("createdDateTimeUtc", row.created_at.to_string().into());
    put("lastUpdatedDateTimeUtc", row.updated_at.to_string().into());
    match &row.outcome {
        None | Some(DeviceJobOutcome::Updated) => {}
        Some(DeviceJobOutcome::Answered { status, payload }) => {
            let payload = serde_json::from_slice(payload).unwrap_or(Value::Null);
            let response = json!({ "status": status, "payload": payload });
            put("outcome", json!({ "deviceMethodResponse": response }));
        }
        Some(DeviceJobOutcome::Failed(error)) => {
            let code = error.code.number().to_string();
            put(
                "error",
                json!({ "code": code, "description": error.description }),
            );
        }
    }
    Value::Object(members)
}

fn connection_state(device: &Device) -> &'static str {
    if device.is_connected {
        "Connected"
    } else {
        "Disconnected"
    }
}

fn waiting(row: &ScanRow) -> u64 {
    row.waiting.unwrap_or(0)
}

fn authentication_type(device: &Device) -> &'static str {
    match device.authentication {
        Authentication::Sas(_) => "sas",
        Authentication::SelfSigned { .. } => "selfSigned",
        Authentication::CertificateAuthority => "certificateAuthority",
        Authentication::None => "none",
    }
}

fn thumbprints(device: &Device) -> Value {
    let (primary, secondary) = match &device.authentication {
        Authentication::SelfSigned { primary, secondary } => (primary.as_ref(), secondary.as_ref()),
        Authentication::Sas(_) | Authentication::CertificateAuthority | Authentication::None => {
            (None, None)
        }
    };
    json!({ "primaryThumbprint": primary, "secondaryThumbprint": secondary })
}

fn capabilities(device: &Device) -> Value {
    json!({ "iotEdge": device.is_edge })
}

fn parent_scopes(device: &Device) -> Value {
    device.parent_scopes.as_slice().into()
}

impl Document for ScanRow {
    fn find(&self, path: &Path) -> Found<'_> {
        let steps = path.steps();
        let Some((Step::Name(first), rest)) = steps.split_first() else {
            return Found::Undefined;
        };
        match first.as_str() {
            "tags" if self.twin.tags.is_empty() => Found::Undefined,
            "tags" => in_object(&self.twin.tags, rest),
            "properties" => in_properties(self, rest),
            "configurations" if self.configurations.is_empty() => Found::Undefined,
            "configurations" => in_object(&self.configurations, rest),
            "x509Thumbprint" => in_made(thumbprints(&self.device), rest),
            "capabilities" => in_made(capabilities(&self.device), rest),
            "parentScopes" if self.device.device_scope.is_some() => {
                in_made(parent_scopes(&self.device), rest)
            }
            name if rest.is_empty() => scalar(self, name),
            _ => Found::Undefined,
        }
    }
}

fn scalar<'a>(row: &'a ScanRow, name: &str) -> Found<'a> {
    let (device, twin) = (&row.device, &row.twin);
    let optional = |text: Option<&'a str>| text.map_or(Found::Undefined, Found::text);
    match name {
        "deviceId" => Found::text(device.name.device.as_str()),
        "moduleId" => {
            let module = device.name.module.as_ref();
            optional(module.map(downlink_domain::id::ModuleId::as_str))
        }
        "etag" => Found::Text(Cow::Owned(twin.etag_text())),
        "deviceEtag" => Found::Text(Cow::Owned(device.etag_text())),
        "status" => Found::text(device.status.as_str()),
        "statusReason" => optional(device.status_reason.as_deref()),
        "statusUpdateTime" => Found::Time(device.status_updated_at),
        "connectionState" => Found::text(connection_state(device)),
        "connectionStateUpdatedTime" => Found::Time(device.connection_state_updated_at),
        "lastActivityTime" => Found::Time(device.last_activity_at),
        "cloudToDeviceMessageCount" => Found::made(waiting(row).into()),
        "authenticationType" => Found::text(authentication_type(device)),
        "modelId" => Found::text(&device.model_id),
        "version" => Found::made(twin.version.into()),
        "deviceScope" => optional(device.device_scope.as_deref()),
        _ => Found::Undefined,
    }
}

fn in_properties<'a>(row: &'a ScanRow, steps: &[Step]) -> Found<'a> {
    let Some((first, rest)) = steps.split_first() else {
        return Found::made(row.twin.properties().into());
    };
    match first {
        Step::Name(name) if name == "desired" => in_section(&row.twin.desired, rest),
        Step::Name(name) if name == "reported" => in_section(&row.twin.reported, rest),
        Step::Name(_) | Step::Index(_) => Found::Undefined,
    }
}

fn in_section<'a>(section: &'a Section, steps: &[Step]) -> Found<'a> {
    let Some((first, rest)) = steps.split_first() else {
        return Found::made(section.service_view().into());
    };
    match first {
        Step::Name(name) if name == "$version" => in_made(section.version.into(), rest),
        Step::Name(name) if name == "$metadata" => in_object(&section.metadata, rest),
        Step::Name(_) | Step::Index(_) => in_object(&section.values, steps),
    }
}

fn in_object<'a>(object: &'a Object, steps: &[Step]) -> Found<'a> {
    let Some((first, rest)) = steps.split_first() else {
        return Found::Json(Cow::Owned(Value::Object(object.clone())));
    };
    let found = match first {
        Step::Name(name) => object.get(name),
        Step::Index(_) => None,
    };
    found.map_or(Found::Undefined, |found| in_value(found, rest))
}

/// Follows `steps` from `start`.
fn in_value<'a>(start: &'a Value, steps: &[Step]) -> Found<'a> {
    follow(start, steps).map_or(Found::Undefined, Found::of)
}

fn in_made(start: Value, steps: &[Step]) -> Found<'static> {
    if steps.is_empty() {
        return Found::made(start);
    }
    let found = follow(&start, steps).cloned();
    found.map_or(Found::Undefined, Found::made)
}

fn follow<'a>(start: &'a Value, steps: &[Step]) -> Option<&'a Value> {
    steps.iter().try_fold(start, |value, step| match step {
        Step::Name(name) => value.as_object()?.get(name),
        Step::Index(index) => value.as_array()?.get(*index),
    })
}

/// A row that is JSON as it stands, as those about jobs are.
impl Document for Value {
    fn find(&self, path: &Path) -> Found<'_> {
        in_value(self, path.steps())
    }
}
