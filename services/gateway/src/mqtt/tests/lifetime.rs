//! What keeps a connection and what ends it (mqtt.md §4, §5).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use downlink_domain::method::{MethodCall, MethodError, MethodTimeouts};
use downlink_domain::presence::{DisconnectReason, LeaseEpoch};
use downlink_mqtt::packet::{
    ClientPacket, Connect, Delivery, Publish, Qos, ServerPacket, Subscribe, SubscribeFilter,
};
use downlink_ports::{Disconnect, GatewayApi as _, MethodApi as _};
use tokio::time::Instant;

use super::super::conversation::Conversation;
use super::client::{ACCEPTED, Client, connect_of, id};
use crate::fakes::TestHub;
use crate::local::LocalGateway;

#[tokio::test]
async fn a_ping_is_answered() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.settle_down().await;
    client.settle_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_after_one_and_a_half_keep_alives() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let connect = Connect {
        keep_alive_seconds: 60,
        ..connect_of(&hub, &device)
    };
    let (mut client, _) = Client::connect_as(&hub, connect).await;
    tokio::time::advance(Duration::from_secs(80)).await;
    client.settle_down().await;
    let last_packet_at = Instant::now();
    client.expect_close().await;
    assert_eq!(last_packet_at.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn without_keep_alive_the_cap_holds() {
    let hub = TestHub::with(|options| options.mqtt.max_keep_alive = Duration::from_mins(2)).await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    let connected_at = Instant::now();
    client.expect_close().await;
    assert_eq!(connected_at.elapsed().as_secs(), 120);
}

#[tokio::test]
async fn a_connection_outlives_its_token_by_the_grace_and_no_longer() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    hub.clock
        .advance(Duration::from_hours(1) + Duration::from_mins(9));
    client.settle_down().await;
    hub.clock.advance(Duration::from_mins(1));
    client.expect_close().await;
}

#[tokio::test]
async fn what_a_client_sends_after_its_goodbye_finds_the_connection_open() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.send(ClientPacket::Disconnect).await;
    assert_eq!(client.next().await, None);
    client.send_bytes(b"the last record of TLS").await;
    client.close().await;
    client.served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_close_after_its_goodbye_is_waited_for_two_seconds() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.send(ClientPacket::Disconnect).await;
    assert_eq!(client.next().await, None);
    let said_at = Instant::now();
    hub.until_gone(&device).await;
    assert_eq!(said_at.elapsed(), Duration::ZERO, "the device has left");
    (&mut client.served).await.unwrap();
    assert_eq!(said_at.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn a_second_connection_closes_the_first() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut first, _) = Client::connect(&hub, &device).await;
    let (mut second, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, ACCEPTED);
    first.expect_close().await;
    second.settle_down().await;
}

#[tokio::test]
async fn the_hub_closes_a_connection_it_no_longer_wants() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    let gateway = LocalGateway::new(Arc::clone(&hub.shared.connections));
    let order = Disconnect {
        device: device.key,
        up_to: LeaseEpoch(u64::MAX),
        reason: DisconnectReason::Disabled,
    };
    gateway.disconnect(vec![order]).await.unwrap();
    client.expect_close().await;
}

#[tokio::test]
async fn draining_ends_connections_after_what_was_queued_for_them() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    let mut unnamed = Client::dial(&hub);
    let (_, ()) = tokio::join!(
        hub.shared.lifecycle.shutdown(Duration::from_secs(10)),
        async {
            client.expect_close().await;
            unnamed.expect_close().await;
        }
    );
    client.served.await.unwrap();
}

#[tokio::test]
async fn a_drain_lets_a_thousand_idle_devices_go_and_all_of_them_leave_presence() {
    let hub = TestHub::new().await;
    let mut clients = Vec::new();
    let mut devices = Vec::new();
    for number in 0..1_000 {
        let device = hub.device(&format!("dev-{number}")).await;
        clients.push(Client::connect(&hub, &device).await.0);
        devices.push(device.key);
    }
    let TestHub {
        shared, lifecycle, ..
    } = hub;
    let presence = Arc::clone(&shared.peers.presence);
    drop(shared);
    let draining_at = std::time::Instant::now();
    let closing = clients.iter_mut().map(Client::expect_close);
    let (outcome, _) = tokio::join!(
        lifecycle.shutdown(Duration::from_secs(10)),
        futures::future::join_all(closing)
    );
    let took = draining_at.elapsed();
    for client in clients {
        client.served.await.unwrap();
    }
    assert_eq!(outcome, downlink_runtime::Shutdown::Drained);
    assert!(took < Duration::from_secs(2), "{took:?}");
    let routes = presence.lookup(&devices).await.unwrap();
    assert!(routes.iter().all(Option::is_none));
}

#[tokio::test]
async fn a_call_that_waits_for_its_answer_at_the_drain_ends_as_lost() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client
        .subscribe("$iothub/methods/POST/#", Qos::AtMostOnce)
        .await;
    let timeouts = MethodTimeouts::new(Duration::ZERO, Duration::from_secs(30)).unwrap();
    let call = MethodCall {
        hub: device.hub.clone(),
        target: device.name.clone(),
        device: device.key,
        name: "reboot".parse().unwrap(),
        payload: Bytes::new(),
        timeouts,
    };
    let (outcome, _) = tokio::join!(hub.backend.invoke(call), async {
        client.next_publish().await;
        hub.shared.lifecycle.shutdown(Duration::from_secs(10)).await
    });
    assert_eq!(outcome, Err(MethodError::ConnectionLost));
}

#[tokio::test]
async fn breaking_the_contract_closes_the_connection() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let publish = |topic: &str| {
        ClientPacket::Publish(Publish {
            topic: topic.to_owned(),
            delivery: Delivery::AtMostOnce,
            retain: false,
            payload: Bytes::new(),
        })
    };
    let subscribe = |filter: &str| {
        let filters = vec![SubscribeFilter {
            filter: filter.to_owned(),
            qos: Qos::AtMostOnce,
        }];
        ClientPacket::Subscribe(Subscribe {
            packet_id: id(1),
            filters,
        })
    };
    for packet in [
        publish("devices/dev-2/messages/events/"),
        publish("devices/dev-1/messages/events/a=%zz"),
        publish("$iothub/unknown"),
        subscribe("#"),
        subscribe("devices/dev-2/messages/devicebound/#"),
        connect_of(&hub, &device).into(),
    ] {
        let shown = format!("{packet:?}");
        let (mut client, _) = Client::connect(&hub, &device).await;
        client.send(packet).await;
        assert_eq!(client.next().await, None, "{shown}");
    }
    let too_large = [0x30, 0x80, 0x80, 0x80, 0x01];
    let qos_two = [0x34, 5, 0, 1, b't', 0, 1];
    for bytes in [
        &too_large[..],
        &qos_two[..],
        &[0x62, 2, 0, 1][..],
        &[0xF0, 0][..],
    ] {
        let (mut client, _) = Client::connect(&hub, &device).await;
        client.send_bytes(bytes).await;
        client.expect_close().await;
    }
}

#[tokio::test]
async fn more_subscriptions_than_allowed_close_the_connection() {
    let hub = TestHub::with(|options| options.mqtt.max_subscriptions = 1).await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client
        .subscribe("$iothub/twin/res/#", Qos::AtMostOnce)
        .await;
    client
        .subscribe("$iothub/twin/res/#", Qos::AtMostOnce)
        .await;
    let filters = vec![SubscribeFilter {
        filter: "$iothub/methods/POST/#".to_owned(),
        qos: Qos::AtMostOnce,
    }];
    client
        .send(ClientPacket::Subscribe(Subscribe {
            packet_id: id(1),
            filters,
        }))
        .await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_subscription_that_cannot_be_stored_closes_unless_it_is_stored_already() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client
        .subscribe("$iothub/twin/res/#", Qos::AtMostOnce)
        .await;
    hub.backend.set_down(true);
    client
        .subscribe("$iothub/twin/res/#", Qos::AtMostOnce)
        .await;
    let filters = vec![SubscribeFilter {
        filter: "$iothub/methods/POST/#".to_owned(),
        qos: Qos::AtMostOnce,
    }];
    client
        .send(ClientPacket::Subscribe(Subscribe {
            packet_id: id(1),
            filters,
        }))
        .await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_client_may_write_much_before_it_reads() {
    let hub = TestHub::with(|options| options.mqtt.max_output_bytes = 64).await;
    let device = hub.device("dev-1").await;
    let mut client = Client::dial_with(&hub, 256);
    client.send(connect_of(&hub, &device).into()).await;
    assert_eq!(client.connack().await, ACCEPTED);
    let pings = [0xC0, 0].repeat(64);
    let mut answered = 0;
    for _ in 0..20 {
        client.send_bytes(&pings).await;
        for _ in 0..64 {
            assert_eq!(client.next().await, Some(ServerPacket::Pingresp));
            answered += 1;
        }
    }
    assert_eq!(answered, 20 * 64);
}

#[tokio::test]
async fn noise_ends_a_connection_and_harms_nobody() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let other = hub.device("dev-2").await;
    let (mut bystander, _) = Client::connect(&hub, &other).await;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    for length in 1..200 {
        let mut noise = Vec::new();
        while noise.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_be_bytes());
        }
        let mut stranger = Client::dial(&hub);
        stranger.send_bytes(&noise).await;
        stranger.vanish().await;
        let (mut known, _) = Client::connect(&hub, &device).await;
        known.send_bytes(&noise).await;
        known.vanish().await;
    }
    bystander.settle_down().await;
    assert!(hub.shared.connections.find(other.key).is_some());
    hub.until_gone(&device).await;
}

#[tokio::test]
async fn an_idle_connection_is_small() {
    let hub = TestHub::new().await;
    let (_near, far) = tokio::io::duplex(64);
    let serving = super::super::serve(
        Arc::clone(&hub.shared),
        far,
        crate::arrival::Arrival::over_tls(None),
    );
    let task_bytes = size_of_val(&serving);
    assert!(task_bytes <= 512, "{task_bytes} bytes");
    let conversation_bytes = size_of::<Conversation>();
    assert!(conversation_bytes <= 1024, "{conversation_bytes} bytes");
}
