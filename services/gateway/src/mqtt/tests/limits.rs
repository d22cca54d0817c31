//! Rates of devices and of the hub, as devices on MQTT meet them.

use std::time::Duration;

use downlink_domain::limits::{DeviceOperation, HubOperation};
use downlink_mqtt::packet::{Connack, ConnectReturnCode, Qos, ServerPacket};
use tokio::time::Instant;

use super::client::{Client, connect_of, id};
use crate::fakes::TestHub;
use crate::options::GatewayOptions;

const RESPONSES: &str = "$iothub/twin/res/#";

fn of_devices(operation: DeviceOperation, rate: &str) -> impl FnOnce(&mut GatewayOptions) {
    let rate = rate.parse().unwrap();
    move |options| options.limits.plan.device.set(operation, Some(rate))
}

fn events(device: &str) -> String {
    format!("devices/{device}/messages/events/")
}

async fn acknowledged(client: &mut Client, packet_id: u16) {
    assert_eq!(
        client.next().await,
        Some(ServerPacket::Puback(id(packet_id)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_greedy_device_is_slowed_to_its_rate_and_nothing_of_it_is_lost() {
    let limit = of_devices(DeviceOperation::Telemetry, "10/s burst 10");
    let hub = TestHub::with(limit).await;
    let greedy = hub.device("greedy").await;
    let (mut client, _) = Client::connect(&hub, &greedy).await;
    let start = Instant::now();
    for number in 1..=60 {
        client.publish(&events("greedy"), Some(number), "x").await;
    }
    for number in 1..=60 {
        acknowledged(&mut client, number).await;
    }
    let elapsed = start.elapsed().as_secs_f64();
    assert!((4.9..5.3).contains(&elapsed), "{elapsed}");
    assert_eq!(hub.telemetry().await.len(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_neighbours_of_a_greedy_device_do_not_wait_behind_it() {
    let hub = TestHub::with(|options| {
        let rate = "10/s burst 1".parse().unwrap();
        let rates = &mut options.limits.plan.hub;
        rates.set(HubOperation::Telemetry, Some(rate));
    })
    .await;
    let greedy = hub.device("greedy").await;
    let (mut greedy, _) = Client::connect(&hub, &greedy).await;
    for number in 1..=200 {
        greedy.publish(&events("greedy"), Some(number), "x").await;
    }
    let quiet = hub.device("quiet").await;
    let (mut quiet, _) = Client::connect(&hub, &quiet).await;
    for number in 1..=20 {
        let start = Instant::now();
        quiet.publish(&events("quiet"), Some(number), "x").await;
        acknowledged(&mut quiet, number).await;
        // Behind one message of the other, not behind two hundred.
        let waited = start.elapsed();
        assert!(waited <= Duration::from_millis(350), "{waited:?}");
    }
    for number in 1..=200 {
        acknowledged(&mut greedy, number).await;
    }
    assert_eq!(hub.telemetry().await.len(), 220);
}

#[tokio::test(start_paused = true)]
async fn a_device_gains_nothing_by_connecting_again() {
    let limit = of_devices(DeviceOperation::Telemetry, "1/s burst 5");
    let hub = TestHub::with(limit).await;
    let device = hub.device("dev-1").await;
    let start = Instant::now();
    for _ in 0..4 {
        let (mut client, _) = Client::connect(&hub, &device).await;
        for number in 1..=5 {
            client.publish(&events("dev-1"), Some(number), "x").await;
        }
        for number in 1..=5 {
            acknowledged(&mut client, number).await;
        }
        client.disconnect().await;
        hub.until_gone(&device).await;
    }
    let elapsed = start.elapsed().as_secs_f64();
    assert!((14.0..17.0).contains(&elapsed), "{elapsed}");
}

#[tokio::test(start_paused = true)]
async fn twin_requests_above_the_rate_wait_and_then_are_answered_429() {
    let limit = of_devices(DeviceOperation::TwinRead, "1/s burst 1");
    let hub = TestHub::with(limit).await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(RESPONSES, Qos::AtLeastOnce).await;
    for number in 1..=8 {
        let topic = format!("$iothub/twin/GET/?$rid={number}");
        client.publish(&topic, None, "").await;
    }
    let mut topics = Vec::new();
    for _ in 1..=8 {
        topics.push(client.next_publish().await.topic);
    }
    topics.sort();
    let expected = [1, 2, 3, 4, 5, 6].map(|rid| format!("$iothub/twin/res/200/?$rid={rid}"));
    let refused = [7, 8].map(|rid| format!("$iothub/twin/res/429/?$rid={rid}"));
    assert_eq!(topics, [&expected[..], &refused[..]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_device_that_connects_too_often_is_told_to_come_again() {
    let limit = of_devices(DeviceOperation::Connect, "1/h burst 2");
    let hub = TestHub::with(limit).await;
    let (device, other) = (hub.device("dev-1").await, hub.device("dev-2").await);
    for _ in 0..2 {
        let (_, connack) = Client::connect(&hub, &device).await;
        assert!(matches!(connack, Connack::Accepted { .. }));
    }
    let (_, refused) = Client::connect_as(&hub, connect_of(&hub, &device)).await;
    let unavailable = Connack::Refused(ConnectReturnCode::ServerUnavailable);
    assert_eq!(refused, unavailable);
    let (_, connack) = Client::connect(&hub, &other).await;
    assert!(matches!(connack, Connack::Accepted { .. }));
}
