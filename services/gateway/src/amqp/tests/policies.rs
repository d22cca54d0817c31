//! Limited policies, bearer tokens, and what lives by keys (auth.md §3.5, §6.1).

use std::time::Duration;

use downlink_amqp::performative::{DeliveryState, Performative};
use downlink_domain::device::{Authentication, IfMatch};
use downlink_domain::policy::Permission::{DeviceConnect, ServiceConnect};
use downlink_domain::twin::TwinChange;
use downlink_ports::TwinApi as _;
use serde_json::json;
use tokio::time::Instant;

use super::client::{COMMANDS, Client, FEEDBACK, command, receiver, rejection, sender, telemetry};
use super::*;
use crate::fakes::TestIssuer;

const UNAUTHORIZED: &str = "amqp:unauthorized-access";

async fn fast_hub() -> TestHub {
    TestHub::with(|options| options.access_interval = Duration::from_millis(50)).await
}

async fn tag(hub: &TestHub, device: &Device, fleet: bool) {
    let change = TwinChange::Patch {
        tags: json!({"fleet": fleet}).as_object().cloned(),
        desired: None,
        if_match: IfMatch::Any,
    };
    let (hub_name, name) = (device.hub.clone(), device.name.clone());
    hub.backend
        .update_twin(hub_name, name, change)
        .await
        .unwrap();
}

/// Takes the detach of a link, which has lost its right, and its handle.
async fn unauthorized_link(client: &mut Client) -> u32 {
    let detach = client.detach().await;
    let error = detach.error.expect("a reason");
    assert_eq!(error.condition.as_str(), UNAUTHORIZED);
    detach.handle
}

#[tokio::test]
async fn each_message_of_a_limited_sender_is_judged_by_its_device() {
    let hub = fast_hub().await;
    for id in ["truck-1", "car-1", "car-3"] {
        hub.device(id).await;
    }
    let tagged = hub.device("car-2").await;
    tag(&hub, &tagged, true).await;
    let odd = hub.device("van+1").await;
    let scope = json!({"devices": [
        {"prefix": "truck-"}, {"id": "van+1"}, {"tag": "fleet", "equals": true}
    ]});
    hub.limited_policy("fleet", &[ServiceConnect], &scope).await;
    let mut client = Client::with_policy(&hub, "fleet").await;
    client.attach(sender(0, COMMANDS)).await;
    for (device, expected) in [
        ("truck-1", None),
        ("car-1", Some(UNAUTHORIZED)),
        ("car-2", None),
        ("nobody", Some(UNAUTHORIZED)),
        ("truck-nobody", Some("amqp:not-found")),
        // Only the decoded id is one that it may send to.
        ("van%2B1", None),
    ] {
        let state = client.send_and_wait(0, &command(device, "m")).await;
        match expected {
            None => assert_eq!(state, DeliveryState::Accepted, "{device}"),
            Some(condition) => assert_eq!(rejection(state), condition, "{device}"),
        }
    }
    assert_eq!(take(&hub, &odd, 10).await.len(), 1);
    // Feedback is of all devices.
    assert_eq!(
        client.attach_refused(receiver(1, FEEDBACK)).await,
        UNAUTHORIZED
    );
    // A token of a policy without limits lifts them.
    let service = hub.policy_token("service");
    assert_eq!(client.renew_token(&service).await.0, 200);
    let state = client.send_and_wait(0, &command("car-1", "m")).await;
    assert_eq!(state, DeliveryState::Accepted);
}

#[tokio::test]
async fn messages_whose_tags_cannot_be_read_are_not_sent() {
    let hub = fast_hub().await;
    let scope = json!({"devices": [{"tag": "fleet", "equals": true}]});
    hub.limited_policy("fleet", &[ServiceConnect], &scope).await;
    let mut client = Client::with_policy(&hub, "fleet").await;
    client.attach(sender(0, COMMANDS)).await;
    hub.backend.set_down(true);
    let state = client.send_and_wait(0, &command("car-1", "m")).await;
    assert_eq!(rejection(state), "com.microsoft:timeout");
}

#[tokio::test]
async fn a_limited_policy_speaks_for_its_devices_alone_and_for_none_with_certificates() {
    let hub = fast_hub().await;
    let tagged = hub.device("car-1").await;
    tag(&hub, &tagged, true).await;
    hub.device("car-2").await;
    hub.device("truck-1").await;
    let certified = hub.device("truck-2").await;
    let authentication = Authentication::CertificateAuthority;
    hub.change_unannounced(&certified, |spec| spec.authentication = authentication)
        .await;
    let scope = json!({"devices": [{"prefix": "truck-"}, {"tag": "fleet", "equals": true}]});
    hub.limited_policy("fleet", &[DeviceConnect], &scope).await;
    let mut client = Client::with_policy(&hub, "fleet").await;
    for (handle, device, opens) in [
        (0, "truck-1", true),
        (1, "car-1", true),
        (2, "car-2", false),
        (3, "truck-2", false),
        // That there is no such device is not told.
        (4, "van-1", false),
    ] {
        let events = sender(handle, &format!("/devices/{device}/messages/events"));
        if opens {
            client.attach(events).await;
            let state = client.send_and_wait(handle, &telemetry("1")).await;
            assert_eq!(state, DeliveryState::Accepted);
        } else {
            assert_eq!(
                client.attach_refused(events).await,
                UNAUTHORIZED,
                "{device}"
            );
        }
    }
}

#[tokio::test]
async fn a_rotated_key_detaches_what_it_opened_within_a_second() {
    let hub = fast_hub().await;
    for id in ["dev-1", "dev-2"] {
        hub.device(id).await;
    }
    let own = hub.device("dev-3").await;
    let mut client = Client::with_policy(&hub, "service").await;
    assert_eq!(client.renew_token(&hub.policy_token("device")).await.0, 200);
    assert_eq!(client.renew_token(&hub.device_token(&own)).await.0, 200);
    client.attach(sender(0, COMMANDS)).await;
    client
        .attach(sender(1, "/devices/dev-1/messages/events"))
        .await;
    client
        .attach(sender(2, "/devices/dev-3/messages/events"))
        .await;
    let rotated_at = Instant::now();
    hub.rotate("service").await;
    assert_eq!(unauthorized_link(&mut client).await, 0);
    hub.rotate("device").await;
    assert_eq!(unauthorized_link(&mut client).await, 1);
    assert!(rotated_at.elapsed() < Duration::from_secs(1));
    // The device's own token has nothing to do with it.
    let state = client.send_and_wait(2, &telemetry("1")).await;
    assert_eq!(state, DeliveryState::Accepted);
    assert_eq!(
        client.renew_token(&hub.policy_token("service")).await.0,
        401
    );
    assert_eq!(
        client.renew_token(&hub.second_key_token("service")).await.0,
        200
    );
}

#[tokio::test]
async fn a_connection_of_sasl_plain_ends_with_the_key_of_its_policy() {
    let hub = fast_hub().await;
    let token = hub.policy_token("service");
    let mut client = Client::plain(&hub, "service@sas.root.hub", &token).await;
    client.start().await;
    client.attach(sender(0, COMMANDS)).await;
    hub.delete_policy("service").await;
    loop {
        if let Performative::Close(close) = client.answer().await.0 {
            let error = close.error.expect("a reason");
            assert_eq!(error.condition.as_str(), UNAUTHORIZED);
            return;
        }
    }
}

#[tokio::test]
async fn a_bearer_is_known_by_its_value_and_ends_its_links_with_itself() {
    let issuer = TestIssuer::new();
    let hub = issuer.hub().await;
    hub.device("dev-1").await;
    let mut client = Client::open(&hub).await;
    // Under the type of tokens of policies, as Node sends it.
    assert_eq!(client.put_token(&issuer.bearer(&hub, "send")).await.0, 200);
    client.attach(sender(0, COMMANDS)).await;
    let state = client.send_and_wait(0, &command("dev-1", "m")).await;
    assert_eq!(state, DeliveryState::Accepted);
    assert_eq!(
        client.attach_refused(receiver(1, FEEDBACK)).await,
        UNAUTHORIZED
    );
    let device = sender(2, "/devices/dev-1/messages/events");
    assert_eq!(client.attach_refused(device).await, UNAUTHORIZED);
    for token in [
        "Bearer a.b.c".to_owned(),
        TestIssuer::new().bearer(&hub, "all"),
    ] {
        assert_eq!(client.renew_token(&token).await.0, 401);
    }
    // One that is renewed goes on.
    hub.clock.advance(Duration::from_mins(50));
    assert_eq!(
        client.renew_token(&issuer.bearer(&hub, "send")).await.0,
        200
    );
    hub.clock.advance(Duration::from_mins(20));
    let state = client.send_and_wait(0, &command("dev-1", "m")).await;
    assert_eq!(state, DeliveryState::Accepted);
    hub.clock.advance(Duration::from_hours(1));
    assert_eq!(unauthorized_link(&mut client).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_tokens_and_links_is_closed_after_a_bounded_time() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    let patience = hub.shared.options.amqp.open_deadline * 2;
    tokio::time::sleep(patience * 2).await;
    client.assert_silent().await;
    hub.clock.advance(Duration::from_mins(66));
    assert_eq!(unauthorized_link(&mut client).await, 0);
    client.leave_quietly(0).await;
    let ended_at = Instant::now();
    let error = client.close().await.error.expect("a reason");
    assert_eq!(error.condition.as_str(), UNAUTHORIZED);
    let waited = ended_at.elapsed();
    assert!(waited <= patience + Duration::from_secs(1), "{waited:?}");
    assert!(waited >= patience / 2, "{waited:?}");
}
