//! Direct methods (amqp.md §6).

use bytes::Bytes;
use downlink_amqp::message::{Body, Message, MessageId, Properties};
use downlink_amqp::performative::{
    Attach, DeliveryState, Flow, Performative, ReceiverSettleMode, Role, SenderSettleMode, Transfer,
};
use downlink_amqp::types::Value;
use downlink_domain::method::{MethodAnswer, MethodError};

use super::client::{Client, receiver, rejection, sender};
use super::*;

/// Handles of the two links.
const CALLS: u32 = 0;
const ANSWERS: u32 = 1;
const ADDRESS: &str = "/devices/dev-1/methods/devicebound";

/// How an SDK uses the links.
struct Sdk {
    address: &'static str,
    is_sender_first: bool,
    snd: Option<SenderSettleMode>,
    answers_snd: Option<SenderSettleMode>,
    rcv: Option<ReceiverSettleMode>,
    credit: u32,
    /// Whether it tells that a call has reached it.
    accepts_calls: bool,
    /// Whether it gives the correlation-id back as text.
    is_text: bool,
}

const NODE: Sdk = Sdk {
    address: ADDRESS,
    is_sender_first: true,
    snd: None,
    answers_snd: None,
    rcv: Some(ReceiverSettleMode::First),
    credit: 1000,
    accepts_calls: true,
    is_text: false,
};
const CSHARP: Sdk = Sdk {
    address: "amqps://hub.test:5671/devices/dev-1/methods/deviceBound",
    is_sender_first: false,
    snd: Some(SenderSettleMode::Settled),
    answers_snd: Some(SenderSettleMode::Settled),
    credit: 50,
    ..NODE
};
const JAVA: Sdk = Sdk {
    is_sender_first: false,
    answers_snd: Some(SenderSettleMode::Unsettled),
    credit: 1024,
    ..NODE
};
const C: Sdk = Sdk {
    address: "amqps://hub.test/devices/dev-1/methods/devicebound",
    answers_snd: Some(SenderSettleMode::Unsettled),
    credit: 10_000,
    ..NODE
};
/// What no SDK does, but any may.
const STRANGE: Sdk = Sdk {
    accepts_calls: false,
    is_text: true,
    ..NODE
};

impl Sdk {
    fn calls(&self) -> Attach {
        Attach {
            snd_settle_mode: self.snd,
            rcv_settle_mode: self.rcv,
            ..receiver(CALLS, self.address)
        }
    }

    fn answers(&self) -> Attach {
        Attach {
            snd_settle_mode: self.answers_snd,
            rcv_settle_mode: self.rcv,
            ..sender(ANSWERS, self.address)
        }
    }

    /// Attaches both links and waits until the hub knows of them; gives no credit.
    async fn attach(&self, client: &mut Client, hub: &TestHub, device: &Device) {
        let mut attaches = [self.calls(), self.answers()];
        if self.is_sender_first {
            attaches.reverse();
        }
        for attach in attaches {
            let (snd, rcv) = (attach.snd_settle_mode, attach.rcv_settle_mode);
            let echo = client.attach(attach).await;
            assert_eq!((echo.snd_settle_mode, echo.rcv_settle_mode), (snd, rcv));
        }
        until_subscribed(hub, device, |wanted| wanted.methods).await;
    }
}

async fn without_credit() -> (TestHub, Device, Client) {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    NODE.attach(&mut client, &hub, &device).await;
    (hub, device, client)
}

async fn callable() -> (TestHub, Device, Client) {
    let (hub, device, mut client) = without_credit().await;
    client.credit(CALLS, 0, 1000).await;
    (hub, device, client)
}

fn answer_to(call: &Message, status: i32, body: Body) -> Message {
    Message {
        properties: Properties {
            correlation_id: call.properties.correlation_id.clone(),
            ..Properties::default()
        },
        application_properties: vec![("IoThub-status".into(), Value::Int(status))],
        body,
        ..Message::default()
    }
}

fn answer(status: i32, payload: &'static str) -> MethodAnswer {
    MethodAnswer {
        status,
        payload: payload.into(),
    }
}

fn name_of(call: &Message) -> &str {
    let name = call.application_property("IoThub-methodname");
    name.and_then(Value::as_text).expect("a name")
}

#[tokio::test]
async fn a_call_and_its_answer_pass_as_each_sdk_has_them() {
    for sdk in [NODE, CSHARP, JAVA, C, STRANGE] {
        let hub = TestHub::new().await;
        let device = hub.device("dev-1").await;
        let mut client = Client::with_device(&hub, &device).await;
        sdk.attach(&mut client, &hub, &device).await;
        client.credit(CALLS, 0, sdk.credit).await;
        let call = hub.call(&device, "reboot", r#"{"in":5}"#);
        let (transfer, request) = client.transfer().await;
        let is_settled = sdk.snd == Some(SenderSettleMode::Settled);
        assert_eq!(transfer.settled == Some(true), is_settled);
        assert_eq!(transfer.handle, CALLS);
        assert_eq!(name_of(&request), "reboot");
        assert_eq!(request.body, Body::Data(r#"{"in":5}"#.into()));
        let id = request.properties.correlation_id.clone().unwrap();
        assert!(matches!(id, MessageId::Uuid(_)), "C reads no other: {id:?}");
        if sdk.accepts_calls {
            let delivery = transfer.delivery_id.unwrap();
            client.settle(delivery, true, DeliveryState::Accepted).await;
        }
        let mut reply = answer_to(&request, -5, Body::Data(r#"{"ok":1}"#.into()));
        if sdk.is_text {
            let text = id.to_text().unwrap();
            reply.properties.correlation_id = Some(MessageId::String(text));
        }
        if sdk.answers_snd == Some(SenderSettleMode::Settled) {
            client.send_settled(ANSWERS, &reply).await;
        } else {
            let state = client.send_and_wait(ANSWERS, &reply).await;
            assert_eq!(state, DeliveryState::Accepted);
        }
        assert_eq!(call.await.unwrap(), Ok(answer(-5, r#"{"ok":1}"#)));
    }
}

#[tokio::test]
async fn calls_wait_for_credit_and_go_out_in_order() {
    let (hub, device, mut client) = without_credit().await;
    let mut calls = Vec::new();
    for name in ["one", "two", "three"] {
        calls.push(hub.call(&device, name, ""));
        // The task of a call begins when it is polled; this one has been.
        tokio::task::yield_now().await;
    }
    client.assert_silent().await;
    client.credit(CALLS, 0, 2).await;
    assert_eq!(name_of(&client.transfer().await.1), "one");
    assert_eq!(name_of(&client.transfer().await.1), "two");
    client.assert_silent().await;
    client.credit(CALLS, 2, 1).await;
    let (_, request) = client.transfer().await;
    assert_eq!(name_of(&request), "three");
    let reply = answer_to(&request, 3, Body::Empty);
    client.send_and_wait(ANSWERS, &reply).await;
    assert_eq!(calls.pop().unwrap().await.unwrap(), Ok(answer(3, "")));
}

#[tokio::test]
async fn a_call_whose_caller_gave_up_does_not_reach_a_device_that_gives_credit_late() {
    let (hub, device, mut client) = without_credit().await;
    let given_up = hub.call(&device, "late", "");
    tokio::task::yield_now().await;
    client.assert_silent().await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    let _call = hub.call(&device, "wanted", "");
    client.assert_silent().await;
    client.credit(CALLS, 0, 10).await;
    assert_eq!(name_of(&client.transfer().await.1), "wanted");
}

#[tokio::test]
async fn calls_that_wait_are_bounded_by_their_bytes() {
    let (hub, device, mut client) = without_credit().await;
    let large = Bytes::from(format!("\"{}\"", "x".repeat(120_000)));
    let waiting: Vec<_> = (0..5)
        .map(|_| hub.call(&device, "wait", large.clone()))
        .collect();
    for _ in &waiting {
        tokio::task::yield_now().await;
    }
    client.assert_silent().await;
    let refused = hub.call(&device, "wait", "").await.unwrap();
    assert_eq!(refused, Err(MethodError::TooManyInFlight));
    // What waits is not lost.
    client.credit(CALLS, 0, 10).await;
    let mut received = 0;
    while received < 5 * large.len() {
        received += client.answer().await.1.len();
    }
    drop(waiting);
}

#[tokio::test]
async fn answers_find_their_callers_whatever_their_order_and_late_ones_nobody() {
    let (hub, device, mut client) = callable().await;
    let mut calls = Vec::new();
    let mut requests = Vec::new();
    for name in ["one", "two"] {
        calls.push(hub.call(&device, name, ""));
        requests.push(client.transfer().await.1);
    }
    let mut stranger = answer_to(&requests[0], 9, Body::Empty);
    stranger.properties.correlation_id = Some(MessageId::Uuid([7; 16]));
    let two = answer_to(&requests[1], 2, Body::Empty);
    let one = answer_to(&requests[0], 1, Body::Empty);
    for reply in [stranger, two, one.clone(), one] {
        let state = client.send_and_wait(ANSWERS, &reply).await;
        assert_eq!(state, DeliveryState::Accepted);
    }
    let second = calls.pop().unwrap().await.unwrap();
    let first = calls.pop().unwrap().await.unwrap();
    assert_eq!((first, second), (Ok(answer(1, "")), Ok(answer(2, ""))));
}

#[tokio::test]
async fn a_call_that_the_device_does_not_take_fails_at_once() {
    let (hub, device, mut client) = callable().await;
    let modified = DeliveryState::Modified {
        delivery_failed: true,
        undeliverable_here: true,
        annotations: None,
    };
    let states = [
        DeliveryState::Released,
        DeliveryState::Rejected(None),
        modified,
    ];
    for state in states {
        let call = hub.call(&device, "reboot", "");
        let (transfer, _) = client.transfer().await;
        let delivery = transfer.delivery_id.unwrap();
        client.settle(delivery, true, state).await;
        assert_eq!(call.await.unwrap(), Err(MethodError::BadAnswer));
    }
}

#[tokio::test]
async fn a_device_that_settles_in_two_steps_is_answered() {
    let (hub, device, mut client) = callable().await;
    let _call = hub.call(&device, "reboot", "");
    let (transfer, _) = client.transfer().await;
    let delivery = transfer.delivery_id.unwrap();
    client
        .settle(delivery, false, DeliveryState::Accepted)
        .await;
    let settled = client.disposition().await;
    assert_eq!(settled.role, Role::Sender);
    assert_eq!((settled.first, settled.settled), (delivery, true));
    assert_eq!(settled.state, Some(DeliveryState::Accepted));
}

#[tokio::test]
async fn an_answer_that_is_none_is_refused_and_ends_its_call() {
    let (hub, device, mut client) = callable().await;
    let no_json = Body::Data("{".into());
    for (has_status, body) in [(true, no_json), (false, Body::Empty)] {
        let call = hub.call(&device, "reboot", "");
        let (_, request) = client.transfer().await;
        let mut reply = answer_to(&request, 200, body);
        if !has_status {
            reply.application_properties.clear();
        }
        let state = client.send_and_wait(ANSWERS, &reply).await;
        assert_eq!(rejection(state), "com.microsoft:argument-error");
        assert_eq!(call.await.unwrap(), Err(MethodError::BadAnswer));
    }
}

#[tokio::test]
async fn an_answer_that_names_no_call_is_refused_with_a_reason() {
    let (_hub, _device, mut client) = callable().await;
    for id in [None, Some(MessageId::Ulong(1)), Some("1".into())] {
        let mut reply = answer_to(&Message::default(), 200, Body::Empty);
        reply.properties.correlation_id = id;
        let state = client.send_and_wait(ANSWERS, &reply).await;
        assert_eq!(rejection(state), "com.microsoft:argument-error");
    }
}

#[tokio::test]
async fn a_device_with_one_of_the_two_links_is_not_called() {
    for attach in [NODE.calls(), NODE.answers()] {
        let hub = TestHub::new().await;
        let device = hub.device("dev-1").await;
        let mut client = Client::with_device(&hub, &device).await;
        client.attach(attach).await;
        let outcome = hub.call(&device, "reboot", "").await.unwrap();
        assert_eq!(outcome, Err(MethodError::NotSubscribed));
    }
}

#[tokio::test]
async fn calls_fail_at_once_when_either_link_detaches_and_the_device_is_callable_no_more() {
    for handle in [CALLS, ANSWERS] {
        let (hub, device, mut client) = without_credit().await;
        client.credit(CALLS, 0, 1).await;
        let asked = hub.call(&device, "reboot", "");
        client.transfer().await;
        let waiting = hub.call(&device, "reboot", "");
        tokio::task::yield_now().await;
        client.assert_silent().await;
        client.leave(handle).await;
        assert_eq!(asked.await.unwrap(), Err(MethodError::ConnectionLost));
        assert_eq!(waiting.await.unwrap(), Err(MethodError::NotOnline));
        // A link that stays keeps the session of the device open.
        until_subscribed(&hub, &device, |wanted| !wanted.methods).await;
        let later = hub.call(&device, "reboot", "").await.unwrap();
        assert_eq!(later, Err(MethodError::NotSubscribed));
    }
}

#[tokio::test]
async fn a_device_that_attaches_again_is_called_on_its_new_link() {
    let (hub, device, mut client) = callable().await;
    client.leave(CALLS).await;
    until_subscribed(&hub, &device, |wanted| !wanted.methods).await;
    client.attach(receiver(7, ADDRESS)).await;
    client.credit(7, 0, 10).await;
    until_subscribed(&hub, &device, |wanted| wanted.methods).await;
    let call = hub.call(&device, "reboot", "");
    let (transfer, request) = client.transfer().await;
    assert_eq!(transfer.handle, 7);
    let reply = answer_to(&request, 200, Body::Empty);
    client.send_and_wait(ANSWERS, &reply).await;
    assert_eq!(call.await.unwrap(), Ok(answer(200, "")));
}

#[tokio::test]
async fn a_device_that_settles_no_call_is_called_on() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    NODE.attach(&mut client, &hub, &device).await;
    // More than the deliveries that one session may have unsettled.
    for number in 0..6000 {
        if number % 1000 == 0 {
            let flow = Flow {
                // The reply to the token was the first of the session.
                next_incoming_id: Some(2 + number),
                incoming_window: 5000,
                outgoing_window: 5000,
                handle: Some(CALLS),
                delivery_count: Some(number),
                link_credit: Some(5000),
                ..Flow::default()
            };
            client.write(flow).await;
        }
        let call = hub.call(&device, "reboot", "");
        let (_, request) = client.transfer().await;
        let reply = answer_to(&request, 200, Body::Empty);
        client.send_settled(ANSWERS, &reply).await;
        assert_eq!(call.await.unwrap(), Ok(answer(200, "")));
    }
}

#[tokio::test]
async fn a_payload_of_the_greatest_size_passes_both_ways() {
    let (hub, device, mut client) = callable().await;
    let largest = Bytes::from(format!("\"{}\"", "x".repeat(128 * 1024 - 2)));
    let call = hub.call(&device, "echo", largest.clone());
    let mut encoded = Vec::new();
    loop {
        let (performative, payload) = client.answer().await;
        let Performative::Transfer(Transfer { more, .. }) = performative else {
            panic!("no transfer")
        };
        encoded.extend_from_slice(&payload);
        if !more {
            break;
        }
    }
    let request = Message::decode(&encoded.into()).unwrap();
    assert_eq!(request.body, Body::Data(largest.clone()));
    let reply = answer_to(&request, 200, Body::Data(largest.clone()));
    client.send(ANSWERS, &reply).await;
    assert_eq!(call.await.unwrap().unwrap().payload, largest);
}
