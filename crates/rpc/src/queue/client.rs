//! The calling side.

use std::hash::Hash;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, DeviceKey, HubName, LockToken};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{NewMessage, Settlement, Verdict};
use downlink_ports::{
    EnqueueError, Enqueued, LockedMessage, PeerError, PurgeOutcome, QueueApi, ReceiveCall,
    SettleError,
};
use downlink_proto::v1;
use downlink_proto::v1::queue_call::Call;
use downlink_proto::v1::queue_reply::Reply;
use downlink_proto::v1::queue_service_client::QueueServiceClient;
use downlink_runtime::Lifecycle;
use tonic::transport::Channel;

use super::QueueStream;
use crate::carrier::{Endpoint, MAX_FRAME_BYTES};
use crate::failure::unreadable;
use crate::mux::{CallStream, Item, MuxOptions};
use crate::nodes::{Peer, Repeat};
use crate::wire::{FromWire, ToWire, WireError, millis, read_all, token_to_wire};

const SERVICE: &str = QueueStream::SERVICE;

/// A queue service behind a carrier. Dropping it closes its connections.
pub struct GrpcQueueClient {
    peer: Peer<QueueStream>,
}

impl GrpcQueueClient {
    /// Begins to connect; calls wait for the first attempt.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(endpoint: &Endpoint, options: MuxOptions, lifecycle: &Lifecycle) -> Self {
        Self::over(Peer::one(endpoint, &options, lifecycle))
    }

    pub(crate) fn over(peer: Peer<QueueStream>) -> Self {
        Self { peer }
    }
}

fn client(channel: Channel) -> QueueServiceClient<Channel> {
    QueueServiceClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES)
}

impl Item for NewMessage {
    fn lane_key(&self) -> impl Hash + '_ {
        (&self.hub, &self.device)
    }
}

impl Item for ReceiveCall {
    fn lane_key(&self) -> impl Hash + '_ {
        self.device
    }
}

impl Item for Settlement {
    fn lane_key(&self) -> impl Hash + '_ {
        self.device
    }
}

impl Item for Event {
    fn lane_key(&self) -> impl Hash + '_ {
        self.device_key
    }
}

#[async_trait]
impl QueueApi for GrpcQueueClient {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, PeerError> {
        let make = |messages| Call::Enqueue(v1::EnqueueCall { messages });
        let read = |reply, _: &[usize]| match reply {
            Reply::Enqueue(reply) => read_all(reply.results).map_err(broken),
            _ => Err(unreadable(SERVICE)),
        };
        let answers = self
            .peer
            .call_with_each_item(messages, Repeat::Never, make, read)
            .await;
        // Messages beyond one frame go out in several calls: what was answered is not lost with
        // one that was not.
        let failure = answers.iter().find_map(|one| one.as_ref().err()).cloned();
        match failure {
            Some(error) if answers.iter().all(Result::is_err) => Err(error),
            _ => {
                let told = |one: Result<_, _>| one.unwrap_or(Err(EnqueueError::Unavailable));
                Ok(answers.into_iter().map(told).collect())
            }
        }
    }

    async fn receive(&self, calls: Vec<ReceiveCall>) -> Result<Vec<Vec<LockedMessage>>, PeerError> {
        let devices: Vec<DeviceKey> = calls.iter().map(|call| call.device).collect();
        let make = |requests| Call::Receive(v1::ReceiveCall { requests });
        let read = |reply, positions: &[usize]| match reply {
            Reply::Receive(reply) => read_held(reply, positions, &devices).map_err(broken),
            _ => Err(unreadable(SERVICE)),
        };
        self.peer
            .call_with_items(calls, Repeat::Never, make, read)
            .await
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(), SettleError>>, PeerError> {
        let make = |settlements| Call::Settle(v1::SettleCall { settlements });
        let read = |reply, positions: &[usize]| match reply {
            Reply::Settle(reply) => read_settled(&reply, positions.len()).map_err(broken),
            _ => Err(unreadable(SERVICE)),
        };
        self.peer
            .call_with_items(settlements, Repeat::Never, make, read)
            .await
    }

    async fn record_events(&self, events: Vec<Event>) -> Result<(), PeerError> {
        let make = |events| Call::RecordEvents(v1::RecordEventsCall { events });
        let read = |reply, positions: &[usize]| match reply {
            Reply::RecordEvents(_) => Ok(vec![(); positions.len()]),
            _ => Err(unreadable(SERVICE)),
        };
        self.peer
            .call_with_items(events, Repeat::Harmless, make, read)
            .await?;
        Ok(())
    }

    async fn purge(
        &self,
        hub: HubName,
        device: DeviceId,
        by: Actor,
    ) -> Result<PurgeOutcome, PeerError> {
        let request = v1::PurgeRequest {
            hub: hub.to_string(),
            device_id: device.to_string(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).purge(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&(&hub, &device), Repeat::Never, timeout, request, call)
            .await?;
        Ok(PurgeOutcome {
            removed: response.removed,
        })
    }

    async fn count(&self, devices: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError> {
        let expected = devices.len();
        let first = devices.first().copied();
        let request = v1::CountRequest {
            device_keys: devices.into_iter().map(|device| device.0).collect(),
        };
        let call = async |channel, request| client(channel).count(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&first, Repeat::Read, timeout, request, call)
            .await?;
        if response.counts.len() == expected {
            Ok(response.counts)
        } else {
            Err(unreadable(SERVICE))
        }
    }

    async fn receive_feedback(
        &self,
        hub: HubName,
        wait: Duration,
    ) -> Result<Option<FeedbackBatch>, PeerError> {
        let request = v1::ReceiveFeedbackRequest {
            hub: hub.to_string(),
            wait_millis: millis(wait),
        };
        let call = async |channel, request| client(channel).receive_feedback(request).await;
        let timeout = wait + self.peer.call_timeout();
        let response = self
            .peer
            .unary(&hub, Repeat::Never, timeout, request, call)
            .await?;
        let batch = response.batch.map(FeedbackBatch::from_wire).transpose();
        batch.map_err(broken)
    }

    async fn settle_feedback(
        &self,
        hub: HubName,
        token: LockToken,
        verdict: Verdict,
    ) -> Result<Result<(), SettleError>, PeerError> {
        let request = v1::SettleFeedbackRequest {
            hub: hub.to_string(),
            lock_token: token_to_wire(token),
            verdict: verdict.to_wire().into(),
        };
        let call = async |channel, request| client(channel).settle_feedback(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&hub, Repeat::Never, timeout, request, call)
            .await?;
        if response.is_lock_lost {
            Ok(Err(SettleError::LockLost))
        } else {
            Ok(Ok(()))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: WireError) -> PeerError {
    tracing::warn!(service = SERVICE, %error, "a reply breaks the contract");
    unreadable(SERVICE)
}

/// The messages by position of the part's requests.
fn read_held(
    reply: v1::ReceiveReply,
    positions: &[usize],
    devices: &[DeviceKey],
) -> Result<Vec<Vec<LockedMessage>>, WireError> {
    let mut held = vec![Vec::new(); positions.len()];
    for messages in reply.devices {
        let position = usize::try_from(messages.position).unwrap_or(usize::MAX);
        let (Some(asked), Some(to)) = (positions.get(position), held.get_mut(position)) else {
            return Err(WireError::OutOfRange("position"));
        };
        let device = devices[*asked];
        to.reserve(messages.messages.len());
        for message in messages.messages {
            to.push(LockedMessage::from_wire((device, message))?);
        }
    }
    Ok(held)
}

fn read_settled(
    reply: &v1::SettleReply,
    expected: usize,
) -> Result<Vec<Result<(), SettleError>>, WireError> {
    if usize::try_from(reply.count) != Ok(expected) {
        return Err(WireError::OutOfRange("count"));
    }
    let mut results = vec![Ok(()); expected];
    for position in &reply.lost_positions {
        let position = usize::try_from(*position).unwrap_or(usize::MAX);
        let result = results
            .get_mut(position)
            .ok_or(WireError::OutOfRange("lost_positions"))?;
        *result = Err(SettleError::LockLost);
    }
    Ok(results)
}
