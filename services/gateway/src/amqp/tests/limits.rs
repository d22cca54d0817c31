//! What one connection may cost, and what is counted of it.

use std::time::Duration;

use downlink_amqp::frame::{EMPTY_FRAME, ProtocolHeader};
use downlink_amqp::message::Body;
use downlink_amqp::performative::{Begin, DeliveryState, Open, Performative};
use tokio::time::{Instant, timeout};

use super::client::{COMMANDS, Client, FEEDBACK, command, receiver, sender};
use super::feedback::{hub_with_feedback, produce_feedback};
use super::*;

fn open(idle_time_out: Option<u32>) -> Open {
    Open {
        container_id: "client".into(),
        hostname: Some("hub.test".into()),
        max_frame_size: 65_536,
        channel_max: 8191,
        idle_time_out,
    }
}

fn ended(hub: &TestHub, cause: &str) -> u64 {
    let series = "downlink_gateway_amqp_connections_ended_total";
    hub.metric(&format!("{series}{{cause=\"{cause}\"}}"))
}

#[tokio::test]
async fn open_announces_what_the_settings_say() {
    let hub = TestHub::with(|options| {
        options.amqp.max_frame_bytes = 2048;
        options.amqp.idle_timeout = Duration::from_secs(20);
    })
    .await;
    let mut client = Client::connect(&hub);
    client.raw(&ProtocolHeader::Amqp.bytes()).await;
    client.write(open(None)).await;
    assert_eq!(client.header().await, ProtocolHeader::Amqp.bytes());
    let (Performative::Open(open), _) = client.frame().await else {
        panic!("no open")
    };
    assert_eq!(
        (open.max_frame_size, open.idle_time_out),
        (2048, Some(20_000))
    );
}

#[tokio::test]
async fn a_frame_above_the_limit_closes_the_connection() {
    let hub = TestHub::with(|options| options.amqp.max_frame_bytes = 2048).await;
    hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    let mut message = command("dev-1", "1");
    message.body = Body::Data(vec![7; 3000].into());
    client.send(0, &message).await;
    let error = client.close().await.error.unwrap();
    assert_eq!(error.condition.as_str(), "amqp:connection:framing-error");
}

#[tokio::test]
async fn one_session_more_than_the_limit_closes_the_connection() {
    let hub = TestHub::with(|options| options.amqp.max_sessions = 2).await;
    let mut client = Client::open(&hub).await;
    let begin = Begin {
        remote_channel: None,
        next_outgoing_id: 0,
        incoming_window: 100,
        outgoing_window: 100,
        handle_max: 10,
    };
    client.channel = 1;
    client.write(begin).await;
    assert!(matches!(client.frame().await.0, Performative::Begin(_)));
    assert_eq!(hub.metric("downlink_gateway_amqp_sessions"), 2);
    client.channel = 2;
    client.write(begin).await;
    let error = client.close().await.error.unwrap();
    assert_eq!(error.condition.as_str(), "amqp:resource-limit-exceeded");
}

#[tokio::test]
async fn a_client_that_does_not_settle_gets_no_more_than_the_limit() {
    let hub = TestHub::with(|options| options.amqp.max_unsettled = 2).await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    for number in 0..4 {
        produce_feedback(&hub, &mut client, &device, &format!("cmd-{number}")).await;
    }
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 100).await;
    let first = client.transfer().await.0.delivery_id.unwrap();
    client.transfer().await;
    let unsettled = "downlink_gateway_amqp_unsettled{direction=\"out\"}";
    assert_eq!(hub.metric(unsettled), 2);
    // Another receiver gets what this one has no room for.
    let mut other = Client::with_policy(&hub, "service").await;
    other.attach(receiver(1, FEEDBACK)).await;
    other.credit(1, 0, 1).await;
    other.transfer().await;
    // Its word makes room for one.
    client.settle(first, true, DeliveryState::Accepted).await;
    client.transfer().await;
}

#[tokio::test]
async fn under_a_tight_bound_of_held_bytes_every_message_passes_in_its_turn() {
    let hub = TestHub::with(|options| options.amqp.max_held_bytes = 1).await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    for number in 0..40 {
        client
            .send(0, &command("dev-1", &format!("m-{number}")))
            .await;
    }
    let mut accepted = 0;
    while accepted < 40 {
        let disposition = client.disposition().await;
        assert_eq!(disposition.state, Some(DeliveryState::Accepted));
        accepted += disposition.last.unwrap_or(disposition.first) - disposition.first + 1;
    }
    assert_eq!(take(&hub, &device, 50).await.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_cut_after_twice_the_idle_time_out() {
    let hub = TestHub::with(|options| options.amqp.idle_timeout = Duration::from_secs(20)).await;
    let mut client = Client::with_policy(&hub, "service").await;
    let started = Instant::now();
    while client.try_frame().await.is_some() {}
    let took = started.elapsed().as_secs();
    assert!((40..=46).contains(&took), "{took}");
    until(|| ended(&hub, "timed_out") == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wants_signs_of_life_gets_empty_frames_in_time() {
    let hub = TestHub::new().await;
    let mut client = Client::connect(&hub);
    client.raw(&ProtocolHeader::Amqp.bytes()).await;
    client.write(open(Some(30_000))).await;
    assert_eq!(client.header().await, ProtocolHeader::Amqp.bytes());
    assert!(matches!(client.frame().await.0, Performative::Open(_)));
    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(client.header().await, EMPTY_FRAME);
        assert!(started.elapsed() <= Duration::from_secs(16));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_costs_its_own_connection_only() {
    let hub = TestHub::with(|options| options.amqp.max_output_bytes = 16 * 1024).await;
    hub.device("dev-1").await;
    let mut deaf = Client::connect_through(&hub, 4096);
    deaf.raw(&ProtocolHeader::Amqp.bytes()).await;
    deaf.start().await;
    assert_eq!(deaf.put_token(&hub.policy_token("service")).await.0, 200);
    deaf.attach(sender(0, COMMANDS)).await;
    // Each refusal has a text of its own, so that they do not join.
    let mut sent = 0;
    let stuck_at = Instant::now();
    loop {
        let message = command(&format!("nobody-{sent}"), "1");
        let sending = deaf.send(0, &message);
        if timeout(Duration::from_secs(1), sending).await.is_err() {
            break;
        }
        sent += 1;
        assert!(
            sent < 1000,
            "the hub reads on though nobody reads what it says"
        );
    }
    let mut other = Client::with_policy(&hub, "service").await;
    other.attach(sender(0, COMMANDS)).await;
    let state = other.send_and_wait(0, &command("dev-1", "1")).await;
    assert_eq!(state, DeliveryState::Accepted);
    until(|| ended(&hub, "unread") == 1).await;
    assert!(stuck_at.elapsed() < Duration::from_secs(40));
    let state = other.send_and_wait(0, &command("dev-1", "2")).await;
    assert_eq!(state, DeliveryState::Accepted);
}

#[tokio::test]
async fn links_and_messages_are_counted_by_kind() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 1).await;
    let delivery = client.transfer().await.0.delivery_id.unwrap();
    client.settle(delivery, true, DeliveryState::Accepted).await;
    client.attach_refused(sender(2, "/nowhere")).await;
    let count =
        |name: &str, labels: &str| hub.metric(&format!("downlink_gateway_amqp_{name}{{{labels}}}"));
    assert_eq!(count("links", "link=\"commands\""), 1);
    assert_eq!(count("links", "link=\"feedback\""), 1);
    assert_eq!(count("links", "link=\"token_replies\""), 1);
    let of_feedback = "direction=\"out\",link=\"feedback\"";
    assert_eq!(count("messages_total", of_feedback), 1);
    let of_commands = "direction=\"in\",link=\"commands\"";
    assert_eq!(count("messages_total", of_commands), 1);
    assert_eq!(count("links_refused_total", "cause=\"not_found\""), 1);
    assert_eq!(count("unsettled", "direction=\"in\""), 0);
    assert_eq!(count("unsettled", "direction=\"out\""), 0);
    assert!(count("traffic_bytes_total", "direction=\"in\"") > 0);
    client.leave(1).await;
    let of_feedback = "cause=\"closed\",link=\"feedback\"";
    assert_eq!(count("links_ended_total", of_feedback), 1);
    drop(client);
    until(|| ended(&hub, "lost") == 1).await;
    until(|| count("links", "link=\"commands\"") == 0).await;
    assert_eq!(hub.metric("downlink_gateway_amqp_sessions"), 0);
}

/// Lets the door go on until something holds; a failing test ends by the suite's deadline.
async fn until(holds: impl Fn() -> bool) {
    let all = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_mins(1), all).await.unwrap();
}
