//! Twins as server-sent events.

use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::header::CONTENT_TYPE;
use downlink_ports::Clock as _;
use futures::StreamExt;
use serde_json::json;

use super::*;

/// The events of one watcher.
struct Watching {
    events: BodyDataStream,
    unread: String,
}

/// One event: its fields in their order.
type Event = Vec<(String, String)>;

async fn watch(hub: &TestHub, path: &str, last_event: Option<&str>) -> Watching {
    let mut asking = ask(hub, Method::GET, path);
    if let Some(id) = last_event {
        asking.request = asking.request.header("Last-Event-ID", id);
    }
    let request = asking.request.body(Body::empty()).unwrap();
    let router = router(Arc::clone(&hub.shared));
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let mut watching = Watching {
        events: response.into_body().into_data_stream(),
        unread: String::new(),
    };
    let first = watching.next(hub).await.unwrap();
    assert_eq!(first, [("retry".to_owned(), "2000".to_owned())]);
    watching
}

impl Watching {
    /// The next event, comments passed over, while the hub's clock goes on; nothing at the end.
    async fn next(&mut self, hub: &TestHub) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.unread = rest;
                let fields = event.lines().filter(|line| !line.starts_with(':'));
                let fields = fields.map(|line| {
                    let (name, value) = line.split_once(": ").expect("a field");
                    (name.to_owned(), value.to_owned())
                });
                let fields: Event = fields.collect();
                if !fields.is_empty() {
                    return Some(fields);
                }
                continue;
            }
            let ticking = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    hub.clock.advance(hub.shared.options.grpc.watch_interval);
                }
            };
            let chunk = tokio::select! {
                chunk = self.events.next() => chunk?.unwrap(),
                () = ticking => unreachable!("it ends never"),
            };
            self.unread += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn twin(&mut self, hub: &TestHub) -> (String, Value) {
        let event = self.next(hub).await.expect("an event");
        let [(id, version), (kind, twin), (data, document)] = &event[..] else {
            panic!("not a twin: {event:?}");
        };
        assert_eq!(
            (&id[..], &kind[..], &twin[..], &data[..]),
            ("id", "event", "twin", "data")
        );
        let document: Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["version"].to_string(), *version);
        (version.clone(), document)
    }
}

#[tokio::test]
async fn a_watcher_is_shown_the_twin_and_then_what_it_changes_to() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut watching = watch(&hub, "/twins/dev-1/events", None).await;
    let (version, twin) = watching.twin(&hub).await;
    assert_eq!(version, "2");
    assert_eq!(twin, ask(&hub, Method::GET, "/twins/dev-1").json().await);
    hub.patch_desired(&device, json!({"n": "one\ntwo"})).await;
    let (version, twin) = watching.twin(&hub).await;
    assert_eq!(version, "3");
    assert_eq!(twin["properties"]["desired"]["n"], "one\ntwo");
}

#[tokio::test]
async fn a_watcher_that_comes_back_is_shown_only_what_is_newer() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut watching = watch(&hub, "/twins/dev-1/events", Some("2")).await;
    hub.patch_desired(&device, json!({"n": 1})).await;
    assert_eq!(watching.twin(&hub).await.0, "3");
    let mut watching = watch(&hub, "/twins/dev-1/events", Some("2")).await;
    assert_eq!(watching.twin(&hub).await.0, "3");
}

#[tokio::test]
async fn a_deleted_device_ends_its_watchers_with_the_reason() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut watching = watch(&hub, "/twins/dev-1/events", None).await;
    watching.twin(&hub).await;
    let deleted = ask(&hub, Method::DELETE, "/devices/dev-1").if_match("*");
    assert_eq!(deleted.send().await.status, StatusCode::NO_CONTENT);
    let end = watching.next(&hub).await.unwrap();
    assert_eq!(end[0], ("event".to_owned(), "end".to_owned()));
    let why: Value = serde_json::from_str(&end[1].1).unwrap();
    assert_eq!(why["errorCode"], 404_001);
    assert_eq!(watching.next(&hub).await, None);
}

#[tokio::test]
async fn a_watcher_needs_the_right_to_read_and_a_place() {
    let hub = TestHub::with(|options| options.grpc.max_watchers = 1).await;
    hub.device("dev-1").await;
    let path = format!("/twins/dev-1/events?{VERSION}");
    let token = hub.policy_token("registryRead");
    let refusal = ask_with(&hub, Method::GET, &path, &token).code().await;
    assert_eq!(refusal, refused(401, "IotHubUnauthorizedAccess"));
    let missing = ask(&hub, Method::GET, "/twins/nobody/events").code().await;
    assert_eq!(missing, refused(404, "DeviceNotFound"));
    let held = watch(&hub, "/twins/dev-1/events", None).await;
    let full = ask(&hub, Method::GET, "/twins/dev-1/events").code().await;
    assert_eq!(full, refused(429, "ThrottlingException"));
    drop(held);
}

#[tokio::test]
async fn a_token_that_ends_ends_its_watcher() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut watching = watch(&hub, "/twins/dev-1/events", None).await;
    watching.twin(&hub).await;
    let before = hub.clock.now();
    hub.clock.advance(Duration::from_hours(24 * 365));
    assert!(hub.clock.now() > before);
    let end = watching.next(&hub).await.unwrap();
    let why: Value = serde_json::from_str(&end[1].1).unwrap();
    assert_eq!(why["errorCode"], 401_003);
}
