//! Messages to devices: send, purge, count (c2d.md §2, §3.1, §7).

use std::sync::Arc;

use downlink_domain::access::{Access, Action};
use downlink_domain::id::{DeviceId, HubName};
use downlink_domain::limits::HubOperation;
use downlink_domain::message::{AckMode, NewMessage, Properties};
use downlink_domain::{ErrorCode, Timestamp};
use downlink_ports::PeerError;
use downlink_proto::api::v1;
use downlink_proto::api::v1::cloud_to_device_server::CloudToDevice;
use tonic::{Request, Response, Status, Streaming};

use super::answers::AnswerStream;
use super::call::Call;
use super::{Api, send_stream, status};
use crate::audit::Origin;
use crate::authenticate::Principal;
use crate::https::error::ApiError;
use crate::https::facts;
use crate::shared::Shared;

/// Most messages of one request.
pub(super) const MAX_MESSAGES: usize = 500;

/// Where messages are sent to, as over AMQP.
const DEVICEBOUND: [&str; 2] = ["messages", "devicebound"];

#[tonic::async_trait]
impl CloudToDevice for Api {
    type SendStreamStream = AnswerStream<v1::SendStreamResponse>;

    async fn send(
        &self,
        request: Request<v1::SendRequest>,
    ) -> Result<Response<v1::SendResponse>, Status> {
        let (call, request) = Call::open(request)?;
        call.authorize_any(&self.shared, Action::SendMessage, &DEVICEBOUND)?;
        let message = read(request.message, &self.shared.options.hub);
        let mut sent = enqueue(
            &self.shared,
            (call.origin(), &call.principal),
            vec![message],
        )
        .await?;
        match sent.pop().flatten() {
            None => Ok(Response::new(v1::SendResponse {})),
            Some(error) => Err(error.into()),
        }
    }

    async fn send_batch(
        &self,
        request: Request<v1::SendBatchRequest>,
    ) -> Result<Response<v1::SendBatchResponse>, Status> {
        let (call, request) = Call::open(request)?;
        call.authorize_any(&self.shared, Action::SendMessage, &DEVICEBOUND)?;
        check_count(request.messages.len())?;
        let hub = &self.shared.options.hub;
        let messages = request.messages.into_iter();
        let messages = messages.map(|message| read(Some(message), hub)).collect();
        let sent = enqueue(&self.shared, (call.origin(), &call.principal), messages).await?;
        let result = |error: Option<ApiError>| v1::SendResult {
            failure: error.as_ref().map(status::failure),
        };
        Ok(Response::new(v1::SendBatchResponse {
            results: sent.into_iter().map(result).collect(),
        }))
    }

    async fn send_stream(
        &self,
        request: Request<Streaming<v1::SendStreamRequest>>,
    ) -> Result<Response<Self::SendStreamStream>, Status> {
        let (call, requests) = Call::open(request)?;
        call.authorize_any(&self.shared, Action::SendMessage, &DEVICEBOUND)?;
        let answers = send_stream::start(Arc::clone(&self.shared), call, requests);
        Ok(Response::new(answers))
    }

    async fn purge(
        &self,
        request: Request<v1::PurgeRequest>,
    ) -> Result<Response<v1::PurgeResponse>, Status> {
        let (call, request) = Call::open(request)?;
        let device = self.check_queue(&call, &request.device_id).await?;
        let hub = self.shared.options.hub.clone();
        let queue = &self.shared.peers.queue;
        let purged = queue.purge(hub, device, call.actor()).await;
        let removed = purged.map_err(ApiError::from)?.removed;
        Ok(Response::new(v1::PurgeResponse { removed }))
    }

    async fn count(
        &self,
        request: Request<v1::CountRequest>,
    ) -> Result<Response<v1::CountResponse>, Status> {
        let (call, request) = Call::open(request)?;
        self.check_queue(&call, &request.device_id).await?;
        let device = super::registry::find(&self.shared, &request.device_id).await?;
        let facts = facts::ask_one(&self.shared.peers, &device).await?;
        Ok(Response::new(v1::CountResponse {
            waiting: facts.waiting_messages,
        }))
    }
}

impl Api {
    /// Checks the right to empty the queue of a device, and to count what waits in it.
    async fn check_queue(&self, call: &Call, device: &str) -> Result<DeviceId, ApiError> {
        let path = ["devices", device, "commands"];
        call.authorize_any(&self.shared, Action::PurgeQueue, &path)?;
        let id = device_id(device)?;
        let access = Access::to_device(Action::PurgeQueue, &id);
        call.authorize(&self.shared, &access, &path).await?;
        Ok(id)
    }
}

pub(super) fn device_id(text: &str) -> Result<DeviceId, ApiError> {
    text.parse().map_err(|error| ApiError::invalid(&error))
}

pub(super) fn check_count(count: usize) -> Result<(), ApiError> {
    if count > MAX_MESSAGES {
        let text = format!("{count} messages in one request are more than {MAX_MESSAGES}");
        return Err(ApiError::invalid(&text));
    }
    Ok(())
}

/// Reads a message; what the queue checks is left to it.
pub(super) fn read(
    message: Option<v1::OutgoingMessage>,
    hub: &HubName,
) -> Result<NewMessage, ApiError> {
    let message =
        message.ok_or_else(|| ApiError::new(ErrorCode::ArgumentNull, "there is no message"))?;
    let device = device_id(&message.device_id)?;
    let ack = match v1::AckMode::try_from(message.ack) {
        Ok(v1::AckMode::Unspecified | v1::AckMode::None) => AckMode::None,
        Ok(v1::AckMode::Positive) => AckMode::Positive,
        Ok(v1::AckMode::Negative) => AckMode::Negative,
        Ok(v1::AckMode::Full) => AckMode::Full,
        Err(_) => return Err(ApiError::invalid(&"the ack mode is unknown")),
    };
    let properties = message.properties.into_iter();
    Ok(NewMessage {
        hub: hub.clone(),
        ack,
        expiry: message.expires_at.map(Timestamp::from_millis),
        body: message.body,
        properties: Properties {
            message_id: message.message_id,
            correlation_id: message.correlation_id,
            // As the SDKs address it; devices see it.
            to: Some(format!("/devices/{device}/messages/devicebound")),
            user_id: message.user_id,
            content_type: message.content_type,
            content_encoding: message.content_encoding,
            // The queue tells, once it has accepted the message.
            expiry: None,
            application: properties
                .map(|property| (property.name, property.value))
                .collect(),
        },
        device,
    })
}

/// Refuses what goes to devices that `sender` may not send to.
async fn refuse_denied(
    shared: &Shared,
    (origin, sender): (Origin, &Principal),
    messages: &mut [Result<NewMessage, ApiError>],
) {
    let devices = messages.iter().flatten();
    let devices = devices.map(|message| message.device.clone()).collect();
    let senders = std::slice::from_ref(sender);
    let authenticator = &shared.authenticator;
    let denied = authenticator.denied_devices(senders, devices, &DEVICEBOUND);
    let denied = denied.await;
    for (device, denied) in &denied {
        let path = ["devices", device.as_str()];
        let audit = &shared.audit;
        audit.denied(origin, sender, Action::SendMessage, &path, denied);
    }
    for message in messages {
        let device = message.as_ref().ok().map(|message| &message.device);
        if let Some(denied) = device.and_then(|device| denied.get(device)) {
            *message = Err(denied.clone().into());
        }
    }
}

/// Offers to the queue what could be read and `sender` may send, in order. By position: why it was not accepted.
pub(super) async fn enqueue(
    shared: &Shared,
    (origin, sender): (Origin, &Principal),
    mut messages: Vec<Result<NewMessage, ApiError>>,
) -> Result<Vec<Option<ApiError>>, ApiError> {
    // Otherwise the right to send at all, which the call has shown, is one to all of them.
    if sender.is_limited_to_devices() {
        refuse_denied(shared, (origin, sender), &mut messages).await;
    }
    let mut offered = Vec::with_capacity(messages.len());
    let mut errors: Vec<Option<ApiError>> = Vec::with_capacity(messages.len());
    let mut places = Vec::with_capacity(messages.len());
    for (place, message) in messages.into_iter().enumerate() {
        match message {
            Ok(message) => {
                offered.push(message);
                places.push(place);
                errors.push(None);
            }
            Err(error) => errors.push(Some(error)),
        }
    }
    if !offered.is_empty() {
        let cost = u32::try_from(offered.len()).unwrap_or(u32::MAX);
        shared.limits.admit(HubOperation::C2dSend, cost).await?;
        let outcomes = shared.peers.queue.enqueue(offered).await?;
        if outcomes.len() != places.len() {
            return Err(PeerError::Unavailable { service: "queue" }.into());
        }
        for (place, outcome) in places.into_iter().zip(outcomes) {
            let error = outcome.err();
            errors[place] = error.map(|error| ApiError::new(error.code(), error.to_string()));
        }
    }
    for error in &errors {
        match error {
            None => shared.metrics.messages_accepted.increment(),
            Some(_) => shared.metrics.messages_refused.increment(),
        }
    }
    Ok(errors)
}
