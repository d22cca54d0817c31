//! twins.md §1–§4, and watching.

use tonic::Streaming;

use super::*;

fn id() -> String {
    "dev-1".to_owned()
}

fn patch(desired: &str) -> v1::PatchTwinRequest {
    v1::PatchTwinRequest {
        device_id: id(),
        desired_json: Some(desired.to_owned()),
        ..v1::PatchTwinRequest::default()
    }
}

async fn get(twins: &mut TwinsClient<Authorized>) -> v1::Twin {
    let request = v1::GetTwinRequest { device_id: id() };
    let got = twins.get(request).await.unwrap();
    got.into_inner().twin.unwrap()
}

fn desired(twin: &v1::Twin) -> &str {
    &twin.desired.as_ref().unwrap().values_json
}

#[tokio::test]
async fn a_twin_is_patched_and_replaced_under_its_etag() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let mut twins = site.with("service").await.twins();
    let fresh = get(&mut twins).await;
    assert_eq!((desired(&fresh), fresh.tags_json.as_str()), ("{}", "{}"));

    let text = r#"{"t":1.50,"b":120,"a":{"x":-0.10}}"#;
    let mut request = patch(text);
    request.tags_json = Some(r#"{"site":"zrh"}"#.to_owned());
    request.etag = Some(fresh.etag.clone());
    let patched = twins.patch(request.clone()).await.unwrap();
    let patched = patched.into_inner().twin.unwrap();
    assert_eq!(desired(&patched), text);
    assert_eq!(patched.tags_json, r#"{"site":"zrh"}"#);
    assert_eq!(patched.desired.as_ref().unwrap().version, 2);
    assert!(patched.version > fresh.version);
    assert_eq!(get(&mut twins).await, patched);
    let stale = refused(Code::FailedPrecondition, ErrorCode::PreconditionFailed);
    assert_eq!(refusal(twins.patch(request).await), stale);

    let removed = twins.patch(patch(r#"{"a":null}"#)).await.unwrap();
    let removed = removed.into_inner().twin.unwrap();
    assert_eq!(desired(&removed), r#"{"t":1.50,"b":120}"#);
    let replace = |etag: &str| v1::ReplaceTwinRequest {
        device_id: id(),
        tags_json: None,
        desired_json: Some(r#"{"new":true}"#.to_owned()),
        etag: Some(etag.to_owned()),
    };
    assert_eq!(refusal(twins.replace(replace(&patched.etag)).await), stale);
    let replaced = twins.replace(replace(&removed.etag)).await.unwrap();
    let replaced = replaced.into_inner().twin.unwrap();
    assert_eq!(desired(&replaced), r#"{"new":true}"#);
    assert_eq!(replaced.tags_json, "{}");
}

#[tokio::test]
async fn what_breaks_a_rule_of_twins_is_refused() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let mut twins = site.with("service").await.twins();
    for (text, code) in [
        ("{", ErrorCode::IotHubFormatError),
        ("", ErrorCode::IotHubFormatError),
        ("[]", ErrorCode::ArgumentInvalid),
        (r#"{"not.fine":1}"#, ErrorCode::ArgumentInvalid),
    ] {
        let expected = refused(Code::InvalidArgument, code);
        assert_eq!(refusal(twins.patch(patch(text)).await), expected, "{text}");
    }
    let missing = refused(Code::NotFound, ErrorCode::DeviceNotFound);
    let device_id = "nobody".to_owned();
    let request = v1::PatchTwinRequest {
        device_id: device_id.clone(),
        ..patch("{}")
    };
    assert_eq!(refusal(twins.patch(request).await), missing);
    let watched = twins.watch(v1::WatchTwinRequest { device_id }).await;
    assert_eq!(refusal(watched), missing);
}

async fn watch(twins: &mut TwinsClient<Authorized>) -> Streaming<v1::WatchTwinResponse> {
    let request = v1::WatchTwinRequest { device_id: id() };
    twins.watch(request).await.unwrap().into_inner()
}

/// The next of a watcher, while the hub's clock goes on.
async fn next(
    site: &Site,
    watcher: &mut Streaming<v1::WatchTwinResponse>,
) -> Result<Option<v1::Twin>, Status> {
    let ticking = async {
        loop {
            site.hub.clock.advance(Duration::from_millis(1));
            site.hub
                .clock
                .advance(site.hub.shared.options.grpc.watch_interval);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        message = soon(watcher.message()) => message.map(|next| next.and_then(|next| next.twin)),
        () = ticking => unreachable!("it ticks for ever"),
    }
}

#[tokio::test]
async fn a_watcher_sees_the_twin_and_then_its_changes() {
    let site = Site::new().await;
    let device = site.hub.device("dev-1").await.key;
    let mut twins = site.with("service").await.twins();
    let mut first = watch(&mut twins).await;
    let current = soon(first.message()).await.unwrap().unwrap().twin.unwrap();
    assert_eq!(current, get(&mut twins).await);
    twins.patch(patch(r#"{"rate":1}"#)).await.unwrap();
    let mut second = watch(&mut twins).await;
    let current = soon(second.message()).await.unwrap().unwrap().twin.unwrap();
    assert_eq!(desired(&current), r#"{"rate":1}"#);
    assert_eq!(next(&site, &mut first).await.unwrap().unwrap(), current);

    // What the device reports is a change too, and of two changes the last counts.
    let change = |text: &str| downlink_domain::twin::TwinChange::Report {
        patch: serde_json::from_str(text).unwrap(),
        expected_version: None,
    };
    let backend = Arc::clone(&site.hub.backend);
    for text in [r#"{"seen":1}"#, r#"{"seen":2}"#] {
        downlink_ports::TwinApi::report(&*backend, device, change(text))
            .await
            .unwrap();
    }
    for watcher in [&mut first, &mut second] {
        let twin = next(&site, watcher).await.unwrap().unwrap();
        assert_eq!(twin.reported.unwrap().values_json, r#"{"seen":2}"#);
    }
    // The second had the newest from the start: it is not told twice.
    twins.patch(patch(r#"{"rate":3}"#)).await.unwrap();
    let twin = next(&site, &mut second).await.unwrap().unwrap();
    assert_eq!(desired(&twin), r#"{"rate":3}"#);
}

#[tokio::test]
async fn a_watcher_of_a_deleted_device_is_told_so_though_it_is_created_again() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let back = site.with("iothubowner").await;
    let mut watcher = watch(&mut back.twins()).await;
    soon(watcher.message()).await.unwrap().unwrap();
    let request = v1::DeleteDeviceRequest {
        device_id: id(),
        etag: None,
    };
    back.registry().delete(request).await.unwrap();
    site.hub.device("dev-1").await;
    let expected = refused(Code::NotFound, ErrorCode::DeviceNotFound);
    assert_eq!(refusal(next(&site, &mut watcher).await), expected);
}

#[tokio::test]
async fn a_watcher_rides_out_a_service_that_is_away() {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let mut twins = site.with("service").await.twins();
    let mut watcher = watch(&mut twins).await;
    soon(watcher.message()).await.unwrap().unwrap();
    twins.patch(patch(r#"{"rate":1}"#)).await.unwrap();
    site.hub.backend.set_down(true);
    let early = tokio::time::timeout(Duration::from_millis(200), next(&site, &mut watcher)).await;
    assert!(early.is_err());
    site.hub.backend.set_down(false);
    let twin = next(&site, &mut watcher).await.unwrap().unwrap();
    assert_eq!(desired(&twin), r#"{"rate":1}"#);
}

#[tokio::test]
async fn there_are_no_more_watchers_than_the_node_holds() {
    let hub = TestHub::with(|options| options.grpc.max_watchers = 2).await;
    let site = Site::of(hub);
    site.hub.device("dev-1").await;
    let mut twins = site.with("service").await.twins();
    let first = watch(&mut twins).await;
    let _second = watch(&mut twins).await;
    let request = v1::WatchTwinRequest { device_id: id() };
    let expected = refused(Code::ResourceExhausted, ErrorCode::ThrottlingException);
    assert_eq!(refusal(twins.watch(request.clone()).await), expected);
    // One that has gone makes room.
    drop(first);
    let again = soon(async {
        loop {
            if let Ok(again) = twins.watch(request.clone()).await {
                break again;
            }
        }
    });
    again.await;
}
