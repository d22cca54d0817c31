//! c2d.md §2, §3, §7.

use downlink_domain::id::DeviceKey;
use downlink_domain::message::AckMode;
use downlink_ports::{LockedMessage, QueueApi, ReceiveCall};

use super::*;

/// What waits for a device, in order.
pub(super) async fn waiting(hub: &TestHub, device: DeviceKey) -> Vec<LockedMessage> {
    let call = ReceiveCall {
        device,
        limit: 1000,
        lock_duration: None,
    };
    let mut received = hub.backend.receive(vec![call]).await.unwrap();
    received.remove(0)
}

#[tokio::test]
async fn a_message_arrives_with_all_that_it_says_of_itself() {
    let site = Site::new().await;
    let device = site.hub.device("dev-1").await.key;
    let expires_at = downlink_ports::Clock::now(&*site.hub.clock).as_millis() + 60_000;
    let message = v1::OutgoingMessage {
        device_id: "dev-1".to_owned(),
        body: vec![0, 255, 7].into(),
        message_id: Some("cmd-1".to_owned()),
        correlation_id: Some("corr".to_owned()),
        user_id: Some("user".to_owned()),
        content_type: Some("application/octet-stream".to_owned()),
        content_encoding: Some("none".to_owned()),
        ack: v1::AckMode::Negative.into(),
        expires_at: Some(expires_at),
        properties: ["b", "a"].map(property).to_vec(),
    };
    let request = v1::SendRequest {
        message: Some(message),
    };
    let back = site.with("service").await;
    back.commands().send(request).await.unwrap();

    let locked = waiting(&site.hub, device).await.remove(0).message;
    assert_eq!(locked.body, vec![0, 255, 7]);
    assert_eq!(locked.ack, AckMode::Negative);
    assert_eq!(locked.expiry.as_millis(), expires_at);
    let said = locked.properties;
    assert_eq!(said.message_id.as_deref(), Some("cmd-1"));
    assert_eq!(said.correlation_id.as_deref(), Some("corr"));
    assert_eq!(said.user_id.as_deref(), Some("user"));
    assert_eq!(
        said.content_type.as_deref(),
        Some("application/octet-stream")
    );
    assert_eq!(said.content_encoding.as_deref(), Some("none"));
    assert_eq!(
        said.to.as_deref(),
        Some("/devices/dev-1/messages/devicebound")
    );
    let names: Vec<_> = said.application.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b", "a"]);
}

fn property(name: &str) -> v1::ApplicationProperty {
    v1::ApplicationProperty {
        name: name.to_owned(),
        value: "value".to_owned(),
    }
}

fn send(device: &str) -> v1::SendRequest {
    v1::SendRequest {
        message: Some(message(device, "cmd")),
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_taken_is_refused_with_its_code() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let mut commands = site.with("service").await.commands();
    let nobody = commands.send(send("nobody")).await;
    assert_eq!(
        refusal(nobody),
        refused(Code::NotFound, ErrorCode::DeviceNotFound)
    );
    for device in ["", "a b", &"x".repeat(129)] {
        let sent = commands.send(send(device)).await;
        let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
        assert_eq!(refusal(sent), expected, "{device:?}");
    }
    let empty = commands.send(v1::SendRequest { message: None }).await;
    assert_eq!(
        refusal(empty),
        refused(Code::InvalidArgument, ErrorCode::ArgumentNull)
    );
    let mut strange = send("dev-1");
    strange.message.as_mut().unwrap().ack = 77;
    let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
    assert_eq!(refusal(commands.send(strange).await), expected);
    for _ in 0..50 {
        commands.send(send("dev-1")).await.unwrap();
    }
    let full = commands.send(send("dev-1")).await;
    let expected = refused(
        Code::ResourceExhausted,
        ErrorCode::DeviceMaximumQueueDepthExceeded,
    );
    assert_eq!(refusal(full), expected);
}

#[tokio::test]
async fn each_message_of_a_batch_has_its_own_result() {
    let site = Site::new().await;
    let device = site.hub.device("dev-1").await.key;
    let mut commands = site.with("service").await.commands();
    let messages = vec![
        message("dev-1", "first"),
        message("a b", "malformed"),
        message("nobody", "lost"),
        message("dev-1", "second"),
    ];
    let sent = commands.send_batch(v1::SendBatchRequest { messages }).await;
    let results = sent.unwrap().into_inner().results;
    let codes = results.iter().map(|result| {
        let failure = result.failure.as_ref()?;
        assert!(!failure.message.is_empty());
        Some((failure.code, failure.grpc_code))
    });
    let expected = [None, Some((400_004, 3)), Some((404_001, 5)), None];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    let bodies = waiting(&site.hub, device).await.into_iter();
    let bodies: Vec<_> = bodies.map(|locked| locked.message.body).collect();
    assert_eq!(bodies, ["first", "second"]);
    assert_eq!(
        site.hub.shared.metrics.rpcs.count(Rpc::SendBatch, Code::Ok),
        1
    );

    let none = commands.send_batch(v1::SendBatchRequest { messages: vec![] });
    assert!(none.await.unwrap().into_inner().results.is_empty());
    let messages = vec![message("dev-1", "x"); 501];
    let many = commands.send_batch(v1::SendBatchRequest { messages }).await;
    let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
    assert_eq!(refusal(many), expected);
}

#[tokio::test]
async fn a_request_above_its_size_is_refused_as_too_large() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let back = site.with("service").await;
    let mut request = send("dev-1");
    request.message.as_mut().unwrap().body = vec![0; 8 * 1024 * 1024].into();
    let expected = refused(Code::InvalidArgument, ErrorCode::MessageTooLarge);
    assert_eq!(refusal(back.commands().send(request).await), expected);
    let rpcs = &site.hub.shared.metrics.rpcs;
    assert_eq!(rpcs.count(Rpc::Send, Code::InvalidArgument), 1);
    // Where no batches are carried, requests are smaller.
    let request = v1::PatchTwinRequest {
        device_id: "dev-1".to_owned(),
        tags_json: Some(" ".repeat(1024 * 1024)),
        ..v1::PatchTwinRequest::default()
    };
    assert_eq!(refusal(back.twins().patch(request).await), expected);
}

#[tokio::test]
async fn a_queue_is_counted_and_purged() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let mut commands = site.with("service").await.commands();
    let device_id = "dev-1".to_owned();
    for _ in 0..3 {
        commands.send(send("dev-1")).await.unwrap();
    }
    let counted = commands.count(v1::CountRequest {
        device_id: device_id.clone(),
    });
    assert_eq!(counted.await.unwrap().into_inner().waiting, 3);
    let purged = commands.purge(v1::PurgeRequest { device_id });
    assert_eq!(purged.await.unwrap().into_inner().removed, 3);
    let expected = refused(Code::NotFound, ErrorCode::DeviceNotFound);
    let device_id = "nobody".to_owned();
    let purged = commands.purge(v1::PurgeRequest {
        device_id: device_id.clone(),
    });
    assert_eq!(refusal(purged.await), expected);
    let counted = commands.count(v1::CountRequest { device_id });
    assert_eq!(refusal(counted.await), expected);
}
