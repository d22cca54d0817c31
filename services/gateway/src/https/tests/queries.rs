//! registry.md §5.1.

use serde_json::json;

use super::*;

fn query<'a>(hub: &'a TestHub, text: &str) -> Ask<'a> {
    ask(hub, Method::POST, "/devices/query").body(&json!({ "query": text }))
}

impl Ask<'_> {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }
}

#[tokio::test]
async fn pages_have_their_type_and_a_continuation_unless_they_are_the_last() {
    let hub = TestHub::new().await;
    let mut continuation = String::new();
    for page in 1..=3 {
        let asked = query(&hub, "SELECT * FROM devices")
            .header("x-ms-max-item-count", "7")
            .header("x-ms-continuation", &continuation);
        let reply = asked.send().await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("x-ms-item-type"), Some("Twin"));
        assert_eq!(reply.json(), json!([{ "page": page, "most": 7 }]));
        let next = reply.header("x-ms-continuation");
        assert_eq!(next.is_some(), page < 3, "page {page}");
        continuation = next.unwrap_or_default().to_owned();
    }
    let without = query(&hub, "SELECT * FROM devices").json().await;
    assert_eq!(without[0]["most"], 100);
}

#[tokio::test]
async fn what_is_no_query_is_refused_with_its_place() {
    let hub = TestHub::new().await;
    let reply = query(&hub, "SELECT * FRO devices").send().await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.header("iothub-errorcode"), Some("ArgumentInvalid"));
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(text.contains("character 10: expected FROM"), "{text}");
    for body in [json!({}), json!({ "query": 7 }), json!([])] {
        let refusal = ask(&hub, Method::POST, "/devices/query").body(&body).code();
        assert_eq!(refusal.await, refused(400, "ArgumentInvalid"), "{body}");
    }
}

#[tokio::test]
async fn page_sizes_and_continuations_outside_their_bounds_are_refused() {
    let hub = TestHub::new().await;
    let long = "x".repeat(129);
    for (name, value) in [
        ("x-ms-max-item-count", "0"),
        ("x-ms-max-item-count", "1001"),
        ("x-ms-max-item-count", "many"),
        ("x-ms-continuation", long.as_str()),
        ("x-ms-continuation", "unknown"),
    ] {
        let asked = query(&hub, "SELECT * FROM devices").header(name, value);
        assert_eq!(
            asked.code().await,
            refused(400, "ArgumentInvalid"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_query_needs_the_right_to_read_twins() {
    let hub = TestHub::new().await;
    let uri = format!("/devices/query?{VERSION}");
    for (policy, expected) in [
        ("service", 200),
        ("registryReadWrite", 401),
        ("device", 401),
    ] {
        let token = hub.policy_token(policy);
        let asked = ask_with(&hub, Method::POST, &uri, &token)
            .body(&json!({ "query": "SELECT * FROM devices" }));
        assert_eq!(asked.send().await.status.as_u16(), expected, "{policy}");
    }
    // A device may still be called so.
    hub.device("query").await;
    let read = ask(&hub, Method::GET, "/devices/query").json().await;
    assert_eq!(read["deviceId"], "query");
}
