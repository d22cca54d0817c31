//! Devices that show no token but the certificates of their TLS handshake (amqp.md §1.2).

use std::time::Duration;

use downlink_amqp::frame::{FrameType, ProtocolHeader, write_frame};
use downlink_amqp::performative::{DeliveryState, Performative};
use downlink_amqp::sasl::{SaslCode, SaslFrame};
use downlink_amqp::types::Symbol;
use downlink_auth::ClientChain;
use downlink_domain::id::DeviceId;
use downlink_ports::Clock;

use super::client::{COMMANDS, Client, FEEDBACK, receiver, sender, telemetry};
use super::*;
use crate::arrival::Arrival;
use crate::fakes::{Authority, self_signed, thumbprints};

fn events_of(id: &str) -> String {
    format!("/devices/{id}/messages/events")
}

fn arrival(chain: &ClientChain) -> Arrival {
    Arrival {
        certificates: Some(chain.clone()),
        ..Arrival::over_tls(None)
    }
}

/// Connects with a certificate, without SASL, as Node and C do.
async fn open(hub: &TestHub, chain: &ClientChain) -> Client {
    let mut client = Client::arrive(hub, arrival(chain));
    client.raw(&ProtocolHeader::Amqp.bytes()).await;
    client.start().await;
    client
}

async fn device_of(hub: &TestHub, id: &str, chain: &ClientChain) -> Device {
    let [_, sha256] = thumbprints(chain);
    hub.device_of_thumbprints(id, [None, Some(sha256)]).await
}

async fn sasl(client: &mut Client, mechanism: &'static str) -> SaslFrame {
    client.raw(&ProtocolHeader::Sasl.bytes()).await;
    assert_eq!(client.header().await, ProtocolHeader::Sasl.bytes());
    assert!(matches!(client.sasl().await, SaslFrame::Mechanisms(_)));
    let init = SaslFrame::Init {
        mechanism: Symbol::from_static(mechanism),
        initial_response: None,
    };
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameType::Sasl, 0, |out| init.encode(out));
    client.raw(&frame).await;
    client.sasl().await
}

async fn assert_sends(client: &mut Client, handle: u32) {
    let state = client.send_and_wait(handle, &telemetry("21.5")).await;
    assert_eq!(state, DeliveryState::Accepted);
}

#[tokio::test]
async fn a_certificate_opens_the_device_that_its_links_name() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "anything");
    let device = device_of(&hub, "dev-1", &chain).await;
    let mut client = open(&hub, &chain).await;
    client.attach(sender(0, &events_of("dev-1"))).await;
    assert_sends(&mut client, 0).await;
    let c2d = "/devices/dev-1/messages/devicebound";
    client.attach(receiver(1, c2d)).await;
    client.credit(1, 0, 10).await;
    send(&hub, &device, &["hello"]).await;
    assert_eq!(client.transfer().await.0.handle, 1);
    let stored = hub.telemetry().await;
    let method = stored[0]
        .properties
        .iter()
        .find(|(name, _)| name == "iothub-connection-auth-method");
    let expected = r#"{"scope":"device","type":"x509","issuer":"external"}"#;
    assert_eq!(method.unwrap().1, expected);
}

#[tokio::test]
async fn sasl_external_and_anonymous_lead_to_the_same() {
    for mechanism in ["EXTERNAL", "ANONYMOUS"] {
        let hub = TestHub::new().await;
        let authority = Authority::new(&hub, "ca");
        hub.trust("ca", &authority).await;
        hub.device_of_authority("dev-1").await;
        let chain = authority.issue(&hub, "dev-1");
        let mut client = Client::arrive(&hub, arrival(&chain));
        let outcome = sasl(&mut client, mechanism).await;
        assert_eq!(outcome, SaslFrame::outcome(SaslCode::Ok));
        client.raw(&ProtocolHeader::Amqp.bytes()).await;
        client.start().await;
        client.attach(sender(0, &events_of("dev-1"))).await;
        assert_sends(&mut client, 0).await;
    }
}

#[tokio::test]
async fn sasl_external_without_a_certificate_is_refused() {
    let hub = TestHub::new().await;
    let mut client = Client::connect(&hub);
    let outcome = sasl(&mut client, "EXTERNAL").await;
    assert_eq!(outcome, SaslFrame::outcome(SaslCode::Auth));
}

#[tokio::test]
async fn a_certificate_opens_nothing_else() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "dev-1");
    device_of(&hub, "dev-1", &chain).await;
    device_of(&hub, "dev-2", &self_signed(&hub, "dev-2")).await;
    hub.device("with-keys").await;
    hub.device_of_authority("of-authority").await;
    let mut client = open(&hub, &chain).await;
    let others = [
        "dev-2",
        "with-keys",
        "of-authority",
        "nobody",
        "dev-1/modules/m",
    ];
    for (handle, other) in (0..).zip(others) {
        let condition = client
            .attach_refused(sender(handle, &events_of(other)))
            .await;
        assert_eq!(condition, "amqp:unauthorized-access", "{other}");
    }
    for (handle, link) in [(10, sender(10, COMMANDS)), (11, receiver(11, FEEDBACK))] {
        let condition = client.attach_refused(link).await;
        assert_eq!(condition, "amqp:unauthorized-access", "{handle}");
    }
    client.attach(sender(20, &events_of("dev-1"))).await;
    assert_sends(&mut client, 20).await;
}

#[tokio::test]
async fn identities_with_the_same_thumbprint_share_a_connection() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "shared");
    for id in ["a", "b", "c"] {
        device_of(&hub, id, &chain).await;
    }
    let mut client = open(&hub, &chain).await;
    for (handle, id) in (0..).zip(["a", "b", "c"]) {
        client.attach(sender(handle, &events_of(id))).await;
        assert_sends(&mut client, handle).await;
    }
    let stored = hub.telemetry().await;
    let senders = stored.iter().map(|event| event.device.as_ref().unwrap());
    assert_eq!(
        senders.map(DeviceId::as_str).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
}

#[tokio::test]
async fn a_stranger_with_a_certificate_goes_after_a_few_wrong_links() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "stranger");
    let mut client = open(&hub, &chain).await;
    for handle in 0..7 {
        let link = sender(handle, &events_of(&format!("dev-{handle}")));
        let condition = client.attach_refused(link).await;
        assert_eq!(condition, "amqp:unauthorized-access");
    }
    client.write(sender(7, &events_of("dev-7"))).await;
    let error = client.close().await.error.expect("a reason");
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    let refused = r#"downlink_gateway_connects_refused_total{cause="unauthorized"}"#;
    assert_eq!(hub.metric(refused), 8);
}

#[tokio::test]
async fn a_stranger_with_a_certificate_has_no_more_links_at_once_than_any_other() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "stranger");
    let mut client = open(&hub, &chain).await;
    let mut attaches = Vec::new();
    for handle in 0..65 {
        let link = sender(handle, &events_of(&format!("d{handle}")));
        let attach = Performative::from(link);
        write_frame(&mut attaches, FrameType::Amqp, 0, |out| attach.encode(out));
    }
    // One read of the door: whatever is refused at once is beyond the bound, the others wait.
    client.raw(&attaches).await;
    assert!(matches!(client.answer().await.0, Performative::Attach(_)));
    let detach = client.detach().await;
    let error = detach.error.expect("a reason");
    assert_eq!(
        (detach.handle, error.condition.as_str()),
        (64, "amqp:resource-limit-exceeded")
    );
}

#[tokio::test]
async fn links_end_with_the_authority_that_vouched_for_them() {
    let hub = TestHub::new().await;
    let authority = Authority::new(&hub, "ca");
    hub.trust("ca", &authority).await;
    hub.device_of_authority("dev-1").await;
    let chain = authority.issue(&hub, "dev-1");
    let mut client = open(&hub, &chain).await;
    client.attach(sender(0, &events_of("dev-1"))).await;
    assert_sends(&mut client, 0).await;
    hub.distrust("ca").await;
    let detach = client.detach().await;
    let error = detach.error.expect("a reason");
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    let condition = client.attach_refused(sender(1, &events_of("dev-1"))).await;
    assert_eq!(condition, "amqp:unauthorized-access");
}

#[tokio::test]
async fn links_end_after_the_first_of_the_certificates() {
    let hub = TestHub::new().await;
    let authority = Authority::new(&hub, "ca");
    hub.trust("ca", &authority).await;
    hub.device_of_authority("dev-1").await;
    let end = hub.clock.now() + Duration::from_hours(1);
    let chain = authority.issue_until(&hub, "dev-1", end);
    let mut client = open(&hub, &chain).await;
    client.attach(sender(0, &events_of("dev-1"))).await;
    assert_sends(&mut client, 0).await;
    hub.clock.advance(Duration::from_hours(2));
    let error = client.detach().await.error.expect("a reason");
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
}
