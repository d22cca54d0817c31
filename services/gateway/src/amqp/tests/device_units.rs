//! Many devices on one connection: each with its own token, its own links and its own fate.

use std::time::Duration;

use downlink_amqp::performative::{Attach, DeliveryState, Detach, End, Performative};
use downlink_domain::device::DeviceStatus;
use downlink_domain::id::IdentityName;
use downlink_domain::presence::DisconnectReason;

use super::client::{Client, receiver, sender, telemetry};
use super::*;

fn events_of(device: &Device) -> String {
    format!("/devices/{}/messages/events", device.name.device)
}

fn devicebound_of(device: &Device) -> String {
    format!("/devices/{}/messages/devicebound", device.name.device)
}

/// Makes devices, and a client that has put a token of each.
async fn hub_with(names: &[&str]) -> (TestHub, Vec<Device>, Client) {
    let hub = TestHub::new().await;
    let mut devices = Vec::new();
    for name in names {
        devices.push(hub.device(name).await);
    }
    let mut client = Client::open(&hub).await;
    for (index, device) in devices.iter().enumerate() {
        let token = hub.device_token(device);
        let put = match index {
            0 => client.put_token(&token).await,
            _ => client.renew_token(&token).await,
        };
        assert_eq!(put.0, 200);
    }
    (hub, devices, client)
}

/// The condition, and the description, of a detach.
async fn detached(client: &mut Client) -> (u32, String, Option<String>) {
    let detach = client.detach().await;
    assert!(detach.closed);
    let error = detach.error.expect("a reason");
    (
        detach.handle,
        error.condition.into_string(),
        error.description,
    )
}

/// Has a device send telemetry and waits until it is stored.
async fn assert_sends(client: &mut Client, handle: u32) {
    let state = client.send_and_wait(handle, &telemetry("21.5")).await;
    assert_eq!(state, DeliveryState::Accepted);
}

async fn wait_connected(hub: &TestHub, expected: u64) {
    let waiting = async {
        while hub.metric("downlink_gateway_devices_connected") != expected {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), waiting).await;
    waited.expect("that many devices are connected");
}

#[tokio::test]
async fn devices_share_a_session_and_a_connection() {
    let (hub, devices, mut client) = hub_with(&["a", "b", "c"]).await;
    for (handle, device) in (0..).zip(&devices) {
        client.attach(sender(handle, &events_of(device))).await;
    }
    for handle in 0..3 {
        assert_sends(&mut client, handle).await;
    }
    let stored = hub.telemetry().await;
    let senders: Vec<_> = stored
        .iter()
        .map(|event| event.device.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(senders, ["a", "b", "c"]);
    wait_connected(&hub, 3).await;
}

#[tokio::test]
async fn sessions_may_use_the_same_names_and_handles_for_different_devices() {
    let (hub, devices, mut client) = hub_with(&["a", "b"]).await;
    for (channel, device) in (1..).zip(&devices) {
        client.begin(channel).await;
        client.attach(sender(0, &events_of(device))).await;
        client.attach(receiver(1, &devicebound_of(device))).await;
        client.credit(1, 0, 10).await;
    }
    for (channel, device) in (1..).zip(&devices) {
        send(&hub, device, &[device.name.device.as_str()]).await;
        let (transfer, message) = client.transfer().await;
        assert_eq!((client.heard_on, transfer.handle), (channel, 1));
        let expected = format!("{}", device.name.device).into_bytes();
        assert_eq!(
            message.body,
            downlink_amqp::message::Body::Data(expected.into())
        );
    }
    client.channel = 1;
    assert_sends(&mut client, 0).await;
    assert_eq!(
        hub.telemetry().await[0].device.as_ref().unwrap().as_str(),
        "a"
    );
}

#[tokio::test]
async fn links_that_come_together_open_one_device_session() {
    let (hub, devices, mut client) = hub_with(&["a"]).await;
    let device = &devices[0];
    let attaches = [
        sender(0, &events_of(device)),
        receiver(1, &devicebound_of(device)),
        sender(2, "/devices/a/twin"),
        receiver(3, "/devices/a/twin"),
        sender(4, "/devices/a/methods/devicebound"),
        receiver(5, "/devices/a/methods/devicebound"),
    ];
    for attach in attaches.clone() {
        client.write(attach).await;
    }
    for attach in attaches {
        let Performative::Attach(echo) = client.answer().await.0 else {
            panic!("no echo");
        };
        assert_eq!((echo.handle, echo.name), (attach.handle, attach.name));
        assert!(echo.max_message_size.is_some());
    }
    wait_connected(&hub, 1).await;
    let held = hub.shared.connections.find(device.key).unwrap();
    assert!(held.subscriptions().c2d && held.subscriptions().methods);
}

#[tokio::test]
async fn connection_of_a_policy_speaks_for_every_device_and_for_none_that_is_not() {
    let hub = TestHub::new().await;
    let device = hub.device("a").await;
    let odd = hub.device("x:y").await;
    let mut client = Client::with_policy(&hub, "device").await;
    client.attach(sender(0, &events_of(&device))).await;
    client
        .attach(sender(1, "/devices/x%3Ay/messages/events"))
        .await;
    assert_sends(&mut client, 0).await;
    assert_sends(&mut client, 1).await;
    assert_eq!(hub.telemetry().await[1].device, Some(odd.name.device));
    let unknown = sender(2, "/devices/nobody/messages/events");
    assert_eq!(client.attach_refused(unknown).await, "amqp:not-found");
    let disabled = hub.device("off").await;
    hub.change_unannounced(&disabled, |spec| spec.status = DeviceStatus::Disabled)
        .await;
    let refused = client
        .attach_refused(sender(3, &events_of(&disabled)))
        .await;
    assert_eq!(refused, "amqp:unauthorized-access");
}

#[tokio::test]
async fn newer_connection_takes_over_one_device_and_leaves_the_others() {
    let (hub, devices, mut client) = hub_with(&["a", "b"]).await;
    for (handle, device) in (0..).zip(&devices) {
        client.attach(sender(handle, &events_of(device))).await;
    }
    let mut newer = Client::with_device(&hub, &devices[0]).await;
    newer.attach(sender(0, &events_of(&devices[0]))).await;
    let (handle, condition, _) = detached(&mut client).await;
    assert_eq!((handle, condition.as_str()), (0, "amqp:link:stolen"));
    assert_sends(&mut client, 1).await;
    assert_sends(&mut newer, 0).await;
    wait_connected(&hub, 2).await;
}

#[tokio::test]
async fn second_session_of_a_device_on_the_same_connection_takes_over() {
    let (hub, devices, mut client) = hub_with(&["a"]).await;
    let device = &devices[0];
    client.attach(receiver(0, &devicebound_of(device))).await;
    client.credit(0, 0, 10).await;
    send(&hub, device, &["1"]).await;
    client.transfer().await;
    client.begin(7).await;
    client.write(receiver(0, &devicebound_of(device))).await;
    let mut has_echo = false;
    let mut has_detach = false;
    while !(has_echo && has_detach) {
        match client.answer().await.0 {
            Performative::Attach(_) => has_echo = client.heard_on == 7,
            Performative::Detach(detach) => {
                assert_eq!(client.heard_on, 0);
                let condition = detach.error.unwrap().condition;
                assert_eq!(condition.as_str(), "amqp:link:stolen");
                has_detach = true;
            }
            other => panic!("{other:?}"),
        }
    }
    client.credit(0, 0, 10).await;
    // What the older session held comes to the newer.
    client.transfer().await;
    assert_eq!(client.heard_on, 7);
}

#[tokio::test]
async fn further_link_of_a_kind_takes_the_place_of_the_older() {
    let (hub, devices, mut client) = hub_with(&["a"]).await;
    let device = &devices[0];
    client.attach(receiver(0, &devicebound_of(device))).await;
    client.credit(0, 0, 10).await;
    send(&hub, device, &["1"]).await;
    client.transfer().await;
    client.write(receiver(1, &devicebound_of(device))).await;
    let (handle, condition, _) = detached(&mut client).await;
    assert_eq!((handle, condition.as_str()), (0, "amqp:link:stolen"));
    assert!(matches!(client.answer().await.0, Performative::Attach(_)));
    client.credit(1, 0, 10).await;
    assert_eq!(client.transfer().await.0.handle, 1);
    // Telemetry links do not disturb each other.
    for handle in 10..18 {
        client.attach(sender(handle, &events_of(device))).await;
    }
    let refused = client.attach_refused(sender(18, &events_of(device))).await;
    assert_eq!(refused, "amqp:resource-limit-exceeded");
    assert_sends(&mut client, 10).await;
}

#[tokio::test]
async fn deleted_disabled_and_rekeyed_devices_lose_their_links_alone() {
    for (reason, expected) in [
        (DisconnectReason::Deleted, "amqp:not-found"),
        (DisconnectReason::Disabled, "amqp:unauthorized-access"),
        (DisconnectReason::KeysChanged, "amqp:unauthorized-access"),
        (DisconnectReason::Draining, "amqp:link:detach-forced"),
    ] {
        let (hub, devices, mut client) = hub_with(&["a", "b"]).await;
        for (handle, device) in (0..).zip(&devices) {
            client.attach(sender(handle, &events_of(device))).await;
        }
        let held = hub.shared.connections.find(devices[0].key).unwrap();
        held.mailbox.close(reason);
        let (handle, condition, _) = detached(&mut client).await;
        assert_eq!((handle, condition.as_str()), (0, expected), "{reason:?}");
        assert_sends(&mut client, 1).await;
        wait_connected(&hub, 1).await;
        // Whoever lost its right needs another token first; the others may come back.
        let again = sender(5, &events_of(&devices[0]));
        if reason == DisconnectReason::Draining {
            client.attach(again).await;
        } else {
            let refused = client.attach_refused(again).await;
            assert_eq!(refused, "amqp:unauthorized-access", "{reason:?}");
        }
    }
}

#[tokio::test]
async fn token_that_ends_takes_its_own_links_along_and_a_renewed_one_does_not() {
    let (hub, devices, mut client) = hub_with(&["a", "b"]).await;
    for (handle, device) in (0..).zip(&devices) {
        client.attach(sender(handle, &events_of(device))).await;
    }
    hub.clock.advance(Duration::from_mins(50));
    let renewed = client.renew_token(&hub.device_token(&devices[1])).await;
    assert_eq!(renewed.0, 200);
    hub.clock.advance(Duration::from_mins(20));
    let (handle, condition, text) = detached(&mut client).await;
    assert_eq!(
        (handle, condition.as_str()),
        (0, "amqp:unauthorized-access")
    );
    assert_eq!(text.as_deref(), Some("Token Invalid."));
    assert_sends(&mut client, 1).await;
    // A new token opens the way back, on the same connection.
    let renewed = client.renew_token(&hub.device_token(&devices[0])).await;
    assert_eq!(renewed.0, 200);
    client.attach(sender(5, &events_of(&devices[0]))).await;
    assert_sends(&mut client, 5).await;
}

#[tokio::test]
async fn tokens_of_a_connection_are_bounded_and_a_renewal_needs_no_room() {
    let hub = TestHub::with(|options| options.amqp.max_tokens = 2).await;
    let mut devices = Vec::new();
    for name in ["a", "b", "c"] {
        devices.push(hub.device(name).await);
    }
    let mut client = Client::with_device(&hub, &devices[0]).await;
    for (index, expected) in [(1, 200), (2, 403), (0, 200), (1, 200)] {
        let token = hub.device_token(&devices[index]);
        assert_eq!(client.renew_token(&token).await.0, expected);
    }
}

#[tokio::test]
async fn end_of_a_session_ends_its_devices_alone() {
    let (hub, devices, mut client) = hub_with(&["a", "b"]).await;
    for (channel, device) in (1..).zip(&devices) {
        client.begin(channel).await;
        client.attach(sender(0, &events_of(device))).await;
    }
    client.channel = 1;
    client.write(End { error: None }).await;
    assert!(matches!(client.answer().await.0, Performative::End(_)));
    hub.until_gone(&devices[0]).await;
    client.channel = 2;
    assert_sends(&mut client, 0).await;
    wait_connected(&hub, 1).await;
}

#[tokio::test]
async fn device_without_links_leaves_the_hub_and_comes_back() {
    let (hub, devices, mut client) = hub_with(&["a"]).await;
    for handle in 0..3 {
        client.attach(sender(handle, &events_of(&devices[0]))).await;
        wait_connected(&hub, 1).await;
        let detach = Detach {
            handle,
            closed: true,
            error: None,
        };
        client.write(detach).await;
        client.detach().await;
        hub.until_gone(&devices[0]).await;
    }
    wait_connected(&hub, 0).await;
}

#[tokio::test]
async fn device_that_detaches_while_it_is_let_in_is_not_connected() {
    let (hub, devices, mut client) = hub_with(&["a"]).await;
    let detach = Detach {
        handle: 0,
        closed: true,
        error: None,
    };
    client.write(sender(0, &events_of(&devices[0]))).await;
    client.write(detach).await;
    assert!(matches!(client.answer().await.0, Performative::Attach(_)));
    client.detach().await;
    client.attach(sender(1, "$cbs")).await;
    hub.until_gone(&devices[0]).await;
    wait_connected(&hub, 0).await;
}

#[tokio::test]
async fn hub_that_cannot_be_entered_says_so_and_lets_in_later() {
    let (hub, devices, mut client) = hub_with(&["a"]).await;
    hub.backend.set_down(true);
    let refused = client
        .attach_refused(sender(0, &events_of(&devices[0])))
        .await;
    assert_eq!(refused, "com.microsoft:timeout");
    hub.backend.set_down(false);
    client.attach(sender(1, &events_of(&devices[0]))).await;
    assert_sends(&mut client, 1).await;
}

#[tokio::test]
async fn thousand_devices_share_a_connection() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "device").await;
    let mut devices = Vec::new();
    for index in 0..1000_u16 {
        devices.push(hub.device(&format!("d-{index}")).await);
    }
    let started = std::time::Instant::now();
    for (channel, device) in (1..).zip(&devices) {
        client.begin(channel).await;
        client.write(sender(0, &events_of(device))).await;
        client.write(receiver(1, &devicebound_of(device))).await;
        client.credit(1, 0, 10).await;
        for _ in 0..2 {
            assert!(matches!(client.answer().await.0, Performative::Attach(_)));
        }
    }
    wait_connected(&hub, 1000).await;
    for device in &devices {
        send(&hub, device, &["hello"]).await;
    }
    let mut heard = std::collections::BTreeSet::new();
    for _ in &devices {
        let (transfer, _) = client.transfer().await;
        client.channel = client.heard_on;
        let delivery = transfer.delivery_id.unwrap();
        client.settle(delivery, true, DeliveryState::Accepted).await;
        heard.insert(client.heard_on);
    }
    assert_eq!(heard.len(), 1000);
    for device in &devices {
        until_count(&hub, device, 0).await;
    }
    let taken = started.elapsed();
    assert!(taken < Duration::from_mins(1), "{taken:?}");
    client.channel = 0;
    drop(client);
    wait_connected(&hub, 0).await;
}

#[tokio::test]
async fn drained_gateway_stores_what_it_took_and_gives_back_what_it_held() {
    let (hub, devices, mut client) = hub_with(&["a"]).await;
    let device = &devices[0];
    client.attach(receiver(0, &devicebound_of(device))).await;
    client.attach(sender(1, &events_of(device))).await;
    client.credit(0, 0, 10).await;
    send(&hub, device, &["1"]).await;
    client.transfer().await;
    let lifecycle = hub.shared.lifecycle.clone();
    let client_side = async {
        client.parted(4).await;
        let error = client.close().await.error.unwrap();
        assert_eq!(error.condition.as_str(), "amqp:connection:forced");
        let close = downlink_amqp::performative::Close { error: None };
        client.write(close).await;
        assert!(client.try_frame().await.is_none());
    };
    let (ended, ()) = tokio::join!(lifecycle.shutdown(Duration::from_secs(30)), client_side);
    assert_eq!(ended, downlink_runtime::Shutdown::Drained);
    hub.until_gone(device).await;
    assert_eq!(take(&hub, device, 1).await.len(), 1);
}

#[tokio::test]
async fn module_listens_to_inputs_that_stay_silent_and_a_device_cannot() {
    let (hub, devices, mut client) = hub_with(&["a"]).await;
    let refused = client
        .attach_refused(receiver(0, &events_of(&devices[0])))
        .await;
    assert_eq!(refused, "amqp:not-allowed");
    let module: IdentityName = IdentityName {
        device: devices[0].name.device.clone(),
        module: Some("m".parse().unwrap()),
    };
    let queue = &hub.store;
    let spec = downlink_testkit::a_device_spec();
    let made = downlink_ports::DeviceRegistry::create(
        &**queue,
        devices[0].hub.clone(),
        module,
        spec,
        downlink_domain::access::Actor::operator(),
        downlink_ports::Clock::now(&*hub.clock),
    );
    made.await.unwrap().unwrap();
    let mut client = Client::with_policy(&hub, "device").await;
    let inputs: Attach = receiver(0, "/devices/a/modules/m/messages/events");
    client.attach(inputs).await;
    client.credit(0, 0, 10).await;
    client
        .attach(sender(1, "/devices/a/modules/m/messages/events"))
        .await;
    assert_sends(&mut client, 1).await;
}
