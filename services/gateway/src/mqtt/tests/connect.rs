//! CONNECT and its answers (mqtt.md §2, §3).

use std::time::Duration;

use downlink_domain::access::Actor;
use downlink_domain::device::{DeviceStatus, IfMatch};
use downlink_mqtt::packet::{ClientPacket, Connect, Qos, ServerPacket};
use downlink_testkit::a_device_spec;

use super::client::{ACCEPTED, Client, NOT_AUTHORIZED, RESUMED, UNAVAILABLE, connect_of};
use crate::fakes::TestHub;

const METHODS: &str = "$iothub/methods/POST/#";

#[tokio::test]
async fn a_device_with_its_key_is_let_in() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (client, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, ACCEPTED);
    assert_eq!(hub.shared.metrics.devices.value(), 1);
    client.disconnect().await;
    assert_eq!(hub.shared.metrics.devices.value(), 0);
}

#[tokio::test]
async fn ids_with_every_allowed_character_connect() {
    let hub = TestHub::new().await;
    let device = hub.device("aZ09-:.+%_#*?!(),=@;$'").await;
    let (_client, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, ACCEPTED);
}

#[tokio::test]
async fn the_hub_is_named_without_case() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let connect = connect_of(&hub, &device).with_username("HUB.Test/dev-1/?api-version=1");
    let (_client, connack) = Client::connect_as(&hub, connect).await;
    assert_eq!(connack, ACCEPTED);
}

#[tokio::test]
async fn every_wrong_name_or_credential_is_refused_with_code_five() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let other = hub.device("dev-2").await;
    let good = || connect_of(&hub, &device);
    let without_password = Connect {
        password: None,
        ..good()
    };
    for connect in [
        good().with_password(hub.device_token(&other)),
        good().with_password("SharedAccessSignature sr=x"),
        good().with_password(vec![0xFF]),
        good().with_password(""),
        without_password,
        good().with_username("other.test/dev-1/?api-version=1"),
        good().with_username("hub.test/dev-2/?api-version=1"),
        good().with_username("dev-1"),
        good().with_username("hub.test/dev 1/?api-version=1"),
        Connect {
            client_id: "nobody".to_owned(),
            ..good()
        }
        .with_username("hub.test/nobody/?api-version=1"),
    ] {
        let shown = format!("{connect:?}");
        let (mut client, connack) = Client::connect_as(&hub, connect).await;
        assert_eq!(connack, NOT_AUTHORIZED, "{shown}");
        client.expect_close().await;
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let connect = connect_of(&hub, &device);
    hub.clock.advance(Duration::from_hours(2));
    let (_client, connack) = Client::connect_as(&hub, connect).await;
    assert_eq!(connack, NOT_AUTHORIZED);
}

#[tokio::test]
async fn a_disabled_device_gets_the_configured_code() {
    for (setting, expected) in [(5, NOT_AUTHORIZED), (3, UNAVAILABLE)] {
        let hub = TestHub::with(|options| options.mqtt.disabled_connack = setting).await;
        let device = hub.device("dev-1").await;
        let mut spec = a_device_spec();
        spec.status = DeviceStatus::Disabled;
        let twins = &hub.shared.peers.twins;
        twins
            .put_device(
                device.hub.clone(),
                device.name.clone(),
                spec,
                IfMatch::Any,
                Actor::operator(),
            )
            .await
            .unwrap();
        let (mut client, connack) = Client::connect(&hub, &device).await;
        assert_eq!(connack, expected);
        client.expect_close().await;
    }
}

#[tokio::test]
async fn a_hub_that_cannot_be_asked_says_come_again() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    hub.backend.set_down(true);
    let (mut client, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, UNAVAILABLE);
    client.expect_close().await;
}

#[tokio::test]
async fn another_protocol_level_is_told_so() {
    let hub = TestHub::new().await;
    for (packet, answer) in [
        (&b"\x10\x07\0\x04MQTT\x05"[..], &[0x20, 3, 0, 0x84, 0][..]),
        (b"\x10\x09\0\x06MQIsdp\x03", &[0x20, 2, 0, 1]),
    ] {
        let mut client = Client::dial(&hub);
        client.send_bytes(packet).await;
        assert_eq!(client.read_to_close().await, answer);
    }
}

#[tokio::test]
async fn what_is_not_a_connect_is_closed_without_a_word() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut too_large = connect_of(&hub, &device);
    too_large.password = Some(vec![b'x'; 9000].into());
    for first in [
        ClientPacket::Pingreq,
        ClientPacket::Disconnect,
        too_large.into(),
    ] {
        let mut client = Client::dial(&hub);
        client.send(first).await;
        client.expect_close().await;
    }
    for noise in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\xff\xff\xff\xff\xff\xff",
        b"\x10\xff\xff\xff\x7f",
    ] {
        let mut client = Client::dial(&hub);
        client.send_bytes(noise).await;
        client.expect_close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_or_not_enough_is_closed_at_the_deadline() {
    let hub = TestHub::new().await;
    let started = tokio::time::Instant::now();
    let silent = Client::dial(&hub);
    let mut slow = Client::dial(&hub);
    slow.send_bytes(b"\x10\x40\0\x04MQ").await;
    assert!(silent.read_to_close().await.is_empty());
    assert!(slow.read_to_close().await.is_empty());
    assert_eq!(
        started.elapsed().as_secs(),
        hub.shared.options.mqtt.connect_deadline.as_secs()
    );
}

#[tokio::test]
async fn a_connect_may_come_byte_by_byte_with_packets_right_behind_it() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut wire = bytes::BytesMut::new();
    ClientPacket::from(connect_of(&hub, &device))
        .encode(&mut wire)
        .unwrap();
    let (head, last) = wire.split_at(wire.len() - 1);
    let mut client = Client::dial(&hub);
    for byte in head {
        client.send_bytes(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    let ping_twice = [last, &[0xC0, 0], &[0xC0, 0]].concat();
    client.send_bytes(&ping_twice).await;
    assert_eq!(
        client.connack().await,
        ACCEPTED,
        "nothing comes before CONNACK"
    );
    assert_eq!(client.next().await, Some(ServerPacket::Pingresp));
    assert_eq!(client.next().await, Some(ServerPacket::Pingresp));
}

#[tokio::test]
async fn a_session_is_present_once_a_subscription_has_been_stored() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, first) = Client::connect(&hub, &device).await;
    client.subscribe(METHODS, Qos::AtMostOnce).await;
    client.disconnect().await;
    let (client, second) = Client::connect(&hub, &device).await;
    assert_eq!((first, second), (ACCEPTED, RESUMED));
    let handle = hub.shared.connections.find(device.key).unwrap();
    assert!(
        handle.subscriptions().methods,
        "active before any SUBSCRIBE"
    );
    client.disconnect().await;
}

#[tokio::test]
async fn a_clean_session_deletes_the_stored_one_and_stores_none() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(METHODS, Qos::AtMostOnce).await;
    client.disconnect().await;
    let clean = Connect {
        clean_session: true,
        ..connect_of(&hub, &device)
    };
    let (mut client, connack) = Client::connect_as(&hub, clean).await;
    assert_eq!(connack, ACCEPTED);
    assert!(
        !hub.shared
            .connections
            .find(device.key)
            .unwrap()
            .subscriptions()
            .methods
    );
    client.subscribe(METHODS, Qos::AtMostOnce).await;
    client.disconnect().await;
    let (_client, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, ACCEPTED);
}

#[tokio::test]
async fn a_stored_session_that_cannot_be_read_counts_as_none() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let stored = bytes::Bytes::from_static(b"\x09nonsense");
    let twins = &hub.shared.peers.twins;
    twins
        .save_sessions(vec![(device.key, Some(stored))])
        .await
        .unwrap();
    let (_client, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, ACCEPTED);
}
