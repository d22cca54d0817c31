use downlink_amqp::message::{Body, MessageId};
use downlink_amqp::performative::{DeliveryState, Performative};
use downlink_amqp::types::{Symbol, Timestamp as AmqpTimestamp, Value};
use downlink_domain::message::AckMode;
use downlink_ports::Clock;

use super::client::{COMMANDS, Client, command, rejection, sender};
use super::*;

/// The condition and the number of a refusal.
#[track_caller]
fn refusal(state: &DeliveryState) -> (&str, i32) {
    let DeliveryState::Rejected(Some(error)) = state else {
        panic!("expected a rejection with its reason, got {state:?}")
    };
    let [(_, Value::Int(number))] = error.info.as_slice() else {
        panic!("no number in {error:?}")
    };
    (error.condition.as_str(), *number)
}

#[tokio::test]
async fn message_is_stored_with_all_it_carries_before_it_is_accepted() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    let expiry = (hub.clock.now() + std::time::Duration::from_mins(5)).as_millis();
    let mut message = command("dev-1", "cmd-1");
    message.properties.correlation_id = Some(MessageId::Uuid([0x11; 16]));
    message.properties.user_id = Some("user".into());
    message.properties.content_encoding = Some(Symbol::from_static("utf-8"));
    message.properties.absolute_expiry_time = Some(AmqpTimestamp(expiry));
    message.application_properties = vec![
        ("iothub-ack".into(), Value::from("positiveOnly")),
        ("colour".into(), Value::from("red")),
        ("count".into(), Value::Int(7)),
        ("absent".into(), Value::Null),
    ];
    assert_eq!(
        client.send_and_wait(0, &message).await,
        DeliveryState::Accepted
    );

    let stored = take(&hub, &device, 10).await.remove(0).message;
    let properties = &stored.properties;
    assert_eq!(stored.body, "cmd-1");
    assert_eq!(
        (stored.ack, stored.expiry.as_millis()),
        (AckMode::Positive, expiry)
    );
    assert_eq!(properties.message_id.as_deref(), Some("cmd-1"));
    let correlation = "11111111-1111-1111-1111-111111111111";
    assert_eq!(properties.correlation_id.as_deref(), Some(correlation));
    assert_eq!(
        properties.to.as_deref(),
        Some("/devices/dev-1/messages/devicebound")
    );
    assert_eq!(properties.user_id.as_deref(), Some("user"));
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.content_encoding.as_deref(), Some("utf-8"));
    let application = [("colour", "red"), ("count", "7")];
    assert_eq!(
        properties.application,
        application.map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
}

#[tokio::test]
async fn pipelined_messages_keep_their_order_per_device() {
    let hub = TestHub::new().await;
    let devices = [
        hub.device("dev-0").await,
        hub.device("dev-1").await,
        hub.device("dev-2").await,
    ];
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    let mut last = 0;
    for number in 0..120 {
        let device = format!("dev-{}", number % 3);
        last = client
            .send(0, &command(&device, &format!("m-{number}")))
            .await;
    }
    let mut accepted = 0;
    while accepted < 120 {
        let disposition = client.disposition().await;
        assert_eq!(disposition.state, Some(DeliveryState::Accepted));
        let end = disposition.last.unwrap_or(disposition.first);
        assert!(end <= last);
        accepted += end - disposition.first + 1;
    }
    for (index, device) in devices.iter().enumerate() {
        let ids: Vec<String> = take(&hub, device, 50)
            .await
            .into_iter()
            .map(|locked| locked.message.properties.message_id.unwrap())
            .collect();
        let expected: Vec<String> = (0..40)
            .map(|round| format!("m-{}", round * 3 + index))
            .collect();
        assert_eq!(ids, expected);
    }
}

#[tokio::test]
async fn every_refusal_has_its_condition_and_number_and_the_link_lives_on() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    hub.device("dev-2").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;

    let state = client.send_and_wait(0, &command("nobody", "1")).await;
    assert_eq!(refusal(&state), ("amqp:not-found", 404_001));

    let mut homeless = command("dev-1", "2");
    homeless.properties.to = None;
    let state = client.send_and_wait(0, &homeless).await;
    assert_eq!(refusal(&state), ("amqp:not-allowed", 400_003));

    let mut module = command("dev-1", "3");
    module.properties.to = Some("/devices/dev-1/modules/m/messages/devicebound".into());
    let state = client.send_and_wait(0, &module).await;
    assert_eq!(refusal(&state), ("amqp:not-found", 404_010));

    let mut bad_ack = command("dev-1", "4");
    bad_ack.application_properties = vec![("iothub-ack".into(), Value::from("sometimes"))];
    let state = client.send_and_wait(0, &bad_ack).await;
    assert_eq!(refusal(&state), ("com.microsoft:argument-error", 400_004));

    let mut nested = command("dev-1", "5");
    nested.application_properties = vec![("a".into(), Value::List(vec![]))];
    let state = client.send_and_wait(0, &nested).await;
    assert_eq!(refusal(&state), ("com.microsoft:argument-error", 400_004));

    let mut bad_user = command("dev-1", "6");
    bad_user.properties.user_id = Some(vec![0xff].into());
    let state = client.send_and_wait(0, &bad_user).await;
    assert_eq!(refusal(&state), ("com.microsoft:argument-error", 400_004));

    let mut sequence = command("dev-1", "7");
    sequence.body = Body::Sequence(vec![vec![0x45].into()]);
    let state = client.send_and_wait(0, &sequence).await;
    assert_eq!(refusal(&state), ("com.microsoft:argument-error", 400_004));

    for number in 0..50 {
        let message = command("dev-1", &format!("ok-{number}"));
        assert_eq!(
            client.send_and_wait(0, &message).await,
            DeliveryState::Accepted
        );
    }
    let state = client.send_and_wait(0, &command("dev-1", "51st")).await;
    assert_eq!(refusal(&state), ("amqp:resource-limit-exceeded", 403_004));

    hub.backend.set_busy(true);
    let state = client.send_and_wait(0, &command("dev-2", "6")).await;
    assert_eq!(
        refusal(&state),
        ("com.microsoft:device-container-throttled", 429_001)
    );
    hub.backend.set_busy(false);

    hub.backend.set_down(true);
    let state = client.send_and_wait(0, &command("dev-2", "7")).await;
    assert_eq!(refusal(&state), ("com.microsoft:timeout", 503_001));
    hub.backend.set_down(false);

    let state = client.send_and_wait(0, &command("dev-2", "8")).await;
    assert_eq!(state, DeliveryState::Accepted);
}

#[tokio::test]
async fn one_bad_message_does_not_spoil_its_batch() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    for (target, id) in [("dev-1", "a"), ("nobody", "b"), ("dev-1", "c")] {
        client.send(0, &command(target, id)).await;
    }
    let mut outcomes = Vec::new();
    while outcomes.len() < 3 {
        let disposition = client.disposition().await;
        for id in disposition.first..=disposition.last.unwrap_or(disposition.first) {
            outcomes.push((
                id,
                disposition.state.clone() == Some(DeliveryState::Accepted),
            ));
        }
    }
    outcomes.sort_unstable();
    let accepted: Vec<bool> = outcomes
        .into_iter()
        .map(|(_, is_accepted)| is_accepted)
        .collect();
    assert_eq!(accepted, [true, false, true]);
    assert_eq!(take(&hub, &device, 10).await.len(), 2);
}

#[tokio::test]
async fn ids_are_found_raw_first_and_then_decoded() {
    let hub = TestHub::new().await;
    let encoded = hub.device("a:b").await;
    let raw = hub.device("100%25").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    // Node encodes: the id is found on the second reading, in order, and first from then on.
    for id in ["1", "2", "3"] {
        let message = command("a%3Ab", id);
        assert_eq!(
            client.send_and_wait(0, &message).await,
            DeliveryState::Accepted
        );
    }
    let ids: Vec<_> = take(&hub, &encoded, 10).await;
    let ids: Vec<_> = ids
        .iter()
        .map(|locked| locked.message.body.clone())
        .collect();
    assert_eq!(ids, ["1", "2", "3"]);
    // Python does not: the raw id is found although the link has met encoded ones.
    let message = command("100%25", "4");
    assert_eq!(
        client.send_and_wait(0, &message).await,
        DeliveryState::Accepted
    );
    assert_eq!(take(&hub, &raw, 10).await.len(), 1);
}

#[tokio::test]
async fn a_refusal_of_the_device_that_the_second_reading_names_is_told() {
    let hub = TestHub::new().await;
    hub.device("a:b").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    for number in 0..50 {
        let message = command("a:b", &number.to_string());
        assert_eq!(
            client.send_and_wait(0, &message).await,
            DeliveryState::Accepted
        );
    }
    let state = client.send_and_wait(0, &command("a%3Ab", "51st")).await;
    assert_eq!(rejection(state), "amqp:resource-limit-exceeded");
}

#[tokio::test]
async fn message_above_the_links_limit_is_rejected_by_name() {
    let hub = TestHub::with(|options| options.amqp.max_message_bytes = 1024).await;
    hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    let echo = client.attach(sender(0, COMMANDS)).await;
    assert_eq!(echo.max_message_size, Some(1024));
    let mut message = command("dev-1", "big");
    message.body = Body::Data(vec![7; 2000].into());
    let state = client.send_and_wait(0, &message).await;
    assert_eq!(rejection(state), "amqp:link:message-size-exceeded");
}

#[tokio::test]
async fn sender_link_gets_the_configured_credit_after_its_echo() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "service").await;
    client
        .attach(sender(0, "amqps://hub.test:5671/messages/deviceBound"))
        .await;
    let (Performative::Flow(flow), _) = client.frame().await else {
        panic!("no flow")
    };
    assert_eq!(
        (flow.handle, flow.link_credit, flow.delivery_count),
        (Some(0), Some(1000), Some(0))
    );
}
