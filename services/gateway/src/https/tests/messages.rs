//! c2d.md §6.3, §7.

use downlink_domain::message::{AckMode, NewMessage};
use serde_json::json;

use super::*;

async fn enqueue(hub: &TestHub, body: &'static str) {
    let message = NewMessage {
        hub: hub.shared.options.hub.clone(),
        ack: AckMode::Full,
        ..downlink_testkit::a_message_to("dev-1", body)
    };
    hub.shared.peers.queue.enqueue(vec![message]).await.unwrap()[0]
        .clone()
        .unwrap();
}

#[tokio::test]
async fn a_purge_says_how_many_messages_went() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    enqueue(&hub, "one").await;
    enqueue(&hub, "two").await;
    let token = hub.policy_token("service");
    let uri = format!("/devices/dev-1/commands?{VERSION}");
    let purged = ask_with(&hub, Method::DELETE, &uri, &token).send().await;
    assert_eq!(purged.status, StatusCode::OK);
    assert_eq!(
        purged.body,
        r#"{"totalMessagesPurged":2,"deviceId":"dev-1","moduleId":null}"#
    );
    let missing = ask(&hub, Method::DELETE, "/devices/nobody/commands")
        .code()
        .await;
    assert_eq!(missing, refused(404, "DeviceNotFound"));
}

#[tokio::test]
async fn feedback_is_received_given_back_and_completed() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let receive = || ask(&hub, Method::GET, "/messages/serviceBound/feedback").send();
    assert_eq!(receive().await.status, StatusCode::NO_CONTENT);
    enqueue(&hub, "one").await;
    ask(&hub, Method::DELETE, "/devices/dev-1/commands")
        .json()
        .await;

    let batch = receive().await;
    assert_eq!(batch.status, StatusCode::OK);
    let records = batch.json();
    assert_eq!(records[0]["statusCode"], "Purged");
    assert_eq!(records[0]["originalMessageId"], "id-of-one");
    let lock = batch.header("etag").unwrap().trim_matches('"').to_owned();
    assert_eq!(receive().await.status, StatusCode::NO_CONTENT);

    let path = format!("/messages/servicebound/feedback/{lock}/abandon");
    let abandoned = ask(&hub, Method::POST, &path).send().await;
    assert_eq!(abandoned.status, StatusCode::NO_CONTENT);

    let again = receive().await;
    assert_eq!(again.json(), records);
    let lock = again.header("etag").unwrap().replace('"', "%22");
    let path = format!("/messages/serviceBound/feedback/{lock}");
    let complete = || ask(&hub, Method::DELETE, &path);
    assert_eq!(complete().send().await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        complete().code().await,
        refused(412, "DeviceMessageLockLost")
    );
    assert_eq!(receive().await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_lock_that_is_none_is_refused() {
    let hub = TestHub::new().await;
    let delete = ask(
        &hub,
        Method::DELETE,
        "/messages/serviceBound/feedback/nonsense",
    );
    assert_eq!(delete.code().await, refused(400, "ArgumentInvalid"));
    let body = json!({});
    let get = ask(&hub, Method::POST, "/messages/serviceBound/feedback").body(&body);
    assert_eq!(get.code().await, refused(405, "GenericMethodNotAllowed"));
}
