//! Limits: as administrators state them, and what back-ends and devices see of them.

use std::time::Duration;

use downlink_domain::limits::{DeviceOperation, HubOperation};
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::options::GatewayOptions;

const PATH: &str = "/admin/limits";
const DEVICE: &str = "/admin/limits/devices/dev-1";

fn limited(operation: HubOperation, rate: &str) -> impl FnOnce(&mut GatewayOptions) {
    let rate = rate.parse().unwrap();
    move |options| options.limits.plan.hub.set(operation, Some(rate))
}

#[tokio::test]
async fn limits_are_stated_over_what_is_configured_and_taken_back() {
    let hub = TestHub::with(limited(HubOperation::Telemetry, "100/s")).await;
    let before = ask(&hub, Method::GET, PATH).send().await;
    assert_eq!(before.header("etag"), Some("\"0\""));
    assert_eq!(before.json()["hub"]["telemetry"], "100/s");
    assert_eq!(before.json()["hub"]["registry"], "unlimited");
    assert_eq!(before.json()["stated"], json!({"hub": {}, "device": {}}));
    let body = json!({"hub": {"telemetry": "unlimited", "queries": "20/min burst 40"}, "device": {"telemetry": "5/s"}});
    let stated = ask(&hub, Method::PUT, PATH).body(&body).send().await;
    assert_eq!(stated.header("etag"), Some("\"1\""));
    assert_eq!(stated.json()["hub"]["telemetry"], "unlimited");
    assert_eq!(stated.json()["device"]["telemetry"], "5/s");
    assert_eq!(stated.json()["stated"], body);
    let patch = json!({"hub": {"telemetry": null}});
    let patched = ask(&hub, Method::PATCH, PATH)
        .if_match("\"1\"")
        .body(&patch)
        .json()
        .await;
    assert_eq!(patched["hub"]["telemetry"], "100/s");
    assert_eq!(patched["hub"]["queries"], "20/min burst 40");
    let read = ask(&hub, Method::GET, PATH).json().await;
    assert_eq!(read, patched);
    // A document that was read may be sent back.
    let again = ask(&hub, Method::PUT, PATH).body(&read).json().await;
    assert_eq!(again["hub"], read["hub"]);
}

#[tokio::test]
async fn a_device_has_limits_of_its_own_until_they_are_deleted() {
    let hub = TestHub::new().await;
    let general = json!({"device": {"twin_reads": "1/s"}});
    ask(&hub, Method::PUT, PATH).body(&general).json().await;
    let own = json!({"telemetry": "10/s burst 20"});
    let stated = ask(&hub, Method::PUT, DEVICE).body(&own).json().await;
    assert_eq!(stated["stated"], own);
    assert_eq!(stated["device"]["twin_reads"], "1/s");
    assert_eq!(stated["device"]["telemetry"], "10/s burst 20");
    let all = ask(&hub, Method::GET, "/admin/limits/devices").json().await;
    assert_eq!(all, json!({"dev-1": own}));
    let general = ask(&hub, Method::GET, PATH).json().await;
    assert_eq!(general["device"]["telemetry"], "unlimited");
    let gone = ask(&hub, Method::DELETE, DEVICE).send().await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let read = ask(&hub, Method::GET, DEVICE).json().await;
    assert_eq!(read["device"]["telemetry"], "unlimited");
}

#[tokio::test]
async fn what_is_no_limit_is_refused_and_changes_nothing() {
    let hub = TestHub::new().await;
    for body in [
        json!({"hub": {"telemetry": "fast"}}),
        json!({"hub": {"telemetry": 100}}),
        json!({"hub": {"speed": "1/s"}}),
        json!({"hub": []}),
        json!({"hup": {}}),
        json!({"device": {"queries": "1/s"}}),
    ] {
        for method in [Method::PUT, Method::PATCH] {
            let refused = ask(&hub, method, PATH).body(&body).send().await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}");
            assert_eq!(refused.header("iothub-errorcode"), Some("ArgumentInvalid"));
        }
    }
    let stale = ask(&hub, Method::PUT, PATH)
        .if_match("\"7\"")
        .body(&json!({}));
    assert_eq!(stale.send().await.status, StatusCode::PRECONDITION_FAILED);
    let read = ask(&hub, Method::GET, PATH).send().await;
    assert_eq!(read.header("etag"), Some("\"0\""));
}

#[tokio::test(start_paused = true)]
async fn a_back_end_above_the_rate_is_slowed_and_then_told_when_to_come_again() {
    let hub = TestHub::with(limited(HubOperation::Registry, "1/s burst 2")).await;
    let start = Instant::now();
    for _ in 0..4 {
        let listed = ask(&hub, Method::GET, "/devices").send().await;
        assert_eq!(listed.status, StatusCode::OK);
    }
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    let asked: Vec<_> = (0..8)
        .map(|_| ask(&hub, Method::GET, "/devices").send())
        .collect();
    let answered = futures::future::join_all(asked).await;
    let refused: Vec<_> = answered
        .iter()
        .filter(|reply| reply.status == StatusCode::TOO_MANY_REQUESTS)
        .collect();
    assert_eq!(
        refused.len(),
        3,
        "five have their turns within five seconds"
    );
    for refused in refused {
        assert_eq!(
            refused.header("iothub-errorcode"),
            Some("ThrottlingBacklogTimeout")
        );
        assert_eq!(refused.header("retry-after"), Some("6"));
        assert_eq!(refused.header("downlink-cause"), Some("throttled"));
    }
    // Another class is another matter, and administration is never throttled.
    let before = Instant::now();
    ask(&hub, Method::GET, "/twins/nobody").send().await;
    let body = json!({"hub": {"registry": "unlimited"}});
    ask(&hub, Method::PATCH, PATH).body(&body).json().await;
    for _ in 0..50 {
        ask(&hub, Method::GET, "/devices").json().await;
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_device_over_https_above_its_own_rate_is_refused_and_others_are_not() {
    let hub = TestHub::with(|options| {
        let rate = "1/h burst 2".parse().unwrap();
        let rates = &mut options.limits.plan.device;
        rates.set(DeviceOperation::Telemetry, Some(rate));
    })
    .await;
    for name in ["greedy", "quiet"] {
        let device = hub.device(name).await;
        let path = format!("/devices/{name}/messages/events?{VERSION}");
        let send = || {
            let token = hub.device_token(&device);
            ask_with(&hub, Method::POST, &path, &token)
                .text("21.5")
                .send()
        };
        for _ in 0..2 {
            assert_eq!(send().await.status, StatusCode::NO_CONTENT, "{name}");
        }
        if name == "greedy" {
            let refused = send().await;
            assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
            let code = refused.header("iothub-errorcode");
            assert_eq!(code, Some("DeviceThrottlingLimitExceeded"));
            assert_eq!(refused.header("retry-after"), Some("3600"));
        }
    }
    assert_eq!(hub.telemetry().await.len(), 4);
}
