//! Twins: read, patch, replace (twins.md §1–§4).

use downlink_domain::access::{Access, Action};
use downlink_domain::device::{DeviceStatus, IfMatch};
use downlink_domain::twin::{Object, Section, TwinChange, parse_json};
use downlink_ports::TwinView;
use downlink_proto::api::v1;
use downlink_proto::api::v1::twins_server::Twins;
use serde_json::Value;
use tonic::{Request, Response, Status};

use super::answers::AnswerStream;
use super::call::Call;
use super::commands::device_id;
use super::{Api, watch};
use crate::https::error::ApiError;
use crate::watching::Watcher;

#[tonic::async_trait]
impl Twins for Api {
    type WatchStream = AnswerStream<v1::WatchTwinResponse>;

    async fn get(
        &self,
        request: Request<v1::GetTwinRequest>,
    ) -> Result<Response<v1::GetTwinResponse>, Status> {
        let (call, request) = Call::open(request)?;
        self.check_twin(&call, Action::TwinsRead, &request.device_id)
            .await?;
        let view = self.find_twin(&request.device_id).await?;
        let twin = Some(to_wire(&view));
        Ok(Response::new(v1::GetTwinResponse { twin }))
    }

    async fn patch(
        &self,
        request: Request<v1::PatchTwinRequest>,
    ) -> Result<Response<v1::PatchTwinResponse>, Status> {
        let (call, request) = Call::open(request)?;
        self.check_twin(&call, Action::TwinsWrite, &request.device_id)
            .await?;
        let change = TwinChange::Patch {
            tags: read_section("tags_json", request.tags_json)?,
            desired: read_section("desired_json", request.desired_json)?,
            if_match: if_match(request.etag),
        };
        let twin = Some(self.write(&request.device_id, change).await?);
        Ok(Response::new(v1::PatchTwinResponse { twin }))
    }

    async fn replace(
        &self,
        request: Request<v1::ReplaceTwinRequest>,
    ) -> Result<Response<v1::ReplaceTwinResponse>, Status> {
        let (call, request) = Call::open(request)?;
        self.check_twin(&call, Action::TwinsWrite, &request.device_id)
            .await?;
        // A part that is left out is wiped (twins.md §4.3).
        let change = TwinChange::Replace {
            tags: read_section("tags_json", request.tags_json)?.unwrap_or_default(),
            desired: read_section("desired_json", request.desired_json)?.unwrap_or_default(),
            if_match: if_match(request.etag),
        };
        let twin = Some(self.write(&request.device_id, change).await?);
        Ok(Response::new(v1::ReplaceTwinResponse { twin }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchTwinRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (call, request) = Call::open(request)?;
        self.check_twin(&call, Action::TwinsRead, &request.device_id)
            .await?;
        let place = self.shared.watches.enter()?;
        let view = self.find_twin(&request.device_id).await?;
        let watcher = Watcher::new(&self.shared, call.principal.clone(), view, place);
        let watching = watch::start(&self.shared, call, watcher);
        Ok(Response::new(watching))
    }
}

impl Api {
    async fn check_twin(&self, call: &Call, action: Action, device: &str) -> Result<(), ApiError> {
        let path = ["twins", device];
        call.authorize_any(&self.shared, action, &path)?;
        let id = device_id(device)?;
        let access = Access::to_device(action, &id);
        call.authorize(&self.shared, &access, &path).await
    }

    async fn find_twin(&self, device: &str) -> Result<TwinView, ApiError> {
        let hub = self.shared.options.hub.clone();
        let device = device_id(device)?;
        Ok(self.shared.peers.twins.get_twin(hub, device.into()).await?)
    }

    async fn write(&self, device: &str, change: TwinChange) -> Result<v1::Twin, ApiError> {
        let hub = self.shared.options.hub.clone();
        let name = device_id(device)?.into();
        let twins = &self.shared.peers.twins;
        Ok(to_wire(&twins.update_twin(hub, name, change).await?))
    }
}

/// The condition of a write; a caller that names none wants none.
pub(super) fn if_match(etag: Option<String>) -> IfMatch {
    match etag {
        None => IfMatch::Any,
        Some(etag) if etag == "*" => IfMatch::Any,
        Some(etag) => IfMatch::Etag(etag),
    }
}

fn read_section(name: &str, text: Option<String>) -> Result<Option<Object>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    match parse_json(text.as_bytes())? {
        Value::Object(object) => Ok(Some(object)),
        _ => Err(ApiError::invalid(&format_args!(
            "{name} must be a JSON object"
        ))),
    }
}

pub(super) fn status_to_wire(status: DeviceStatus) -> v1::DeviceStatus {
    match status {
        DeviceStatus::Enabled => v1::DeviceStatus::Enabled,
        DeviceStatus::Disabled => v1::DeviceStatus::Disabled,
    }
}

pub(super) fn to_wire(view: &TwinView) -> v1::Twin {
    let (device, twin) = (&view.device, &view.twin);
    v1::Twin {
        device_id: device.name.device.to_string(),
        etag: twin.etag_text(),
        version: twin.version,
        status: status_to_wire(device.status).into(),
        tags_json: text_of(&twin.tags),
        desired: Some(section(&twin.desired)),
        reported: Some(section(&twin.reported)),
    }
}

fn section(section: &Section) -> v1::TwinSection {
    v1::TwinSection {
        values_json: text_of(&section.values),
        metadata_json: text_of(&section.metadata),
        version: section.version,
    }
}

fn text_of(object: &Object) -> String {
    serde_json::to_string(object).expect("JSON values have a text")
}
