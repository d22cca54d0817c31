//! Every cause of the catalogue through the door (errors-limits.md §1, §3).

use std::path::Path;

use downlink_domain::ErrorCode;
use serde_json::json;

use super::*;

/// What the SDK suites know of the catalogue: each cause with the bodies that the hub answers.
const FOR_SDKS: &str = "../../tests/sdk/catalogue.json";

/// The body of a failure, without what differs from one to the next.
fn timeless(body: &str) -> String {
    let mut body = body.to_owned();
    while let Some(at) = body.find("-TimeStamp:").filter(|at| *at >= 36) {
        let id = body[..at].rfind("-G:").unwrap() - 32;
        let end = at + "-TimeStamp:01/05/2026 12:00:00".len();
        body.replace_range(id..end, "(tracking)");
    }
    body
}

#[tokio::test]
async fn every_cause_has_its_status_its_name_and_the_body_of_the_endpoint() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    for code in ErrorCode::ALL {
        hub.backend.refuse(*code);
        let call = json!({"methodName": "m"});
        for (reply, is_nested) in [
            (ask(&hub, Method::GET, "/twins/dev-1").send().await, false),
            (
                ask(&hub, Method::PUT, "/devices/dev-1")
                    .body(&json!({}))
                    .send()
                    .await,
                false,
            ),
            (
                ask(&hub, Method::POST, "/twins/dev-1/methods")
                    .body(&call)
                    .send()
                    .await,
                true,
            ),
        ] {
            assert_eq!(reply.status.as_u16(), code.http_status(), "{code:?}");
            assert_eq!(reply.header("iothub-errorcode"), Some(code.name()));
            let comes_again = matches!(code.http_status(), 429 | 503);
            assert_eq!(
                reply.header("retry-after").is_some(),
                comes_again,
                "{code:?}"
            );
            let body = reply.json();
            let number = json!(code.number());
            if code.is_flat() {
                assert_eq!(body["errorCode"], number);
            } else if is_nested {
                let inner = body["Message"].as_str().unwrap();
                let inner: Value = serde_json::from_str(inner).unwrap();
                assert_eq!(
                    (&inner["errorCode"], &body["ExceptionMessage"]),
                    (&number, &json!(""))
                );
            } else {
                let text = format!("ErrorCode:{};the test refuses", code.name());
                assert_eq!(body["Message"], text);
            }
        }
    }
}

/// Writes the file anew where it differs, and fails then.
#[tokio::test]
async fn the_catalogue_of_the_sdk_suites_is_what_the_hub_answers() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut lines = Vec::new();
    for code in ErrorCode::ALL {
        hub.backend.refuse(*code);
        let classic = ask(&hub, Method::GET, "/twins/dev-1").send().await;
        let call = ask(&hub, Method::POST, "/twins/dev-1/methods");
        let nested = call.body(&json!({"methodName": "m"})).send().await;
        let text = |reply: &Reply| timeless(std::str::from_utf8(&reply.body).unwrap());
        let line = json!({
            "number": code.number(),
            "name": code.name(),
            "status": code.http_status(),
            "condition": code.amqp().as_str(),
            "isRetryable": code.is_retryable(),
            "classic": text(&classic),
            "nested": text(&nested),
        });
        lines.push(line.to_string());
    }
    let now = format!("[\n{}\n]\n", lines.join(",\n"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOR_SDKS);
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    if before != now {
        std::fs::write(&file, now).unwrap();
        panic!("{FOR_SDKS} was out of date and is written anew: commit it");
    }
}
