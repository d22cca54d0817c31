//! Devices that prove themselves by the certificate of their TLS handshake (auth.md §5).

use std::time::Duration;

use downlink_auth::ClientChain;
use downlink_domain::device::Device;
use downlink_mqtt::packet::{Connack, Connect};
use downlink_ports::Clock;

use super::client::{ACCEPTED, Client, NOT_AUTHORIZED, connect_of};
use crate::arrival::{Arrival, Carrier};
use crate::fakes::{Authority, TestHub, self_signed, thumbprints};

fn arrival(certificates: Option<&ClientChain>) -> Arrival {
    Arrival {
        certificates: certificates.cloned(),
        ..Arrival::over_tls(None)
    }
}

/// The CONNECT of a device that has nothing but its certificate.
fn without_password(device: &Device) -> Connect {
    let name = device.name.device.as_str();
    Connect::new(name).with_username(format!("hub.test/{name}/?api-version=2021-04-12"))
}

async fn connect(hub: &TestHub, arrival: Arrival, connect: Connect) -> (Client, Connack) {
    let mut client = Client::dial_as(hub, arrival);
    client.send(connect.into()).await;
    let connack = client.connack().await;
    (client, connack)
}

async fn device_of(hub: &TestHub, chain: &ClientChain) -> Device {
    let [sha1, sha256] = thumbprints(chain);
    let registered = [Some(sha1), Some(sha256)];
    hub.device_of_thumbprints("dev-1", registered).await
}

#[tokio::test]
async fn a_certificate_takes_the_place_of_a_password_that_is_absent_or_empty() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "anything");
    let device = device_of(&hub, &chain).await;
    let over_websocket = Arrival {
        carrier: Carrier::WebSocket,
        ..arrival(Some(&chain))
    };
    for (arrival, packet) in [
        (arrival(Some(&chain)), without_password(&device)),
        (
            arrival(Some(&chain)),
            without_password(&device).with_password(""),
        ),
        (over_websocket, without_password(&device)),
    ] {
        let (client, connack) = connect(&hub, arrival, packet).await;
        assert!(matches!(connack, Connack::Accepted { .. }), "{connack:?}");
        client.disconnect().await;
    }
}

#[tokio::test]
async fn every_wrong_certificate_and_every_token_is_refused_with_code_five() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "dev-1");
    let device = device_of(&hub, &chain).await;
    let with_keys = hub.device("with-keys").await;
    let other = self_signed(&hub, "dev-1");
    for (arrival, packet) in [
        (arrival(None), without_password(&device)),
        (arrival(Some(&other)), without_password(&device)),
        (
            arrival(Some(&chain)),
            without_password(&device).with_password(hub.policy_token("device")),
        ),
        (
            arrival(Some(&chain)),
            without_password(&device).with_password("x"),
        ),
        (arrival(Some(&chain)), without_password(&with_keys)),
    ] {
        let (mut client, connack) = connect(&hub, arrival, packet).await;
        assert_eq!(connack, NOT_AUTHORIZED);
        client.expect_close().await;
    }
}

#[tokio::test]
async fn a_certificate_beside_the_token_of_a_device_with_keys_counts_for_nothing() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let chain = self_signed(&hub, "somebody else");
    let packet = connect_of(&hub, &device);
    let (_client, connack) = connect(&hub, arrival(Some(&chain)), packet).await;
    assert_eq!(connack, ACCEPTED);
}

#[tokio::test]
async fn a_connection_ends_after_the_first_of_its_certificates() {
    let hub = TestHub::new().await;
    let authority = Authority::new(&hub, "ca");
    hub.trust("ca", &authority).await;
    let device = hub.device_of_authority("dev-1").await;
    let end = hub.clock.now() + Duration::from_hours(1);
    let chain = authority.issue_until(&hub, "dev-1", end);
    let packet = without_password(&device);
    let (mut client, connack) = connect(&hub, arrival(Some(&chain)), packet).await;
    assert_eq!(connack, ACCEPTED);
    hub.clock.advance(Duration::from_hours(2));
    client.expect_close().await;
}

#[tokio::test]
async fn a_connection_ends_with_the_authority_that_vouched_for_it() {
    let hub = TestHub::new().await;
    let (authority, other) = (Authority::new(&hub, "a"), Authority::new(&hub, "b"));
    hub.trust("a", &authority).await;
    hub.trust("b", &other).await;
    let first = hub.device_of_authority("dev-1").await;
    let second = hub.device_of_authority("dev-2").await;
    let chain = authority.issue(&hub, "dev-1");
    let (mut ended, _) = connect(&hub, arrival(Some(&chain)), without_password(&first)).await;
    let chain = other.issue(&hub, "dev-2");
    let (mut kept, _) = connect(&hub, arrival(Some(&chain)), without_password(&second)).await;
    hub.distrust("a").await;
    ended.expect_close().await;
    kept.publish("devices/dev-2/messages/events/", Some(7), "still here")
        .await;
    assert!(kept.next().await.is_some());
}

#[tokio::test]
async fn telemetry_says_that_a_certificate_vouched_for_it() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "dev-1");
    let device = device_of(&hub, &chain).await;
    let packet = without_password(&device);
    let (mut client, _) = connect(&hub, arrival(Some(&chain)), packet).await;
    client
        .publish("devices/dev-1/messages/events/", Some(7), "21.5")
        .await;
    assert!(client.next().await.is_some());
    let stored = hub.telemetry().await;
    let method = stored[0]
        .properties
        .iter()
        .find(|(name, _)| name == "iothub-connection-auth-method");
    let expected = r#"{"scope":"device","type":"x509","issuer":"external"}"#;
    assert_eq!(method.unwrap().1, expected);
}
