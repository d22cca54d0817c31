//! Direct methods (methods.md §1, §2).

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::access::{Access, Action};
use downlink_domain::caps;
use downlink_domain::method::{MethodError, MethodName, MethodTimeouts};
use downlink_proto::api::v1;
use downlink_proto::api::v1::methods_server::Methods;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::Api;
use super::call::Call;
use super::commands::device_id;
use crate::https::error::ApiError;
use crate::https::methods::{Asked, call, payload_of};

#[tonic::async_trait]
impl Methods for Api {
    async fn invoke(
        &self,
        request: Request<v1::InvokeRequest>,
    ) -> Result<Response<v1::InvokeResponse>, Status> {
        let (caller, request) = Call::open(request)?;
        let path = ["twins", request.device_id.as_str(), "methods"];
        caller.authorize_any(&self.shared, Action::InvokeMethod, &path)?;
        let device = device_id(&request.device_id)?;
        let name: MethodName = request.method_name.parse().map_err(ApiError::from)?;
        let access = Access {
            method: Some(&name),
            ..Access::to_device(Action::InvokeMethod, &device)
        };
        caller.authorize(&self.shared, &access, &path).await?;
        let asked = read(request, name, caller.deadline)?;
        let answer = call(&self.shared, device.into(), asked).await?;
        let payload = payload_of(&answer).map_err(ApiError::from)?;
        Ok(Response::new(v1::InvokeResponse {
            status: answer.status,
            payload_json: payload.map(|payload| payload.get().to_owned()),
        }))
    }
}

fn read(
    request: v1::InvokeRequest,
    name: MethodName,
    deadline: Option<Instant>,
) -> Result<Asked, ApiError> {
    let payload = request.payload_json.unwrap_or_default();
    if !payload.is_empty() {
        serde_json::from_str::<&RawValue>(&payload).map_err(|_| ApiError::unreadable())?;
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    let response = request.response_timeout_seconds.map(seconds);
    let response = response.unwrap_or(caps::DEFAULT_RESPONSE_TIMEOUT);
    let connect = request.connect_timeout_seconds.map(seconds);
    let connect = connect.unwrap_or(Duration::ZERO);
    let timeouts = MethodTimeouts::new(connect, response)?;
    Ok(Asked {
        name,
        payload: Bytes::from(payload),
        timeouts: cut(timeouts, deadline)?,
    })
}

/// Lets no hop wait longer than the caller does.
fn cut(timeouts: MethodTimeouts, deadline: Option<Instant>) -> Result<MethodTimeouts, MethodError> {
    let Some(deadline) = deadline else {
        return Ok(timeouts);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let response = timeouts.response().min(left);
    let response = response.max(*caps::RESPONSE_TIMEOUT.start());
    MethodTimeouts::new(timeouts.connect().min(response), response)
}
