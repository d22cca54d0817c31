//! Twins (amqp.md §7).

use downlink_amqp::message::{Body, Message, MessageId, Properties};
use downlink_amqp::performative::{
    Attach, DeliveryState, Performative, ReceiverSettleMode, SenderSettleMode, Transfer,
};
use downlink_amqp::types::{Symbol, Value};
use serde_json::{Value as Json, json};

use super::client::{Client, receiver, rejection, sender};
use super::*;
use crate::fakes::FrailDirectory;

/// Handles of the two links.
const REQUESTS: u32 = 0;
const REPLIES: u32 = 1;
const ADDRESS: &str = "/devices/dev-1/twin";
const NOTIFICATIONS: &str = "/notifications/twin/properties/desired";

/// How an SDK uses the links.
struct Sdk {
    address: &'static str,
    is_sender_first: bool,
    requests_snd: SenderSettleMode,
    replies_snd: Option<SenderSettleMode>,
    credit: u32,
    /// A correlation-id of its making.
    id: fn(u8) -> MessageId,
    /// What it sends with a request that needs no body.
    blank: fn() -> Body,
    /// Whether it names a version without saying which.
    has_null_version: bool,
}

const NODE: Sdk = Sdk {
    address: ADDRESS,
    is_sender_first: true,
    requests_snd: SenderSettleMode::Settled,
    replies_snd: Some(SenderSettleMode::Settled),
    credit: 1000,
    id: |number| format!("0000-{number}").as_str().into(),
    blank: || Body::Data(" ".into()),
    has_null_version: false,
};
const CSHARP: Sdk = Sdk {
    address: "amqps://hub.test:5671/devices/dev-1/twin",
    is_sender_first: false,
    credit: 50,
    id: |number| format!("Patch{number}").as_str().into(),
    blank: || Body::Empty,
    has_null_version: true,
    ..NODE
};
const JAVA: Sdk = Sdk {
    is_sender_first: false,
    requests_snd: SenderSettleMode::Unsettled,
    replies_snd: None,
    credit: 1024,
    id: |number| MessageId::Uuid([number; 16]),
    blank: || Body::Empty,
    ..NODE
};
const C: Sdk = Sdk {
    address: "amqps://hub.test/devices/dev-1/twin",
    credit: 10_000,
    ..NODE
};

impl Sdk {
    fn requests(&self) -> Attach {
        Attach {
            snd_settle_mode: Some(self.requests_snd),
            rcv_settle_mode: Some(ReceiverSettleMode::First),
            ..sender(REQUESTS, self.address)
        }
    }

    fn replies(&self) -> Attach {
        Attach {
            snd_settle_mode: self.replies_snd,
            rcv_settle_mode: Some(ReceiverSettleMode::First),
            ..receiver(REPLIES, self.address)
        }
    }

    async fn attach(&self, client: &mut Client) {
        let mut attaches = [self.replies(), self.requests()];
        if self.is_sender_first {
            attaches.reverse();
        }
        for attach in attaches {
            let (snd, rcv) = (attach.snd_settle_mode, attach.rcv_settle_mode);
            let echo = client.attach(attach).await;
            assert_eq!((echo.snd_settle_mode, echo.rcv_settle_mode), (snd, rcv));
        }
    }

    fn request(&self, number: u8, operation: &str, resource: Option<&str>) -> Message {
        let annotation = |name, value: &str| (Symbol::from_static(name), Value::from(value));
        let operation = annotation("operation", operation);
        let resource = resource.map(|resource| annotation("resource", resource));
        let version = (Symbol::from_static("version"), Value::Null);
        let version = self.has_null_version.then_some(version);
        Message {
            annotations: [operation]
                .into_iter()
                .chain(resource)
                .chain(version)
                .collect(),
            properties: Properties {
                correlation_id: Some((self.id)(number)),
                ..Properties::default()
            },
            body: (self.blank)(),
            ..Message::default()
        }
    }

    fn get(&self, number: u8) -> Message {
        self.request(number, "GET", None)
    }

    fn patch(&self, number: u8, patch: &str) -> Message {
        Message {
            body: Body::Data(patch.to_owned().into()),
            ..self.request(number, "PATCH", Some("/properties/reported"))
        }
    }

    fn put(&self, number: u8) -> Message {
        self.request(number, "PUT", Some(NOTIFICATIONS))
    }

    fn delete(&self, number: u8) -> Message {
        self.request(number, "DELETE", Some(NOTIFICATIONS))
    }

    /// Sends a request, and takes its disposition, if one is due, and its reply.
    async fn ask(&self, client: &mut Client, request: &Message) -> Message {
        if self.requests_snd == SenderSettleMode::Settled {
            client.send_settled(REQUESTS, request).await;
        } else {
            let state = client.send_and_wait(REQUESTS, request).await;
            assert_eq!(state, DeliveryState::Accepted);
        }
        let (transfer, reply) = client.transfer().await;
        assert_settled(&transfer);
        let id = request.properties.correlation_id.clone();
        assert_eq!(reply.properties.correlation_id, id);
        assert_eq!(reply.annotation("resource"), None);
        reply
    }

    /// Sends a request that succeeds.
    async fn ask_well(&self, client: &mut Client, request: &Message) -> Message {
        let reply = self.ask(client, request).await;
        assert_eq!(status_of(&reply), 200);
        reply
    }
}

#[track_caller]
fn assert_settled(transfer: &Transfer) {
    assert_eq!((transfer.handle, transfer.settled), (REPLIES, Some(true)));
    assert_eq!(transfer.message_format, Some(0));
    let tag = transfer.delivery_tag.unwrap();
    assert_eq!(tag.as_slice().len(), 16);
}

#[track_caller]
fn status_of(reply: &Message) -> i32 {
    match reply.annotation("status") {
        Some(Value::Int(status)) => *status,
        other => panic!("no int: {other:?}"),
    }
}

#[track_caller]
fn json_of(message: &Message) -> Json {
    let Body::Data(data) = &message.body else {
        panic!("no single data section: {:?}", message.body)
    };
    serde_json::from_slice(data).unwrap()
}

async fn next_change(client: &mut Client) -> (i64, Json) {
    let (transfer, message) = client.transfer().await;
    assert_settled(&transfer);
    assert_eq!(message.properties.correlation_id, None);
    let resource = message.annotation("resource");
    assert_eq!(resource, Some(&Value::from("/properties/desired")));
    let Some(Value::Long(version)) = message.annotation("version") else {
        panic!("no version")
    };
    (*version, json_of(&message))
}

async fn without_credit() -> (TestHub, Device, Client) {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    NODE.attach(&mut client).await;
    (hub, device, client)
}

async fn attached() -> (TestHub, Device, Client) {
    let (hub, device, mut client) = without_credit().await;
    client.credit(REPLIES, 0, NODE.credit).await;
    (hub, device, client)
}

#[tokio::test]
async fn the_twin_is_read_written_and_watched_as_each_sdk_does() {
    for sdk in [NODE, CSHARP, JAVA, C] {
        let hub = TestHub::new().await;
        let device = hub.device("dev-1").await;
        let mut client = Client::with_device(&hub, &device).await;
        sdk.attach(&mut client).await;
        client.credit(REPLIES, 0, sdk.credit).await;

        let reply = sdk.ask_well(&mut client, &sdk.put(1)).await;
        assert_eq!((reply.annotations.len(), reply.body), (1, Body::Empty));

        let reply = sdk.ask_well(&mut client, &sdk.get(2)).await;
        let fresh = json!({"desired": {"$version": 1}, "reported": {"$version": 1}});
        assert_eq!(json_of(&reply), fresh);
        assert_eq!(reply.annotation("version"), None);

        let reply = sdk
            .ask_well(&mut client, &sdk.patch(3, r#"{"a":{"b":1}}"#))
            .await;
        assert_eq!(reply.annotation("version"), Some(&Value::Long(2)));
        assert_eq!(reply.body, Body::Empty);

        hub.patch_desired(&device, json!({"on": true})).await;
        let (version, change) = next_change(&mut client).await;
        assert_eq!((version, change), (2, json!({"on": true, "$version": 2})));

        let reply = sdk.ask_well(&mut client, &sdk.get(4)).await;
        let whole = json!({
            "desired": {"on": true, "$version": 2},
            "reported": {"a": {"b": 1}, "$version": 2},
        });
        assert_eq!(json_of(&reply), whole);

        let reply = sdk.ask_well(&mut client, &sdk.delete(5)).await;
        assert_eq!(reply.body, Body::Empty);
        hub.patch_desired(&device, json!({"on": false})).await;
        client.assert_silent().await;
    }
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_their_order() {
    let (_hub, _device, mut client) = attached().await;
    let requests = [
        NODE.patch(1, r#"{"n":1}"#),
        NODE.get(2),
        NODE.patch(3, "["),
        NODE.put(4),
        NODE.patch(5, r#"{"n":2}"#),
        NODE.get(6),
    ];
    for request in &requests {
        client.send_settled(REQUESTS, request).await;
    }
    let mut statuses = Vec::new();
    let mut read = Vec::new();
    for request in requests {
        let (_, reply) = client.transfer().await;
        let id = request.properties.correlation_id;
        assert_eq!(reply.properties.correlation_id, id);
        statuses.push(status_of(&reply));
        if reply.body != Body::Empty {
            read.push(json_of(&reply)["reported"]["n"].clone());
        }
    }
    assert_eq!(statuses, [200, 200, 400, 200, 200, 200]);
    assert_eq!(read, [json!(1), Json::Null, json!(2)]);
}

#[tokio::test]
async fn a_version_that_is_not_the_current_one_is_refused() {
    let (_hub, _device, mut client) = attached().await;
    let mut request = NODE.patch(1, r#"{"a":1}"#);
    let version = Symbol::from_static("version");
    request.annotations.push((version, Value::Int(7)));
    let reply = NODE.ask(&mut client, &request).await;
    assert_eq!(status_of(&reply), 412);
    assert_eq!(json_of(&reply)["errorCode"], 412_001);
}

#[tokio::test]
async fn a_bad_request_is_answered_in_json_and_the_links_stay() {
    let (_hub, _device, mut client) = attached().await;
    for request in [
        NODE.patch(1, "{"),
        NODE.patch(2, "[]"),
        NODE.patch(3, r#"{"$bad":1}"#),
        NODE.request(4, "POST", None),
        NODE.request(5, "PATCH", Some("/properties/desired")),
    ] {
        let reply = NODE.ask(&mut client, &request).await;
        assert_eq!(status_of(&reply), 400);
        let body = json_of(&reply);
        assert_eq!(body["errorCode"], 400_004);
        assert!(body["message"].is_string() && body["trackingId"].is_string());
    }
    NODE.ask_well(&mut client, &NODE.get(6)).await;
}

#[tokio::test]
async fn a_request_that_cannot_be_answered_is_rejected_with_a_reason() {
    let (_hub, _device, mut client) = attached().await;
    let mut request = JAVA.get(1);
    request.properties.correlation_id = None;
    client.leave(REQUESTS).await;
    client.attach(JAVA.requests()).await;
    let state = client.send_and_wait(REQUESTS, &request).await;
    assert_eq!(rejection(state), "com.microsoft:argument-error");
    JAVA.ask_well(&mut client, &JAVA.get(2)).await;
}

#[tokio::test]
async fn an_unreachable_service_is_an_answer_too() {
    let (hub, _device, mut client) = attached().await;
    hub.backend.set_down(true);
    let reply = NODE.ask(&mut client, &NODE.get(1)).await;
    assert_eq!(status_of(&reply), 503);
    assert_eq!(json_of(&reply)["errorCode"], 503_001);
}

#[tokio::test]
async fn replies_wait_for_credit_and_hold_back_further_requests() {
    let (_hub, _device, mut client) = without_credit().await;
    for number in 0..8 {
        client.send_settled(REQUESTS, &NODE.get(number)).await;
    }
    client.assert_silent().await;
    client.credit(REPLIES, 0, 8).await;
    for number in 0..8 {
        let (_, reply) = client.transfer().await;
        let id = reply.properties.correlation_id;
        assert_eq!(id, Some((NODE.id)(number)));
    }
}

/// Reads on to the echo of a link that is not used; returns how many requests the hub has let the
/// client send in all, if it has said so meanwhile.
async fn allowed_requests(client: &mut Client) -> Option<u32> {
    client.write(receiver(50, "$cbs")).await;
    let mut allowed = None;
    loop {
        match client.frame().await.0 {
            Performative::Flow(flow) if flow.handle == Some(REQUESTS) => {
                allowed = Some(flow.delivery_count.unwrap() + flow.link_credit.unwrap());
            }
            Performative::Attach(echo) => {
                client.leave(echo.handle).await;
                return allowed;
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_no_reply_may_send_no_more_than_a_few_requests() {
    let (_hub, _device, mut client) = without_credit().await;
    for number in 0..8 {
        client.send_settled(REQUESTS, &NODE.get(number)).await;
    }
    // The first is worked on and has left its place, the others wait.
    let allowed = allowed_requests(&mut client).await;
    assert!(allowed.unwrap_or(8) <= 9, "{allowed:?}");
    client.credit(REPLIES, 0, 8).await;
    let mut allowed = 0;
    let mut replies = 0;
    while replies < 8 || allowed <= 9 {
        match client.frame().await.0 {
            Performative::Flow(flow) if flow.handle == Some(REQUESTS) => {
                allowed = flow.delivery_count.unwrap() + flow.link_credit.unwrap();
            }
            Performative::Transfer(_) => replies += 1,
            other => panic!("nothing else is due: {other:?}"),
        }
    }
}

#[tokio::test]
async fn subscribing_again_changes_nothing_and_changes_come_once_in_their_order() {
    let (hub, device, mut client) = attached().await;
    for number in 0..3 {
        NODE.ask_well(&mut client, &NODE.put(number)).await;
    }
    for number in 2..6 {
        hub.patch_desired(&device, json!({"n": number})).await;
    }
    for version in 2..6 {
        assert_eq!(next_change(&mut client).await.0, version);
    }
    client.assert_silent().await;
}

#[tokio::test]
async fn the_reply_to_a_subscription_goes_before_the_first_change() {
    let (hub, device, mut client) = without_credit().await;
    client.send_settled(REQUESTS, &NODE.put(1)).await;
    until_subscribed(&hub, &device, |wanted| wanted.desired).await;
    hub.patch_desired(&device, json!({"n": 1})).await;
    client.assert_silent().await;
    client.credit(REPLIES, 0, 10).await;
    let (_, reply) = client.transfer().await;
    assert_eq!(reply.properties.correlation_id, Some((NODE.id)(1)));
    assert_eq!(next_change(&mut client).await.0, 2);
}

#[tokio::test]
async fn a_device_that_did_not_ask_is_told_of_no_change() {
    let (hub, device, mut client) = attached().await;
    NODE.ask_well(&mut client, &NODE.get(1)).await;
    hub.patch_desired(&device, json!({"n": 1})).await;
    client.assert_silent().await;
}

#[tokio::test]
async fn detaching_either_link_ends_the_subscription() {
    for handle in [REQUESTS, REPLIES] {
        let (hub, device, mut client) = attached().await;
        NODE.ask_well(&mut client, &NODE.put(1)).await;
        client.leave(handle).await;
        until_subscribed(&hub, &device, |wanted| !wanted.desired).await;
        let again = if handle == REQUESTS {
            NODE.requests()
        } else {
            NODE.replies()
        };
        client.attach(again).await;
        // A new link counts from its beginning.
        let replies = u32::from(handle == REQUESTS);
        client.credit(REPLIES, replies, 10).await;
        hub.patch_desired(&device, json!({"n": 1})).await;
        client.assert_silent().await;
        NODE.ask_well(&mut client, &NODE.put(2)).await;
        hub.patch_desired(&device, json!({"n": 2})).await;
        assert_eq!(next_change(&mut client).await.0, 3);
    }
}

#[tokio::test]
async fn a_device_that_takes_no_changes_gets_what_waits_and_then_the_whole_section() {
    let (hub, device, mut client) = without_credit().await;
    client.credit(REPLIES, 0, 1).await;
    NODE.ask_well(&mut client, &NODE.put(1)).await;
    let last = 101;
    for number in 1..last {
        hub.patch_desired(&device, json!({"n": number})).await;
        client.assert_silent().await;
    }
    client.credit(REPLIES, 1, 1000).await;
    let mut versions = vec![next_change(&mut client).await.0];
    while versions.last() != Some(&last) {
        versions.push(next_change(&mut client).await.0);
    }
    // Sixteen wait; of those after them the hub of these tests keeps too few.
    let expected: Vec<i64> = (2..=17).chain([last]).collect();
    assert_eq!(versions, expected);
}

#[tokio::test]
async fn a_device_that_names_its_version_is_told_every_change_since() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    for n in 2..=4 {
        hub.patch_desired(&device, json!({ "n": n })).await;
    }
    let mut client = Client::with_device(&hub, &device).await;
    NODE.attach(&mut client).await;
    client.credit(REPLIES, 0, 10).await;
    let mut put = NODE.put(1);
    put.annotations
        .push((Symbol::from_static("version"), Value::Long(2)));
    NODE.ask_well(&mut client, &put).await;
    hub.patch_desired(&device, json!({"n": 5})).await;
    for version in 3..=5 {
        let (told, body) = next_change(&mut client).await;
        assert_eq!((told, &body["n"]), (version, &json!(version)));
    }
}

#[tokio::test]
async fn a_request_waits_for_the_link_of_its_reply() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(JAVA.requests()).await;
    let delivery = client.send(REQUESTS, &JAVA.put(1)).await;
    client.assert_silent().await;
    client.attach(JAVA.replies()).await;
    client.credit(REPLIES, 0, 10).await;
    let disposition = client.disposition().await;
    assert_eq!((disposition.first, disposition.settled), (delivery, true));
    assert_eq!(disposition.state, Some(DeliveryState::Accepted));
    let (_, reply) = client.transfer().await;
    assert_eq!(status_of(&reply), 200);
}

#[tokio::test]
async fn a_subscription_that_cannot_be_made_is_rejected_and_told() {
    let directory = FrailDirectory::new();
    let hub = TestHub::with_directory(&directory, |_| {}).await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    JAVA.attach(&mut client).await;
    client.credit(REPLIES, 0, 10).await;
    JAVA.ask_well(&mut client, &JAVA.get(1)).await;
    directory.set_away(true);
    let state = client.send_and_wait(REQUESTS, &JAVA.put(2)).await;
    assert_eq!(rejection(state), "com.microsoft:timeout");
    let (_, reply) = client.transfer().await;
    assert_eq!(status_of(&reply), 503);
    directory.set_away(false);
    JAVA.ask_well(&mut client, &JAVA.put(3)).await;
}

#[tokio::test]
async fn devices_on_one_session_each_have_their_own_twin() {
    let hub = TestHub::new().await;
    let mut client = Client::open(&hub).await;
    let mut devices = Vec::new();
    for (index, name) in (0_u32..).zip(["a", "b"]) {
        let device = hub.device(name).await;
        let token = hub.device_token(&device);
        let put = match index {
            0 => client.put_token(&token).await,
            _ => client.renew_token(&token).await,
        };
        assert_eq!(put.0, 200);
        let address = format!("/devices/{name}/twin");
        let (requests, replies) = (index * 2, index * 2 + 1);
        client.attach(sender(requests, &address)).await;
        client.attach(receiver(replies, &address)).await;
        client.credit(replies, 0, 100).await;
        devices.push(device);
    }
    for requests in [0, 2] {
        client.send_settled(requests, &NODE.put(1)).await;
        let (transfer, reply) = client.transfer().await;
        assert_eq!(transfer.handle, requests + 1);
        assert_eq!(status_of(&reply), 200);
    }
    hub.patch_desired(&devices[1], json!({"of": "b"})).await;
    let (transfer, change) = client.transfer().await;
    assert_eq!(
        (transfer.handle, json_of(&change)["of"].clone()),
        (3, json!("b"))
    );
    hub.patch_desired(&devices[0], json!({"of": "a"})).await;
    let (transfer, change) = client.transfer().await;
    assert_eq!(
        (transfer.handle, json_of(&change)["of"].clone()),
        (1, json!("a"))
    );
}
