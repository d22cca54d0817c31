use std::time::Duration;

use downlink_amqp::frame::{FrameType, ProtocolHeader, write_frame};
use downlink_amqp::message::{Message, Properties};
use downlink_amqp::performative::{DeliveryState, Detach};
use downlink_amqp::sasl::{SaslCode, SaslFrame};
use downlink_amqp::types::{Symbol, Value};
use downlink_auth::sign;
use downlink_ports::Clock;

use super::client::{COMMANDS, Client, FEEDBACK, command, receiver, rejection, sender};
use super::feedback::produce_feedback;
use super::*;

async fn plain(client: &mut Client, user: &str, password: &str) -> SaslFrame {
    client.raw(&ProtocolHeader::Sasl.bytes()).await;
    assert_eq!(client.header().await, ProtocolHeader::Sasl.bytes());
    assert!(matches!(client.sasl().await, SaslFrame::Mechanisms(_)));
    let init = SaslFrame::Init {
        mechanism: Symbol::from_static("PLAIN"),
        initial_response: Some(format!("\0{user}\0{password}").into()),
    };
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameType::Sasl, 0, |out| init.encode(out));
    client.raw(&frame).await;
    client.sasl().await
}

#[tokio::test]
async fn token_that_does_not_hold_is_answered_with_401_and_opens_no_link() {
    let hub = TestHub::new().await;
    let mut client = Client::open(&hub).await;
    let forged = hub.policy_token("service").replace("sig=", "sig=A");
    let (status, text) = client.put_token(&forged).await;
    assert_eq!((status, text.as_str()), (401, "the token is not valid"));
    for token in [
        "",
        "Bearer a.b.c",
        "SharedAccessSignature sr=x",
        &hub.policy_token("nobody"),
    ] {
        assert_eq!(client.renew_token(token).await.0, 401, "{token}");
    }
    assert_eq!(
        client.attach_refused(sender(0, COMMANDS)).await,
        "amqp:unauthorized-access"
    );
    // The same connection may try again with a good one.
    assert_eq!(
        client.renew_token(&hub.policy_token("service")).await.0,
        200
    );
    client.attach(sender(0, COMMANDS)).await;
}

#[tokio::test]
async fn service_that_is_down_is_no_401() {
    let hub = TestHub::with(|options| options.access_stale_limit = Duration::ZERO).await;
    let device = hub.device("dev-1").await;
    let mut client = Client::open(&hub).await;
    assert_eq!(client.put_token(&hub.policy_token("service")).await.0, 503);
    hub.backend.set_down(true);
    assert_eq!(client.renew_token(&hub.device_token(&device)).await.0, 503);
}

#[tokio::test]
async fn links_are_refused_without_their_right() {
    let hub = TestHub::new().await;
    let mut stranger = Client::open(&hub).await;
    for attach in [
        sender(0, COMMANDS),
        receiver(1, FEEDBACK),
        sender(2, "/devices/d/messages/events"),
    ] {
        assert_eq!(
            stranger.attach_refused(attach).await,
            "amqp:unauthorized-access"
        );
    }
    let mut reader = Client::with_policy(&hub, "registryRead").await;
    assert_eq!(
        reader.attach_refused(sender(0, COMMANDS)).await,
        "amqp:unauthorized-access"
    );
    assert_eq!(
        reader.attach_refused(receiver(1, FEEDBACK)).await,
        "amqp:unauthorized-access"
    );
}

#[tokio::test]
async fn unknown_addresses_and_wrong_directions_are_told_apart() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "service").await;
    assert_eq!(
        client.attach_refused(sender(0, "/nowhere")).await,
        "amqp:not-found"
    );
    assert_eq!(
        client.attach_refused(receiver(1, COMMANDS)).await,
        "amqp:not-allowed"
    );
    assert_eq!(
        client.attach_refused(sender(2, FEEDBACK)).await,
        "amqp:not-allowed"
    );
    for address in [
        "/messages/events/ConsumerGroups/$Default/Partitions/0",
        "messages/events/$management",
    ] {
        let echo = client.attach(receiver(4, address)).await;
        assert_eq!(echo.source, None);
        let error = client.detach().await.error.unwrap();
        assert_eq!(error.condition.as_str(), "amqp:not-found");
        assert!(
            error
                .description
                .unwrap()
                .contains("telemetry is read from Kafka")
        );
        client
            .write(Detach {
                handle: 4,
                closed: true,
                error: None,
            })
            .await;
    }
    let mut dynamic = receiver(3, FEEDBACK);
    dynamic.source = None;
    assert_eq!(client.attach_refused(dynamic).await, "amqp:not-found");
}

#[tokio::test]
async fn token_of_a_device_opens_its_own_links_and_no_others() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    hub.device("dev-2").await;
    let mut client = Client::with_device(&hub, &device).await;
    client
        .attach(sender(0, "/devices/dev-1/messages/events"))
        .await;
    for attach in [
        sender(1, "/devices/dev-2/messages/events"),
        receiver(2, "amqps://hub.test/devices/dev-2/messages/deviceBound"),
        sender(3, "/devices/dev-1/modules/m/messages/events"),
        sender(4, COMMANDS),
    ] {
        assert_eq!(
            client.attach_refused(attach).await,
            "amqp:unauthorized-access"
        );
    }
}

#[tokio::test]
async fn sasl_plain_needs_no_cbs() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut client = Client::connect(&hub);
    let token = hub.policy_token("service");
    let outcome = plain(&mut client, "service@sas.root.hub", &token).await;
    assert_eq!(outcome, SaslFrame::outcome(SaslCode::Ok));
    client.raw(&ProtocolHeader::Amqp.bytes()).await;
    client.start().await;
    client.attach(sender(0, COMMANDS)).await;
    let state = client.send_and_wait(0, &command("dev-1", "1")).await;
    assert_eq!(state, DeliveryState::Accepted);
}

#[tokio::test]
async fn sasl_plain_with_a_wrong_name_or_token_fails() {
    let hub = TestHub::new().await;
    let token = hub.policy_token("service");
    for (user, password) in [
        ("iothubowner@sas.root.hub", token.as_str()),
        ("service@sas.root.elsewhere", &token),
        ("service", &token),
        ("service@sas.root.hub", "SharedAccessSignature sr=hub.test"),
        ("dev-1@sas.hub", &token),
    ] {
        let mut client = Client::connect(&hub);
        let outcome = plain(&mut client, user, password).await;
        assert_eq!(outcome, SaslFrame::outcome(SaslCode::Auth), "{user}");
        assert!(client.try_frame().await.is_none());
    }
}

#[tokio::test]
async fn links_outlive_a_renewed_token_and_end_with_one_that_is_not() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    hub.clock.advance(Duration::from_mins(50));
    assert_eq!(
        client.renew_token(&hub.policy_token("service")).await.0,
        200
    );
    // The first token and its grace are over, the second holds.
    hub.clock.advance(Duration::from_mins(20));
    let state = client.send_and_wait(0, &command("dev-1", "1")).await;
    assert_eq!(state, DeliveryState::Accepted);
    hub.clock.advance(Duration::from_hours(1));
    let detach = client.detach().await;
    assert_eq!(detach.handle, 0);
    let error = detach.error.unwrap();
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    assert_eq!(error.description.as_deref(), Some("Token Invalid."));
    // The connection lives, and so does the way to a new token.
    assert_eq!(
        client.renew_token(&hub.policy_token("service")).await.0,
        200
    );
}

#[tokio::test]
async fn a_token_that_ends_takes_the_links_that_no_other_allows() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let token = |path: &str, seconds| {
        let end = hub.clock.now().as_seconds() + seconds;
        sign(&format!("hub.test/{path}"), &[1; 32], end, Some("service"))
    };
    let mut client = Client::open(&hub).await;
    let short = token("messages/devicebound", 3600);
    assert_eq!(client.put_token(&short).await.0, 200);
    let long = token("messages/serviceBound/feedback", 7200);
    assert_eq!(client.renew_token(&long).await.0, 200);
    client.attach(sender(0, COMMANDS)).await;
    client.attach(receiver(1, FEEDBACK)).await;
    hub.clock.advance(Duration::from_mins(66));
    let detach = client.detach().await;
    assert_eq!(detach.handle, 0);
    let error = detach.error.unwrap();
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    // The other link goes on.
    let mut back_end = Client::with_policy(&hub, "service").await;
    back_end.attach(sender(0, COMMANDS)).await;
    produce_feedback(&hub, &mut back_end, &device, "cmd-1").await;
    client.credit(1, 0, 1).await;
    assert_eq!(client.transfer().await.0.handle, 1);
}

#[tokio::test]
async fn connection_of_sasl_plain_ends_with_its_token() {
    let hub = TestHub::new().await;
    let mut client = Client::connect(&hub);
    plain(
        &mut client,
        "service@sas.root.hub",
        &hub.policy_token("service"),
    )
    .await;
    client.raw(&ProtocolHeader::Amqp.bytes()).await;
    client.start().await;
    hub.clock.advance(Duration::from_mins(66));
    let error = client.close().await.error.unwrap();
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
}

#[tokio::test]
async fn request_whose_id_would_fill_the_memory_with_its_replies_is_rejected() {
    let hub = TestHub::new().await;
    let mut client = Client::open(&hub).await;
    client.attach(sender(100, "$cbs")).await;
    let request = Message {
        properties: Properties {
            message_id: Some("x".repeat(257).as_str().into()),
            ..Properties::default()
        },
        application_properties: vec![("operation".into(), Value::from("delete-token"))],
        ..Message::default()
    };
    let state = client.send_and_wait(100, &request).await;
    assert_eq!(rejection(state), "amqp:invalid-field");
}
