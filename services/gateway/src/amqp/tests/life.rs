use std::time::Duration;

use downlink_amqp::frame::ProtocolHeader;
use downlink_amqp::performative::{Close, DeliveryState, End, Performative};
use downlink_runtime::Shutdown;

use super::client::{COMMANDS, Client, FEEDBACK, command, receiver, sender};
use super::*;

#[tokio::test]
async fn close_is_answered_and_the_socket_ends() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.write(Close { error: None }).await;
    assert_eq!(client.close().await, Close { error: None });
    assert!(client.try_frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn last_record_of_a_client_that_goes_is_read_so_that_nothing_is_reset() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.write(Close { error: None }).await;
    client.close().await;
    assert!(client.try_frame().await.is_none());
    let ended = tokio::time::Instant::now();
    client.raw(&[0; 24]).await;
    // Nobody waits for long for a client that does not close.
    client.until_dropped().await;
    let waited = ended.elapsed();
    let most = Duration::from_millis(2200);
    assert!(
        (Duration::from_secs(2)..most).contains(&waited),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn draining_gateway_detaches_and_then_closes_with_reasons_that_clients_retry_on() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    let state = client.send_and_wait(0, &command("dev-1", "1")).await;
    assert_eq!(state, DeliveryState::Accepted);
    let lifecycle = hub.shared.lifecycle.clone();
    let client_side = async {
        client.parted(3).await;
        let refused = client.attach_refused(sender(5, COMMANDS)).await;
        assert_eq!(refused, "amqp:link:detach-forced");
        let error = client.close().await.error.unwrap();
        assert_eq!(error.condition.as_str(), "amqp:connection:forced");
        client.write(Close { error: None }).await;
        assert!(client.try_frame().await.is_none());
    };
    let (ended, ()) = tokio::join!(lifecycle.shutdown(Duration::from_secs(30)), client_side);
    assert_eq!(ended, Shutdown::Drained);
}

#[tokio::test(start_paused = true)]
async fn client_that_leaves_once_its_links_are_detached_takes_leave_in_its_own_order() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    let lifecycle = hub.shared.lifecycle.clone();
    let started = tokio::time::Instant::now();
    let client_side = async {
        client.parted(3).await;
        client.write(End { error: None }).await;
        assert!(matches!(client.answer().await.0, Performative::End(_)));
        client.write(Close { error: None }).await;
        assert_eq!(client.close().await, Close { error: None });
        assert!(client.try_frame().await.is_none());
        drop(client);
    };
    let (ended, ()) = tokio::join!(lifecycle.shutdown(Duration::from_secs(30)), client_side);
    assert_eq!(ended, Shutdown::Drained);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_waits_for_feedback_hardly_holds_up_the_drain() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(receiver(0, FEEDBACK)).await;
    client.credit(0, 0, 10).await;
    // The answer to a further attach shows that the credit was seen.
    client.attach(sender(1, COMMANDS)).await;
    let lifecycle = hub.shared.lifecycle.clone();
    let started = tokio::time::Instant::now();
    let client_side = async {
        client.parted(4).await;
        client.write(Close { error: None }).await;
        client.close().await;
        assert!(client.try_frame().await.is_none());
    };
    let (ended, ()) = tokio::join!(lifecycle.shutdown(Duration::from_secs(30)), client_side);
    assert_eq!(ended, Shutdown::Drained);
    assert!(started.elapsed() <= Duration::from_secs(2));
}

#[tokio::test]
async fn other_protocols_get_a_header_and_the_end() {
    let hub = TestHub::new().await;
    let mut client = Client::connect(&hub);
    client.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.header().await, ProtocolHeader::Sasl.bytes());
    assert!(client.try_frame().await.is_none());
}

#[tokio::test]
async fn garbage_after_open_closes_with_its_condition() {
    let hub = TestHub::new().await;
    let mut client = Client::open(&hub).await;
    client.raw(&[0xff; 64]).await;
    let error = client.close().await.error.unwrap();
    assert_eq!(error.condition.as_str(), "amqp:connection:framing-error");
    assert!(client.try_frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn silent_stranger_is_cut_at_the_deadline_of_open() {
    let hub = TestHub::new().await;
    let started = tokio::time::Instant::now();
    let mut client = Client::connect(&hub);
    assert!(client.try_frame().await.is_none());
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn stranger_that_puts_no_token_is_closed() {
    let hub = TestHub::new().await;
    let mut client = Client::open(&hub).await;
    let started = tokio::time::Instant::now();
    let error = client.close().await.error.unwrap();
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
    assert_eq!(started.elapsed().as_secs(), 60);
}

#[tokio::test]
async fn links_of_a_session_are_bounded() {
    let hub = TestHub::with(|options| options.amqp.max_links = 3).await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    let condition = client.attach_refused(receiver(1, FEEDBACK)).await;
    assert_eq!(condition, "amqp:resource-limit-exceeded");
}

#[tokio::test]
async fn input_split_at_every_byte_is_understood() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut client = Client::connect(&hub);
    for byte in ProtocolHeader::Amqp.bytes() {
        client.raw(&[byte]).await;
    }
    client.start().await;
    assert_eq!(client.put_token(&hub.policy_token("service")).await.0, 200);
    client.attach(sender(0, COMMANDS)).await;
    let mut frame = Vec::new();
    let transfer = downlink_amqp::performative::Transfer {
        handle: 0,
        delivery_id: Some(9),
        delivery_tag: downlink_amqp::performative::DeliveryTag::new(&[9]),
        message_format: Some(0),
        ..Default::default()
    };
    downlink_amqp::frame::write_frame(
        &mut frame,
        downlink_amqp::frame::FrameType::Amqp,
        0,
        |out| {
            Performative::from(transfer).encode(out);
            out.extend_from_slice(&command("dev-1", "slow").encode());
        },
    );
    for byte in frame {
        client.raw(&[byte]).await;
    }
    let disposition = client.disposition().await;
    assert_eq!(
        (disposition.first, disposition.state),
        (9, Some(DeliveryState::Accepted))
    );
}
