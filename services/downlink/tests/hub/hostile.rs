//! Input nobody wants: the hub keeps standing, bounded, and others do not notice.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Hub, PATIENCE};

/// A CONNECT of a device that does not exist, which a healthy hub answers with CONNACK 5.
fn connect_of_a_stranger() -> Vec<u8> {
    let (client, user, password) = (
        "stranger",
        "localhost/stranger/?api-version=2021-04-12",
        "x",
    );
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0b1100_0000, 0, 60];
    for text in [client, user, password] {
        body.extend(
            u16::try_from(text.len())
                .expect("a short text")
                .to_be_bytes(),
        );
        body.extend(text.as_bytes());
    }
    let mut packet = vec![0x10, u8::try_from(body.len()).expect("a short body")];
    packet.extend(body);
    packet
}

async fn still_answers(hub: &Hub) {
    let mut stream = hub.tls("mqtts").await;
    stream
        .write_all(&connect_of_a_stranger())
        .await
        .expect("the hub reads");
    let mut connack = [0; 4];
    let read = timeout(PATIENCE, stream.read_exact(&mut connack)).await;
    read.expect("an answer in time").expect("an answer");
    assert_eq!(connack, [0x20, 2, 0, 5]);
}

/// Sends `input` and returns everything the hub says until it closes.
async fn answer_until_close(hub: &Hub, door: &str, input: &[u8]) -> Vec<u8> {
    let mut stream = hub.tls(door).await;
    // The hub may close before it has read everything.
    let _ = stream.write_all(input).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the hub closes what it cannot accept");
    answer
}

#[tokio::test]
async fn garbage_on_mqtt_closes_that_connection_alone() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &[]);
    let inputs: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        // A remaining length of five bytes.
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0x7f],
        // A CONNECT that announces 256 MiB.
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
        // A PUBLISH before CONNECT.
        &[0x30, 3, 0, 1, b'a'],
        // A string longer than its packet.
        &[
            0x10, 12, 0xff, 0xff, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 0,
        ],
    ];
    for input in inputs {
        assert_eq!(
            answer_until_close(&hub, "mqtts", input).await,
            b"",
            "{input:?}"
        );
    }
    still_answers(&hub).await;
}

#[tokio::test]
async fn an_older_or_newer_mqtt_level_is_refused_by_its_own_code() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &[]);
    let mut level_five = connect_of_a_stranger();
    level_five[8] = 5;
    // A level-5 CONNECT has a property length before its payload.
    level_five.insert(12, 0);
    level_five[1] += 1;
    let answer = answer_until_close(&hub, "mqtts", &level_five).await;
    assert_eq!(answer.first(), Some(&0x20), "{answer:?}");
    assert_eq!(answer.get(3), Some(&0x84), "{answer:?}");
    still_answers(&hub).await;
}

#[tokio::test]
async fn garbage_on_amqp_closes_that_connection_alone() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &[]);
    let mut deep = b"AMQP\x00\x01\x00\x00".to_vec();
    // One frame whose body nests four thousand lists.
    let lists: Vec<u8> = [0xd0, 0, 0, 0xff, 0xff, 0, 0, 0, 1].repeat(4_000);
    deep.extend(u32::try_from(lists.len() + 8).unwrap().to_be_bytes());
    deep.extend([2, 0, 0, 0]);
    deep.extend(lists);
    let mut oversized = b"AMQP\x00\x01\x00\x00".to_vec();
    oversized.extend([0x7f, 0xff, 0xff, 0xff, 2, 0, 0, 0]);
    let mut short = b"AMQP\x00\x01\x00\x00".to_vec();
    short.extend([0, 0, 0, 4, 2, 0, 0, 0]);
    let inputs: [&[u8]; 5] = [b"HELO\r\n\r\n", &[0; 64], &deep, &oversized, &short];
    for input in inputs {
        let answer = answer_until_close(&hub, "amqps", input).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"AMQP"),
            "{answer:?}"
        );
    }
    still_answers(&hub).await;
}

#[tokio::test]
async fn random_bytes_on_every_door_do_no_harm() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &[]);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0_usize..60 {
        let noise: Vec<u8> = (0..=round * 7)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_be_bytes()[0]
            })
            .collect();
        for (door, prefix) in [
            ("mqtts", &connect_of_a_stranger()[..12]),
            ("amqps", b"AMQP\x00\x01\x00\x00"),
            ("amqps", b"AMQP\x03\x01\x00\x00"),
            ("https", b"PUT /devices/"),
        ] {
            let mut stream = hub.tls(door).await;
            let _ = stream.write_all(prefix).await;
            let _ = stream.write_all(&noise).await;
            let _ = stream.shutdown().await;
        }
    }
    still_answers(&hub).await;
}

#[tokio::test]
async fn a_slow_handshake_is_cut_off_at_its_deadline() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &["--set", "tls.handshake_deadline=2s"]);
    let mut stream = hub.tcp("mqtts").await;
    // The first bytes of a ClientHello, and then nothing.
    stream.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut answer = Vec::new();
    let closed = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the hub waits for ever");
    still_answers(&hub).await;
}

#[tokio::test]
async fn a_silent_mqtt_client_is_cut_off_at_the_connect_deadline() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &["--set", "mqtt.connect_deadline=2s"]);
    let mut stream = hub.tls("mqtts").await;
    let mut answer = Vec::new();
    let closed = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the hub waits for ever");
    still_answers(&hub).await;
}

#[tokio::test]
async fn ten_thousand_silent_connections_cost_little_and_stop_nobody() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &[]);
    let before = hub.resident_bytes();
    let mut silent: Vec<TcpStream> = Vec::with_capacity(10_000);
    for round in 0..100 {
        let door = if round % 2 == 0 { "mqtts" } else { "amqps" };
        let opened = futures::future::join_all((0..100).map(|_| hub.tcp(door))).await;
        silent.extend(opened);
    }
    still_answers(&hub).await;
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(
        grown < 150 * 1024 * 1024,
        "10,000 silent connections cost {grown} bytes"
    );
    drop(silent);
    still_answers(&hub).await;
}

#[tokio::test]
async fn connections_without_a_handshake_do_not_hold_up_the_stop() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path(), &[]);
    let mut silent = Vec::new();
    for door in ["mqtts", "amqps", "https"] {
        let mut stream = hub.tcp(door).await;
        // The beginning of a ClientHello that never goes on.
        stream.write_all(&[22, 3, 1, 0, 200, 1, 0]).await.unwrap();
        silent.push(stream);
    }
    still_answers(&hub).await;
    let began = std::time::Instant::now();
    let code = tokio::task::spawn_blocking(move || hub.signal_and_wait("TERM"));
    assert_eq!(code.await.unwrap(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(8));
}
