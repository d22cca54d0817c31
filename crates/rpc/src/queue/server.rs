//! The serving side.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::event::Event;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::message::{NewMessage, Verdict};
use downlink_ports::{LockedMessage, PeerError, QueueApi, SettleError};
use downlink_proto::v1;
use downlink_proto::v1::queue_call::Call;
use downlink_proto::v1::queue_reply::Reply;
use downlink_proto::v1::queue_service_server::QueueService;
use tonic::{Request, Response, Status, Streaming};

use super::QueueStream;
use crate::failure::{refuse, to_status};
use crate::mux::{Dispatch, MAX_CALL_ITEMS, Session};
use crate::serving::Serving;
use crate::wire::common::actor;
use crate::wire::{FromWire, ToWire, WireError, read_all, token_from_wire};

/// Longest wait for feedback that a caller may ask for.
const MAX_FEEDBACK_WAIT: Duration = Duration::from_mins(10);

/// Serves a queue.
pub(crate) struct QueueServer {
    calls: Arc<Calls>,
    serving: Serving,
}

pub(crate) struct Calls {
    api: Arc<dyn QueueApi>,
}

impl QueueServer {
    pub(crate) fn new(api: Arc<dyn QueueApi>, serving: &Serving) -> Self {
        Self {
            calls: Arc::new(Calls { api }),
            serving: serving.clone(),
        }
    }
}

impl Dispatch<QueueStream> for Calls {
    fn dispatch(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<Reply, PeerError>> + Send + 'static {
        let api = Arc::clone(&self.api);
        async move {
            match call {
                Call::Enqueue(call) => enqueue(&*api, call).await,
                Call::Receive(call) => receive(&*api, call).await,
                Call::Settle(call) => settle(&*api, call).await,
                Call::RecordEvents(call) => {
                    api.record_events(Vec::<Event>::from_wire(call)?).await?;
                    Ok(Reply::RecordEvents(v1::RecordEventsReply {}))
                }
            }
        }
    }
}

async fn enqueue(api: &dyn QueueApi, call: v1::EnqueueCall) -> Result<Reply, PeerError> {
    let results = api.enqueue(Vec::<NewMessage>::from_wire(call)?).await?;
    let results = results.into_iter().map(ToWire::to_wire).collect();
    Ok(Reply::Enqueue(v1::EnqueueReply { results }))
}

async fn receive(api: &dyn QueueApi, call: v1::ReceiveCall) -> Result<Reply, PeerError> {
    let held = api.receive(read_all(call.requests)?).await?;
    let devices = held
        .into_iter()
        .zip(0..)
        .filter(|(messages, _)| !messages.is_empty())
        .map(|(messages, position)| v1::DeviceMessages {
            position,
            messages: messages.into_iter().map(LockedMessage::to_wire).collect(),
        })
        .collect();
    Ok(Reply::Receive(v1::ReceiveReply { devices }))
}

async fn settle(api: &dyn QueueApi, call: v1::SettleCall) -> Result<Reply, PeerError> {
    let results = api.settle(read_all(call.settlements)?).await?;
    let count = u32::try_from(results.len()).unwrap_or(u32::MAX);
    let lost_positions = results
        .into_iter()
        .zip(0..)
        .filter_map(|(result, position)| match result {
            Ok(()) => None,
            Err(SettleError::LockLost) => Some(position),
        })
        .collect();
    Ok(Reply::Settle(v1::SettleReply {
        lost_positions,
        count,
    }))
}

#[tonic::async_trait]
impl QueueService for QueueServer {
    type CallsStream = Session<QueueStream, Calls>;

    async fn calls(
        &self,
        request: Request<Streaming<v1::QueueCalls>>,
    ) -> Result<Response<Self::CallsStream>, Status> {
        self.serving.admit_stream()?;
        let session = Session::new(&self.calls, request.into_inner(), &self.serving);
        Ok(Response::new(session))
    }

    async fn purge(
        &self,
        request: Request<v1::PurgeRequest>,
    ) -> Result<Response<v1::PurgeResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let device = request.device_id.parse().map_err(refuse)?;
        let by = actor(request.by).map_err(refuse)?;
        let purged = self.calls.api.purge(hub, device, by).await;
        let removed = purged.map_err(to_status)?.removed;
        Ok(Response::new(v1::PurgeResponse { removed }))
    }

    async fn count(
        &self,
        request: Request<v1::CountRequest>,
    ) -> Result<Response<v1::CountResponse>, Status> {
        let keys = request.into_inner().device_keys;
        if keys.len() > MAX_CALL_ITEMS {
            return Err(refuse(WireError::OutOfRange("number of items")));
        }
        let devices = keys.into_iter().map(DeviceKey).collect();
        let counts = self.calls.api.count(devices).await.map_err(to_status)?;
        Ok(Response::new(v1::CountResponse { counts }))
    }

    async fn receive_feedback(
        &self,
        request: Request<v1::ReceiveFeedbackRequest>,
    ) -> Result<Response<v1::ReceiveFeedbackResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let wait = Duration::from_millis(request.wait_millis.into()).min(MAX_FEEDBACK_WAIT);
        let batch = self.calls.api.receive_feedback(hub, wait).await;
        let batch = batch.map_err(to_status)?.map(ToWire::to_wire);
        Ok(Response::new(v1::ReceiveFeedbackResponse { batch }))
    }

    async fn settle_feedback(
        &self,
        request: Request<v1::SettleFeedbackRequest>,
    ) -> Result<Response<v1::SettleFeedbackResponse>, Status> {
        let request = request.into_inner();
        let verdict = Verdict::from_wire(request.verdict()).map_err(refuse)?;
        let token = token_from_wire(&request.lock_token).map_err(refuse)?;
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let settled = self.calls.api.settle_feedback(hub, token, verdict).await;
        let is_lock_lost = match settled.map_err(to_status)? {
            Ok(()) => false,
            Err(SettleError::LockLost) => true,
        };
        Ok(Response::new(v1::SettleFeedbackResponse { is_lock_lost }))
    }
}
