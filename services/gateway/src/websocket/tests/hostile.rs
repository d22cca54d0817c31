//! What is told to a client that behaves badly, and what it costs.

use downlink_domain::message::{AckMode, NewMessage, Properties};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::arrival::Arrival;
use crate::https;

const HANDSHAKE: &[u8] = b"GET /$iothub/websocket HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: mqtt\r\n\
    sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Opens a connection without TLS, for tests that move the time; its far end and the task that serves it.
#[expect(
    clippy::disallowed_methods,
    reason = "a bare task, so that the test can await the end of the connection"
)]
fn open(hub: &TestHub) -> (DuplexStream, JoinHandle<()>) {
    let (peer, io) = duplex(8 * 1024);
    let router = https::router(Arc::clone(&hub.shared));
    let shared = Arc::clone(&hub.shared);
    let served = https::serve(shared, router, io, Arrival::over_tls(None));
    (peer, tokio::spawn(served))
}

/// Opens a WebSocket and reads the answer to its handshake.
async fn upgrade(hub: &TestHub) -> (DuplexStream, JoinHandle<()>) {
    let (mut peer, served) = open(hub);
    peer.write_all(HANDSHAKE).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(peer.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    (peer, served)
}

/// A binary frame under the mask of zeroes.
fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap();
    let [high, low] = len.to_be_bytes();
    let mut frame = vec![0x82, 0xFE, high, low, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn frames_that_break_the_rules_end_a_connection_that_was_admitted() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let site = Site::open(hub);
    for (hostile, code) in [
        (&b"\x81\x85\0\0\0\0hello"[..], 1003),
        (b"\x82\x01x", 1002),
        (b"\x82\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0", 1009),
        (b"\x09\x80\0\0\0\0", 1002),
    ] {
        let mut client = site.mqtt().await;
        let connect = site.connect_packet(&device).freeze();
        client.send(Message::binary(connect)).await.unwrap();
        assert_eq!(read(&mut client, 4).await, [0x20, 2, 0, 0]);
        client.get_mut().write_all(hostile).await.unwrap();
        client.get_mut().flush().await.unwrap();
        assert_eq!(close_code(&mut client).await, code);
        site.hub.until_gone(&device).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_or_half_closed_takes_its_device_along() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let site = Site::open(hub);
    for is_cut in [true, false] {
        let mut client = site.mqtt().await;
        let connect = site.connect_packet(&device).freeze();
        client.send(Message::binary(connect)).await.unwrap();
        assert_eq!(read(&mut client, 4).await, [0x20, 2, 0, 0]);
        if is_cut {
            drop(client);
            site.hub.until_gone(&device).await;
        } else {
            client.get_mut().shutdown().await.unwrap();
            site.hub.until_gone(&device).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_is_cut_off() {
    let hub = TestHub::new().await;
    let (mut peer, served) = open(&hub);
    let began_at = tokio::time::Instant::now();
    let trickle = async {
        for byte in HANDSHAKE {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if peer.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(trickle, async { served.await.unwrap() });
    // Counted from the first byte, which comes after a second.
    let limit = hub.shared.options.https.header_deadline + Duration::from_secs(2);
    assert!(began_at.elapsed() <= limit, "{:?}", began_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_that_open_and_say_nothing_are_closed_in_time() {
    let hub = TestHub::new().await;
    let mut peers = Vec::new();
    for _ in 0..1000 {
        let (mut peer, served) = upgrade(&hub).await;
        // Pings are no sign of life to the door inside.
        peer.write_all(b"\x89\x80\0\0\0\0").await.unwrap();
        peers.push((peer, served));
    }
    let opened_at = tokio::time::Instant::now();
    for (mut peer, served) in peers {
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"\x8A\0\x88\x02\x03\xE8");
        served.await.unwrap();
    }
    let limit = hub.shared.options.mqtt.connect_deadline + Duration::from_secs(10);
    assert!(opened_at.elapsed() <= limit, "{:?}", opened_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_is_left_when_its_time_is_over() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut peer, served) = upgrade(&hub).await;
    let connect = Connect::new("dev-1")
        .with_username("hub.test/dev-1/?api-version=2021-04-12")
        .with_password(hub.device_token(&device));
    let mut packets = BytesMut::new();
    ClientPacket::from(connect).encode(&mut packets).unwrap();
    packets.extend_from_slice(b"\x82\x29\0\x01\0\x24devices/dev-1/messages/devicebound/#\x01");
    peer.write_all(&frame(&packets)).await.unwrap();
    // Two frames of the hub: CONNACK and SUBACK may share one.
    let mut answers = Vec::new();
    while !answers.ends_with(&[0x90, 3, 0, 1, 1]) {
        answers.push(peer.read_u8().await.unwrap());
    }
    let messages = (0..4).map(|_| NewMessage {
        hub: device.hub.clone(),
        device: device.name.device.clone(),
        properties: Properties::default(),
        ack: AckMode::None,
        expiry: None,
        body: Bytes::from(vec![7; 60_000]),
    });
    let queue = &hub.shared.peers.queue;
    for outcome in queue.enqueue(messages.collect()).await.unwrap() {
        outcome.expect("the queue has room");
    }
    let sent_at = tokio::time::Instant::now();
    served.await.unwrap();
    let limit = hub.shared.options.mqtt.write_deadline + Duration::from_secs(1);
    assert!(sent_at.elapsed() <= limit, "{:?}", sent_at.elapsed());
    assert!(hub.shared.connections.find(device.key).is_none());
}
