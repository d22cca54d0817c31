//! Every cause of the catalogue through the door.

use downlink_domain::ErrorCode;
use downlink_domain::code::Connack as Answer;
use downlink_mqtt::packet::{Connack, ConnectReturnCode, Qos};
use serde_json::Value;

use super::client::Client;
use crate::fakes::TestHub;

#[tokio::test]
async fn every_cause_answers_a_twin_request_with_its_status_and_its_number() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client
        .subscribe("$iothub/twin/res/#", Qos::AtLeastOnce)
        .await;
    for code in ErrorCode::ALL {
        hub.backend.refuse(*code);
        client.publish("$iothub/twin/GET/?$rid=1", None, "").await;
        let answer = client.next_publish().await;
        let topic = format!("$iothub/twin/res/{}/?$rid=1", code.http_status());
        assert_eq!(answer.topic, topic, "{code:?}");
        let body: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(body["errorCode"], code.number());
    }
}

#[tokio::test]
async fn every_cause_answers_connect_by_whether_it_passes() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    for code in ErrorCode::ALL {
        hub.backend.refuse(*code);
        let (_, connack) = Client::connect(&hub, &device).await;
        let expected = match code.connack() {
            Answer::ServerUnavailable => ConnectReturnCode::ServerUnavailable,
            Answer::NotAuthorized => ConnectReturnCode::NotAuthorized,
        };
        assert_eq!(connack, Connack::Refused(expected), "{code:?}");
    }
}
