//! One lane without a stream under it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_ports::PeerError;
use downlink_proto::v1;
use downlink_proto::v1::gateway_call::Call;
use downlink_proto::v1::gateway_reply::Reply;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;

use crate::gateway::GatewayStream;
use crate::mux::{
    Lane, Lost, MAX_BATCH_BYTES, MAX_CALL_BYTES, MuxOptions, NO_CALL, Outbound, Standing, Ticket,
};

type TestLane = Arc<Lane<GatewayStream>>;

#[track_caller]
fn assert_not_sent<T>(outcome: Result<T, Lost<Call>>, expected: &Call) {
    match outcome.err().expect("a call that was lost") {
        Lost::NotSent(call) => assert_eq!(&*call, expected),
        lost => panic!("not given back: {lost:?}"),
    }
}

#[track_caller]
fn assert_unknown<T>(outcome: Result<T, Lost<Call>>) {
    let lost = outcome.err().expect("a call that was lost");
    assert!(matches!(lost, Lost::Unknown), "{lost:?}");
}

#[track_caller]
fn assert_failed<T>(outcome: Result<T, Lost<Call>>, expected: &PeerError) {
    match outcome.err().expect("a call that was lost") {
        Lost::Failed(error) => assert_eq!(error, *expected),
        lost => panic!("not an answer: {lost:?}"),
    }
}

fn lane(max_calls: usize, max_waiting_bytes: usize) -> TestLane {
    let options = MuxOptions {
        max_calls,
        max_waiting_bytes,
        ..MuxOptions::default()
    };
    Lane::new(&options, Standing::Ready)
}

fn roomy() -> TestLane {
    lane(100, 64 * 1024 * 1024)
}

/// What is written to a new stream that the server has answered.
fn opened(lane: &TestLane) -> Outbound<GatewayStream> {
    let outbound = lane.begin_stream();
    lane.on_open();
    outbound
}

fn wake(device: i64) -> Call {
    Call::Wake(v1::WakeCall {
        device_keys: vec![device],
    })
}

fn notify(bytes: usize) -> Call {
    Call::Notify(v1::NotifyCall {
        changes: vec![v1::DesiredChange {
            body: Bytes::from(vec![b'x'; bytes]),
            ..v1::DesiredChange::default()
        }],
    })
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[track_caller]
fn add(lane: &TestLane, call: Call) -> Ticket<GatewayStream> {
    lane.add(call, soon()).expect("there is room")
}

/// The next batch, if one is ready.
fn batch(outbound: &mut Outbound<GatewayStream>) -> Option<v1::GatewayCalls> {
    outbound.next().now_or_never()?
}

fn reply(call_id: u64) -> v1::GatewayReplies {
    v1::GatewayReplies {
        replies: vec![v1::GatewayReply {
            call_id,
            has_more: false,
            reply: Some(Reply::Wake(v1::WakeReply {})),
        }],
    }
}

#[tokio::test]
async fn what_waits_goes_out_as_one_batch_in_the_order_it_was_added() {
    let lane = roomy();
    let mut outbound = opened(&lane);
    assert!(batch(&mut outbound).is_none());
    let _tickets: Vec<_> = (0..5).map(|device| add(&lane, wake(device))).collect();
    let calls = batch(&mut outbound).unwrap().calls;
    let bodies: Vec<_> = calls
        .iter()
        .map(|call| call.call.clone().unwrap())
        .collect();
    assert_eq!(bodies, (0..5).map(wake).collect::<Vec<_>>());
    assert!(calls.is_sorted_by_key(|call| call.call_id));
    assert!(batch(&mut outbound).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_call_carries_what_is_left_of_its_time_when_it_is_written() {
    let lane = roomy();
    let mut outbound = opened(&lane);
    let _ticket = add(&lane, wake(1));
    tokio::time::advance(Duration::from_secs(4)).await;
    let calls = batch(&mut outbound).unwrap().calls;
    assert_eq!(calls[0].timeout_millis, 6000);
}

#[tokio::test]
async fn a_batch_closes_at_its_bytes() {
    let lane = roomy();
    let mut outbound = opened(&lane);
    let size = MAX_BATCH_BYTES / 2 - 100;
    let _tickets: Vec<_> = (0..5).map(|_| add(&lane, notify(size))).collect();
    let _large = add(&lane, notify(3 * MAX_BATCH_BYTES));
    let sizes: Vec<_> = std::iter::from_fn(|| batch(&mut outbound))
        .map(|batch| batch.calls.len())
        .collect();
    assert_eq!(sizes, [2, 2, 1, 1]);
}

#[tokio::test]
async fn a_call_above_the_frame_limit_is_refused() {
    let refused = roomy().add(notify(MAX_CALL_BYTES), soon()).err().unwrap();
    assert_eq!(
        refused.to_error("gateway").code(),
        ErrorCode::MessageTooLarge
    );
}

#[tokio::test]
async fn calls_beyond_the_bound_are_refused_until_one_is_answered() {
    let lane = lane(2, 1024);
    let mut outbound = opened(&lane);
    let first = add(&lane, wake(1));
    let _second = add(&lane, wake(2));
    let first_id = batch(&mut outbound).unwrap().calls[0].call_id;
    let overloaded = PeerError::Overloaded { service: "gateway" };
    assert_failed(lane.add(wake(3), soon()), &overloaded);
    lane.on_replies(reply(first_id));
    assert!(first.reply().await.is_ok());
    let _third = add(&lane, wake(3));
}

#[tokio::test]
async fn waiting_bytes_beyond_the_bound_are_refused_until_they_are_written() {
    let lane = lane(100, 10_000);
    let mut outbound = opened(&lane);
    let _first = add(&lane, notify(6000));
    let overloaded = PeerError::Overloaded { service: "gateway" };
    assert_failed(lane.add(notify(6000), soon()), &overloaded);
    assert!(batch(&mut outbound).is_some());
    let _second = add(&lane, notify(6000));
}

#[tokio::test]
async fn a_call_dropped_before_it_was_written_never_is_and_gives_its_room_back() {
    let lane = lane(100, 10_000);
    let mut outbound = opened(&lane);
    let first = add(&lane, notify(6000));
    let _second = add(&lane, wake(2));
    drop(first);
    let _third = add(&lane, notify(6000));
    let batch = batch(&mut outbound).unwrap();
    assert_eq!(batch.cancelled_call_ids, [0; 0]);
    let bodies: Vec<_> = batch
        .calls
        .into_iter()
        .map(|call| call.call.unwrap())
        .collect();
    assert_eq!(bodies, [wake(2), notify(6000)]);
}

#[tokio::test]
async fn a_call_dropped_after_it_was_written_is_cancelled_and_its_late_reply_goes_nowhere() {
    let lane = roomy();
    let mut outbound = opened(&lane);
    let dropped = add(&lane, wake(1));
    let kept = add(&lane, wake(2));
    let ids: Vec<_> = batch(&mut outbound)
        .unwrap()
        .calls
        .iter()
        .map(|c| c.call_id)
        .collect();
    drop(dropped);
    let next = batch(&mut outbound).unwrap();
    assert_eq!(
        (next.calls.len(), next.cancelled_call_ids),
        (0, vec![ids[0]])
    );
    lane.on_replies(reply(ids[0]));
    let mut kept = Box::pin(kept.reply());
    assert!(kept.as_mut().now_or_never().is_none());
    lane.on_replies(reply(ids[1]));
    assert!(kept.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_reply_ends_at_its_deadline_and_is_cancelled() {
    let lane = roomy();
    let mut outbound = opened(&lane);
    let ticket = add(&lane, wake(1));
    let id = batch(&mut outbound).unwrap().calls[0].call_id;
    let deadline = PeerError::DeadlineExceeded { service: "gateway" };
    assert_failed(ticket.reply().await, &deadline);
    assert_eq!(batch(&mut outbound).unwrap().cancelled_call_ids, [id]);
}

#[tokio::test]
async fn a_break_fails_what_was_written_and_keeps_what_was_not() {
    let lane = roomy();
    let mut broken = opened(&lane);
    let written = add(&lane, wake(1));
    assert!(batch(&mut broken).is_some());
    let unwritten = add(&lane, wake(2));
    lane.on_break();
    assert_unknown(written.reply().await);
    assert_eq!(broken.next().await, None);

    let mut outbound = opened(&lane);
    let id = batch(&mut outbound).unwrap().calls[0].call_id;
    lane.on_replies(reply(id));
    assert!(unwritten.reply().await.is_ok());
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_fails_everything_until_it_can() {
    let lane = roomy();
    let waiting = add(&lane, wake(1));
    lane.on_down();
    assert_not_sent(waiting.reply().await, &wake(1));
    assert_not_sent(lane.add(wake(2), soon()), &wake(2));
    lane.on_open();
    add(&lane, wake(3));
}

#[tokio::test]
async fn a_reply_without_a_known_body_is_an_unavailable_service() {
    let lane = roomy();
    let mut outbound = opened(&lane);
    let ticket = add(&lane, wake(1));
    let call_id = batch(&mut outbound).unwrap().calls[0].call_id;
    lane.on_replies(v1::GatewayReplies {
        replies: vec![v1::GatewayReply {
            call_id,
            has_more: false,
            reply: None,
        }],
    });
    assert_unknown(ticket.reply().await);
}

#[tokio::test]
async fn a_break_gives_back_what_was_not_written_when_there_are_other_nodes() {
    let lane = roomy();
    lane.set_alone(false);
    let mut outbound = opened(&lane);
    let written = add(&lane, wake(1));
    assert!(batch(&mut outbound).is_some());
    let unwritten = add(&lane, wake(2));
    lane.on_break();
    assert_eq!(lane.standing(), Standing::Down);
    assert_unknown(written.reply().await);
    assert_not_sent(unwritten.reply().await, &wake(2));
    assert_not_sent(lane.add(wake(3), soon()), &wake(3));
    lane.on_open();
    assert_eq!(lane.standing(), Standing::Ready);
    add(&lane, wake(3));
}

#[tokio::test]
async fn a_reply_to_no_call_says_that_the_node_drains_and_leaves_its_calls_alone() {
    let lane = roomy();
    let mut outbound = opened(&lane);
    let ticket = add(&lane, wake(1));
    let id = batch(&mut outbound).unwrap().calls[0].call_id;
    lane.on_replies(reply(NO_CALL));
    assert_eq!(lane.standing(), Standing::Draining);
    lane.on_replies(reply(id));
    assert!(ticket.reply().await.is_ok());
}

#[tokio::test]
async fn nothing_is_written_before_the_server_has_answered() {
    let lane = roomy();
    let mut outbound = lane.begin_stream();
    let unwritten = add(&lane, wake(1));
    assert!(batch(&mut outbound).is_none());
    lane.on_down();
    assert_not_sent(unwritten.reply().await, &wake(1));
}
