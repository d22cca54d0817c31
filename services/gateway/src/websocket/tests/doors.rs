//! What is told to a well-behaved client.

use downlink_domain::presence::Protocol;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const SUBSCRIBED: [u8; 5] = [0x90, 3, 0, 1, 1];

#[tokio::test]
async fn a_device_speaks_mqtt_in_any_frames() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let site = Site::open(hub);
    let (mut client, protocol) = site
        .websocket("/$IotHub/WebSocket/?iothub-no-client-cert=true", "MQTT")
        .await
        .unwrap();
    assert_eq!(protocol, "MQTT");
    let connect = site.connect_packet(&device);
    let (front, back) = connect.split_at(3);
    // The second frame holds the rest of one packet and the whole of another.
    let mut second = back.to_vec();
    let topic = b"devices/dev-1/messages/devicebound/#";
    let len = u8::try_from(topic.len()).unwrap();
    second.extend_from_slice(&[0x82, 5 + len, 0, 1, 0, len]);
    second.extend_from_slice(topic);
    second.push(1);
    client.send(Message::binary(front.to_vec())).await.unwrap();
    client
        .send(Message::Ping(Bytes::from_static(b"?")))
        .await
        .unwrap();
    client.send(Message::binary(second)).await.unwrap();
    let pong = client.next().await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"?")));
    let answers = read(&mut client, CONNACK.len() + SUBSCRIBED.len()).await;
    assert_eq!(answers, [&CONNACK[..], &SUBSCRIBED].concat());
    let handle = site.hub.shared.connections.find(device.key).unwrap();
    assert_eq!(handle.protocol(), Protocol::MqttWs);
    let accepted = |labels| {
        let series = "downlink_gateway_connections_accepted_total";
        site.hub.metric(&format!("{series}{{{labels}}}"))
    };
    assert_eq!(accepted("carrier=\"websocket\",door=\"mqtt\""), 1);
    assert_eq!(accepted("carrier=\"tls\",door=\"https\""), 1);

    // DISCONNECT, and the Close that clients send behind it.
    client.send(Message::binary(&[0xE0, 0][..])).await.unwrap();
    client.close(None).await.unwrap();
    site.hub.until_gone(&device).await;
}

#[tokio::test]
async fn a_back_end_speaks_amqp() {
    let site = Site::open(TestHub::new().await);
    for path in [
        "/$iothub/websocket?iothub-no-client-cert=true",
        "/$servicebus/websocket/",
        "/%24servicebus/websocket",
    ] {
        let (mut client, protocol) = site.websocket(path, "soap, AMQPWSB10").await.unwrap();
        assert_eq!(protocol, "AMQPWSB10", "{path}");
        client
            .send(Message::binary(&b"AMQP\0\x01"[..]))
            .await
            .unwrap();
        // The header comes in pieces.
        client.send(Message::binary(&b"\0\0"[..])).await.unwrap();
        assert_eq!(read(&mut client, 8).await[..8], *b"AMQP\0\x01\0\0");
        let bye = CloseFrame {
            code: 1000.into(),
            reason: "".into(),
        };
        client.close(Some(bye)).await.unwrap();
        assert_eq!(close_code(&mut client).await, 1000);
        assert!(client.next().await.is_none());
    }
    let series = "downlink_gateway_connections_accepted_total{carrier=\"websocket\",door=\"amqp\"}";
    assert_eq!(site.hub.metric(series), 3);
}

#[tokio::test]
async fn a_client_that_is_refused_reads_why_and_then_close() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let site = Site::open(hub);
    let mut client = site.mqtt().await;
    let connect = Connect::new("dev-1")
        .with_username("hub.test/dev-1/?api-version=2021-04-12")
        .with_password("none");
    let mut bytes = BytesMut::new();
    ClientPacket::from(connect).encode(&mut bytes).unwrap();
    client.send(Message::binary(bytes.freeze())).await.unwrap();
    assert_eq!(read(&mut client, 4).await, [0x20, 2, 0, 5]);
    assert_eq!(close_code(&mut client).await, 1000);
    assert!(client.next().await.is_none());
    drop(device);
}

#[tokio::test]
async fn a_gateway_that_goes_away_tells_its_clients_and_drains() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let site = Site::open(hub);
    let mut client = site.mqtt().await;
    client
        .send(Message::binary(site.connect_packet(&device).freeze()))
        .await
        .unwrap();
    assert_eq!(read(&mut client, 4).await, CONNACK);
    let (shut, code) = tokio::join!(
        site.hub.shared.lifecycle.shutdown(Duration::from_secs(30)),
        async {
            let code = close_code(&mut client).await;
            assert!(client.next().await.is_none());
            code
        }
    );
    assert_eq!(shut, Shutdown::Drained);
    assert_eq!(code, 1001);
}

#[tokio::test]
async fn https_is_served_beside_it() {
    let site = Site::open(TestHub::new().await);
    let _client = site.mqtt().await;
    let mut io = site.dial().await;
    let token = site.hub.policy_token("iothubowner");
    let request = |path: &str, extra: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {token}\r\n{extra}\r\n")
    };
    // A refused handshake leaves the connection to further requests.
    let upgrade = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: soap\r\n";
    let old = upgrade.replace("version: 13", "version: 8");
    let requests = [
        request("/$iothub/websocket", upgrade),
        request("/$iothub/websocket", &old),
        request("/$iothub/websocket", ""),
        request("/devices?api-version=2021-04-12", "connection: close\r\n"),
    ];
    io.write_all(requests.concat().as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    // After a handshake hyper leaves the connection without the goodbye of TLS, refused or not.
    let _ = io.read_to_end(&mut answers).await;
    let answers = String::from_utf8(answers).unwrap();
    let heads = answers.match_indices("HTTP/1.1 ");
    let statuses = heads.map(|(at, found)| &answers[at + found.len()..][..3]);
    let statuses = statuses.filter(|status| status.parse::<u16>().is_ok());
    assert_eq!(statuses.collect::<Vec<_>>(), ["400", "400", "400", "200"]);
    assert_eq!(
        answers
            .matches("iothub-errorcode: GenericBadRequest")
            .count(),
        3
    );
    assert_eq!(answers.matches("sec-websocket-version: 13").count(), 1);
    assert!(answers.contains("must name AMQPWSB10 or mqtt"), "{answers}");
}
