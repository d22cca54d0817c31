//! Messages of back-ends to devices: credit, settlement, redelivery.

use downlink_amqp::message::Body;
use downlink_amqp::performative::{DeliveryState, ReceiverSettleMode};
use downlink_amqp::types::Value;

use super::client::{Client, receiver, sender};
use super::*;

const DEVICEBOUND: &str = "/devices/dev-1/messages/devicebound";

async fn listening(credit: u32) -> (TestHub, Device, Client) {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(receiver(0, DEVICEBOUND)).await;
    client.credit(0, 0, credit).await;
    (hub, device, client)
}

fn body(message: &downlink_amqp::message::Message) -> &[u8] {
    match &message.body {
        Body::Data(data) => data,
        other => panic!("no data: {other:?}"),
    }
}

#[tokio::test]
async fn message_reaches_the_device_and_is_completed_by_accepted() {
    let (hub, device, mut client) = listening(10).await;
    send(&hub, &device, &["one"]).await;
    let (transfer, message) = client.transfer().await;
    assert_eq!(body(&message), b"one");
    assert_eq!(transfer.delivery_tag.unwrap().as_slice().len(), 16);
    client
        .settle(transfer.delivery_id.unwrap(), true, DeliveryState::Accepted)
        .await;
    until_count(&hub, &device, 0).await;
}
