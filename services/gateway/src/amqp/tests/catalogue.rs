//! Every cause of the catalogue through the door (errors-limits.md §4).

use downlink_amqp::message::{Body, Message, Properties};
use downlink_amqp::performative::{DeliveryState, SenderSettleMode};
use downlink_amqp::types::{Symbol, Value};
use downlink_domain::ErrorCode;

use super::client::{COMMANDS, Client, command, receiver, sender};
use super::*;

const TWIN: &str = "/devices/dev-1/twin";

#[tokio::test]
async fn every_cause_rejects_a_command_with_its_condition_and_its_number() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    for code in ErrorCode::ALL {
        hub.backend.refuse(*code);
        let state = client.send_and_wait(0, &command("dev-1", "m")).await;
        let DeliveryState::Rejected(Some(error)) = state else {
            panic!("{code:?}: {state:?}")
        };
        assert_eq!(error.condition.as_str(), code.amqp().as_str(), "{code:?}");
        let number = i32::try_from(code.number()).unwrap();
        let said = error.info.iter().map(|(_, value)| value);
        assert!(said.clone().any(|value| *value == Value::Int(number)));
    }
}

#[tokio::test]
async fn every_cause_answers_a_twin_request_with_its_status() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    let mut requests = sender(0, TWIN);
    requests.snd_settle_mode = Some(SenderSettleMode::Settled);
    let mut replies = receiver(1, TWIN);
    replies.snd_settle_mode = Some(SenderSettleMode::Settled);
    client.attach(requests).await;
    client.attach(replies).await;
    client.credit(1, 0, 1000).await;
    for code in ErrorCode::ALL {
        hub.backend.refuse(*code);
        let request = Message {
            annotations: vec![(Symbol::from_static("operation"), Value::from("GET"))],
            properties: Properties {
                correlation_id: Some("1".into()),
                ..Properties::default()
            },
            body: Body::Data(" ".into()),
            ..Message::default()
        };
        client.send_settled(0, &request).await;
        let (_, reply) = client.transfer().await;
        let status = Value::Int(code.http_status().into());
        assert_eq!(reply.annotation("status"), Some(&status), "{code:?}");
        let Body::Data(body) = &reply.body else {
            panic!("{code:?}: {:?}", reply.body)
        };
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        assert_eq!(body["errorCode"], code.number());
    }
}
