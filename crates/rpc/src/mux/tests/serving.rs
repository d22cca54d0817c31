//! The serving side, driven frame by frame.

use downlink_domain::ErrorCode;
use downlink_domain::id::DeviceKey;
use downlink_ports::PeerError;
use downlink_proto::v1;
use downlink_proto::v1::gateway_call::Call;
use downlink_proto::v1::gateway_reply::Reply;
use downlink_proto::v1::gateway_service_client::GatewayServiceClient;
use futures::SinkExt;
use futures::channel::mpsc;
use tonic::Streaming;

use crate::failure::from_failure;
use crate::testing::{Asked, PATIENCE, Staging};

struct Peer {
    calls: mpsc::Sender<v1::GatewayCalls>,
    replies: Streaming<v1::GatewayReplies>,
}

impl Peer {
    async fn of(staging: &Staging) -> Self {
        let (calls, outbound) = mpsc::channel(16);
        let mut client = GatewayServiceClient::new(staging.endpoint.connect_lazy());
        let replies = client.calls(outbound).await.unwrap().into_inner();
        Self { calls, replies }
    }

    async fn send(&mut self, calls: Vec<v1::GatewayCall>, cancelled_call_ids: Vec<u64>) {
        let batch = v1::GatewayCalls {
            calls,
            cancelled_call_ids,
        };
        self.calls.send(batch).await.unwrap();
    }

    async fn next(&mut self) -> Vec<v1::GatewayReply> {
        let replies = tokio::time::timeout(PATIENCE, self.replies.message()).await;
        replies.expect("replies come").unwrap().unwrap().replies
    }

    async fn next_failure(&mut self) -> (u64, PeerError) {
        let mut replies = self.next().await;
        assert_eq!(replies.len(), 1);
        let reply = replies.remove(0);
        match reply.reply {
            Some(Reply::Failure(failure)) => (reply.call_id, from_failure("gateway", failure)),
            other => panic!("not a failure: {other:?}"),
        }
    }
}

fn wake(call_id: u64, timeout_millis: u32) -> v1::GatewayCall {
    v1::GatewayCall {
        call_id,
        timeout_millis,
        call: Some(Call::Wake(v1::WakeCall {
            device_keys: vec![i64::try_from(call_id).unwrap()],
        })),
    }
}

#[tokio::test]
async fn calls_of_a_batch_begin_in_its_order_and_end_in_any() {
    let mut staging = Staging::new();
    let mut peer = Peer::of(&staging).await;
    let count = 500;
    let calls = (0..count).map(|id| wake(id, 10_000)).collect();
    peer.send(calls, Vec::new()).await;
    let mut begun = Vec::new();
    for id in 0..count {
        let staged = staging.stage.next().await;
        let device = DeviceKey(i64::try_from(id).unwrap());
        assert_eq!(staged.asked, Asked::Wake(vec![device]));
        begun.push(staged);
    }
    let last = begun.pop().unwrap();
    last.succeed();
    assert_eq!(peer.next().await[0].call_id, count - 1);
    begun.remove(0).succeed();
    assert_eq!(peer.next().await[0].call_id, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_time_is_up_is_dropped_and_answered() {
    let mut staging = Staging::new();
    let mut peer = Peer::of(&staging).await;
    peer.send(vec![wake(1, 250)], Vec::new()).await;
    let mut staged = staging.stage.next().await;
    let late = PeerError::DeadlineExceeded { service: "gateway" };
    assert_eq!(peer.next_failure().await, (1, late));
    staged.answer.closed().await;
}

#[tokio::test]
async fn a_cancelled_call_is_dropped_without_a_reply_and_the_others_go_on() {
    let mut staging = Staging::new();
    let mut peer = Peer::of(&staging).await;
    peer.send(vec![wake(1, 10_000), wake(2, 10_000)], Vec::new())
        .await;
    let mut first = staging.stage.next().await;
    let second = staging.stage.next().await;
    peer.send(Vec::new(), vec![1, 77]).await;
    first.answer.closed().await;
    second.succeed();
    let replies = peer.next().await;
    let ids: Vec<_> = replies.iter().map(|reply| reply.call_id).collect();
    assert_eq!(ids, [2]);
}

#[tokio::test]
async fn a_call_that_breaks_the_contract_is_refused_alone() {
    let mut staging = Staging::new();
    let mut peer = Peer::of(&staging).await;
    let unknown = v1::GatewayCall {
        call_id: 1,
        timeout_millis: 10_000,
        call: None,
    };
    peer.send(vec![unknown], Vec::new()).await;
    let (call_id, error) = peer.next_failure().await;
    assert_eq!((call_id, error.code()), (1, ErrorCode::ArgumentInvalid));
    peer.send(vec![wake(2, 10_000)], Vec::new()).await;
    staging.stage.next().await.succeed();
    assert_eq!(peer.next().await[0].call_id, 2);
}

#[tokio::test]
async fn calls_of_a_peer_that_goes_away_are_dropped() {
    let mut staging = Staging::new();
    let mut peer = Peer::of(&staging).await;
    peer.send(vec![wake(1, 60_000)], Vec::new()).await;
    let mut staged = staging.stage.next().await;
    drop(peer);
    let closed = tokio::time::timeout(PATIENCE, staged.answer.closed()).await;
    assert!(closed.is_ok());
}

#[tokio::test]
async fn a_peer_that_has_said_all_still_gets_its_replies() {
    let mut staging = Staging::new();
    let mut peer = Peer::of(&staging).await;
    peer.send(vec![wake(1, 60_000)], Vec::new()).await;
    let staged = staging.stage.next().await;
    peer.calls.close_channel();
    staged.succeed();
    assert_eq!(peer.next().await[0].call_id, 1);
    let end = tokio::time::timeout(PATIENCE, peer.replies.message()).await;
    assert_eq!(end.expect("the stream ends").unwrap(), None);
}

#[tokio::test]
async fn a_frame_above_the_limit_ends_the_stream_and_not_the_server() {
    let mut staging = Staging::new();
    let mut peer = Peer::of(&staging).await;
    let mut large = wake(1, 10_000);
    large.call = Some(Call::Notify(v1::NotifyCall {
        changes: vec![v1::DesiredChange {
            body: vec![0; crate::MAX_FRAME_BYTES].into(),
            ..v1::DesiredChange::default()
        }],
    }));
    peer.send(vec![large], Vec::new()).await;
    let end = tokio::time::timeout(PATIENCE, peer.replies.message()).await;
    assert!(!matches!(end.expect("the stream ends"), Ok(Some(_))));
    let mut other = Peer::of(&staging).await;
    other.send(vec![wake(2, 10_000)], Vec::new()).await;
    staging.stage.next().await.succeed();
    assert_eq!(other.next().await[0].call_id, 2);
}
