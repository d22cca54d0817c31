//! Limited policies, bearer tokens, and streams that live by keys (auth.md §3.5, §6).

use downlink_domain::device::IfMatch;
use downlink_domain::policy::Permission::ServiceConnect;
use downlink_domain::twin::TwinChange;
use downlink_ports::TwinApi as _;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::fakes::TestIssuer;

fn denied() -> (Code, Option<u32>) {
    refused(Code::PermissionDenied, ErrorCode::IotHubUnauthorizedAccess)
}

async fn fast_site() -> Site {
    let hub = TestHub::with(|options| options.access_interval = Duration::from_millis(50));
    Site::of(hub.await)
}

async fn site_of_fleet() -> Site {
    let site = fast_site().await;
    for id in ["truck-1", "car-1", "car-2"] {
        site.hub.device(id).await;
    }
    let scope = json!({"devices": [{"prefix": "truck-"}, {"tag": "fleet", "equals": 7}]});
    site.hub
        .limited_policy("fleet", &[ServiceConnect], &scope)
        .await;
    site
}

async fn tag(site: &Site, device: &str, fleet: u32) {
    let change = TwinChange::Patch {
        tags: json!({"fleet": fleet}).as_object().cloned(),
        desired: None,
        if_match: IfMatch::Any,
    };
    let hub = site.hub.shared.options.hub.clone();
    let id: downlink_domain::id::DeviceId = device.parse().unwrap();
    site.hub
        .backend
        .update_twin(hub, id.into(), change)
        .await
        .unwrap();
}

#[tokio::test]
async fn each_message_of_a_batch_is_judged_by_its_device() {
    let site = site_of_fleet().await;
    tag(&site, "car-2", 7).await;
    let mut commands = site.with("fleet").await.commands();
    let devices = ["car-1", "truck-1", "car-2", "truck-1", "nobody"];
    let messages: Vec<_> = devices.map(|device| message(device, "m")).into();
    let sent = commands.send_batch(v1::SendBatchRequest {
        messages: messages.clone(),
    });
    let number = ErrorCode::IotHubUnauthorizedAccess.number();
    let expected = [Some(number), None, None, None, Some(number)];
    let codes: Vec<_> = sent
        .await
        .unwrap()
        .into_inner()
        .results
        .into_iter()
        .collect();
    let code = |failure: &Option<v1::Failure>| failure.as_ref().map(|failure| failure.code);
    let codes: Vec<_> = codes.iter().map(|result| code(&result.failure)).collect();
    assert_eq!(codes, expected);

    let ids = 0_u64..;
    let streamed = ids.zip(messages).map(|(id, message)| v1::StreamedMessage {
        id,
        message: Some(message),
    });
    let request = v1::SendStreamRequest {
        messages: streamed.collect(),
    };
    let stream = commands.send_stream(futures::stream::iter([request])).await;
    let answer = soon(stream.unwrap().into_inner().message())
        .await
        .unwrap()
        .unwrap();
    let codes: Vec<_> = answer
        .results
        .iter()
        .map(|result| code(&result.failure))
        .collect();
    assert_eq!(codes, expected);

    let single = |device: &str| v1::SendRequest {
        message: Some(message(device, "m")),
    };
    assert!(commands.send(single("truck-1")).await.is_ok());
    assert_eq!(refusal(commands.send(single("car-1")).await), denied());
}

#[tokio::test]
async fn a_limited_policy_reaches_nothing_but_its_devices() {
    let site = site_of_fleet().await;
    let back = site.with("fleet").await;
    let (mut twins, mut commands) = (back.twins(), back.commands());
    let get = |id: &str| v1::GetTwinRequest {
        device_id: id.to_owned(),
    };
    assert!(twins.get(get("truck-1")).await.is_ok());
    assert_eq!(refusal(twins.get(get("car-1")).await), denied());
    let purge = |id: &str| v1::PurgeRequest {
        device_id: id.to_owned(),
    };
    assert!(commands.purge(purge("truck-1")).await.is_ok());
    assert_eq!(refusal(commands.purge(purge("car-1")).await), denied());
    let feedback = back.feedback().receive(futures::stream::empty()).await;
    assert_eq!(code_of(&feedback.err().unwrap()), denied());
    let invoke = |id: &str| v1::InvokeRequest {
        device_id: id.to_owned(),
        method_name: "reboot".to_owned(),
        ..v1::InvokeRequest::default()
    };
    let mut methods = back.methods();
    assert_eq!(refusal(methods.invoke(invoke("car-1")).await), denied());
    let offline = refused(Code::Unavailable, ErrorCode::DeviceNotOnline);
    let told = refusal(methods.invoke(invoke("truck-1")).await);
    assert_eq!(told.1, offline.1);
}

#[tokio::test]
async fn a_watcher_of_a_device_that_is_its_own_no_more_is_told_so() {
    let site = site_of_fleet().await;
    tag(&site, "car-1", 7).await;
    let mut twins = site.with("fleet").await.twins();
    let request = v1::WatchTwinRequest {
        device_id: "car-1".to_owned(),
    };
    let mut watcher = twins.watch(request).await.unwrap().into_inner();
    soon(watcher.message()).await.unwrap().unwrap();
    tag(&site, "car-1", 8).await;
    let ticking = async {
        loop {
            let interval = site.hub.shared.options.grpc.watch_interval;
            site.hub.clock.advance(interval);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let told = tokio::select! {
        told = soon(watcher.message()) => told,
        () = ticking => unreachable!("it ticks for ever"),
    };
    assert_eq!(refusal(told), denied());
}

#[tokio::test]
async fn a_rotated_key_ends_its_streams_within_a_second() {
    let site = fast_site().await;
    site.hub.device("dev-1").await;
    let first = site.with("service").await;
    let second = site.with_token(&site.hub.second_key_token("service")).await;
    let watch = || v1::WatchTwinRequest {
        device_id: "dev-1".to_owned(),
    };
    let mut watcher = first.twins().watch(watch()).await.unwrap().into_inner();
    let mut other = second.twins().watch(watch()).await.unwrap().into_inner();
    let sends = first
        .commands()
        .send_stream(futures::stream::pending())
        .await;
    let mut sends = sends.unwrap().into_inner();
    let feedback = first.feedback().receive(futures::stream::pending()).await;
    let mut feedback = feedback.unwrap().into_inner();
    for watcher in [&mut watcher, &mut other] {
        soon(watcher.message()).await.unwrap().unwrap();
    }
    let rotated_at = Instant::now();
    site.hub.rotate("service").await;
    let expected = refused(Code::Unauthenticated, ErrorCode::IotHubUnauthorized);
    assert_eq!(refusal(soon(watcher.message()).await), expected);
    assert_eq!(refusal(soon(sends.message()).await), expected);
    assert_eq!(refusal(soon(feedback.message()).await), expected);
    assert!(rotated_at.elapsed() < Duration::from_secs(1));
    let told = refusal(first.twins().watch(watch()).await);
    assert_eq!(told, expected, "nor does it open another");
    assert!(second.twins().watch(watch()).await.is_ok());
    site.hub.delete_policy("service").await;
    assert_eq!(refusal(soon(other.message()).await), expected);
}

#[tokio::test]
async fn a_bearer_opens_what_its_claims_allow_until_it_ends() {
    let issuer = TestIssuer::new();
    let site = Site::of(issuer.hub().await);
    site.hub.device("dev-1").await;
    let reader = site
        .with_token(&issuer.bearer(&site.hub, "read-twins"))
        .await;
    let watch = v1::WatchTwinRequest {
        device_id: "dev-1".to_owned(),
    };
    let mut watcher = reader.twins().watch(watch).await.unwrap().into_inner();
    soon(watcher.message()).await.unwrap().unwrap();
    let send = v1::SendRequest {
        message: Some(message("dev-1", "m")),
    };
    let forbidden = refused(Code::PermissionDenied, ErrorCode::GenericForbidden);
    assert_eq!(
        refusal(reader.commands().send(send.clone()).await),
        forbidden
    );
    let sender = site.with_token(&issuer.bearer(&site.hub, "send")).await;
    assert!(sender.commands().send(send).await.is_ok());
    let stranger = TestIssuer::new().bearer(&site.hub, "all");
    let stranger = site.with_token(&stranger).await;
    let list = stranger
        .registry()
        .list(v1::ListDevicesRequest { limit: None })
        .await;
    let unauthenticated = refused(Code::Unauthenticated, ErrorCode::IotHubUnauthorized);
    assert_eq!(refusal(list), unauthenticated);
    let grace = site.hub.shared.options.grpc.token_grace;
    site.hub.clock.advance(Duration::from_hours(1) + grace);
    assert_eq!(refusal(soon(watcher.message()).await), unauthenticated);
}
