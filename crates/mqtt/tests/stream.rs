//! The codec as a stream: whatever is encoded comes back, however it is cut, and noise does no harm.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use downlink_mqtt::identity::ClientIdentity;
use downlink_mqtt::limits::MAX_PACKET_BYTES;
use downlink_mqtt::packet::{
    ClientPacket, Connack, Connect, ConnectReturnCode, ConnectWill, Delivery, FrameReader,
    PacketId, Publish, Qos, ServerPacket, Suback, SubackCode, Subscribe, SubscribeFilter,
    Unsubscribe, decode,
};
use downlink_mqtt::session::{KeepAlive, Redelivery, Session, SessionOptions};
use downlink_mqtt::{DecodeError, Violation};
use proptest::prelude::*;

fn text(range: &'static str) -> impl Strategy<Value = String> {
    proptest::string::string_regex(range).expect("a valid pattern")
}

/// Text that MQTT can carry: no null character.
fn mqtt_text() -> impl Strategy<Value = String> {
    text("[^\0]{0,24}")
}

fn topic() -> impl Strategy<Value = String> {
    text("[^\0]{1,24}")
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|value| PacketId::new(value).expect("above zero"))
}

fn qos() -> impl Strategy<Value = Qos> {
    prop::sample::select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

fn publish() -> impl Strategy<Value = Publish> {
    let delivery = prop_oneof![
        Just(Delivery::AtMostOnce),
        (packet_id(), any::<bool>())
            .prop_map(|(packet_id, dup)| Delivery::AtLeastOnce { packet_id, dup }),
    ];
    (topic(), delivery, any::<bool>(), payload()).prop_map(|(topic, delivery, retain, payload)| {
        Publish {
            topic,
            delivery,
            retain,
            payload,
        }
    })
}

fn connect() -> impl Strategy<Value = Connect> {
    let will =
        (topic(), payload(), qos(), any::<bool>()).prop_map(|(topic, payload, qos, retain)| {
            ConnectWill {
                topic,
                payload,
                qos,
                retain,
            }
        });
    let credentials = prop::option::of((mqtt_text(), prop::option::of(payload())));
    (
        mqtt_text(),
        any::<bool>(),
        any::<u16>(),
        prop::option::of(will),
        credentials,
    )
        .prop_map(
            |(client_id, clean_session, keep_alive_seconds, will, credentials)| {
                let (username, password) = credentials.unzip();
                let password = password.flatten();
                Connect {
                    client_id,
                    clean_session,
                    keep_alive_seconds,
                    will,
                    username,
                    password,
                }
            },
        )
}

fn client_packet() -> impl Strategy<Value = ClientPacket> {
    let filter = (topic(), qos()).prop_map(|(filter, qos)| SubscribeFilter { filter, qos });
    let subscribe = (packet_id(), prop::collection::vec(filter, 1..6))
        .prop_map(|(packet_id, filters)| Subscribe { packet_id, filters });
    let unsubscribe = (packet_id(), prop::collection::vec(topic(), 1..6))
        .prop_map(|(packet_id, filters)| Unsubscribe { packet_id, filters });
    prop_oneof![
        connect().prop_map(ClientPacket::from),
        publish().prop_map(ClientPacket::Publish),
        packet_id().prop_map(ClientPacket::Puback),
        subscribe.prop_map(ClientPacket::Subscribe),
        unsubscribe.prop_map(ClientPacket::Unsubscribe),
        Just(ClientPacket::Pingreq),
        Just(ClientPacket::Disconnect),
    ]
}

/// Packets whose topics and filters a session knows, beside arbitrary ones.
fn session_packet() -> impl Strategy<Value = ClientPacket> {
    let topics = vec![
        "devices/dev1/messages/events/a=b&%24.mid=1",
        "$iothub/twin/GET/?$rid=1",
        "$iothub/twin/PATCH/properties/reported/?$rid=2&$version=3",
        "$iothub/methods/res/200/?$rid=4",
    ];
    let known_topic = (publish(), prop::sample::select(topics)).prop_map(|(publish, topic)| {
        ClientPacket::Publish(Publish {
            topic: topic.to_owned(),
            ..publish
        })
    });
    let filters = vec![
        "devices/dev1/messages/devicebound/#",
        "$iothub/twin/res/#",
        "$iothub/methods/POST/#",
        "$iothub/methods/POST/a/#",
        "$iothub/methods/POST/b/#",
        "$iothub/twin/PATCH/properties/desired/#",
    ];
    let filter = prop::sample::select(filters);
    let subscribe = (packet_id(), filter.clone(), qos()).prop_map(|(packet_id, filter, qos)| {
        let filters = vec![SubscribeFilter {
            filter: filter.to_owned(),
            qos,
        }];
        ClientPacket::Subscribe(Subscribe { packet_id, filters })
    });
    let unsubscribe = (packet_id(), filter).prop_map(|(packet_id, filter)| {
        ClientPacket::Unsubscribe(Unsubscribe {
            packet_id,
            filters: vec![filter.to_owned()],
        })
    });
    let puback = (1_u16..40).prop_map(|value| PacketId::new(value).expect("above zero"));
    let puback = puback.prop_map(ClientPacket::Puback);
    prop_oneof![client_packet(), known_topic, subscribe, unsubscribe, puback]
}

fn server_packet() -> impl Strategy<Value = ServerPacket> {
    let connack = prop_oneof![
        any::<bool>().prop_map(|session_present| Connack::Accepted { session_present }),
        Just(Connack::Refused(ConnectReturnCode::ServerUnavailable)),
        Just(Connack::Refused(ConnectReturnCode::NotAuthorized)),
    ];
    let code = prop_oneof![
        qos().prop_map(SubackCode::Granted),
        Just(SubackCode::Failure)
    ];
    let suback = (packet_id(), prop::collection::vec(code, 1..6))
        .prop_map(|(packet_id, codes)| Suback { packet_id, codes });
    prop_oneof![
        connack.prop_map(ServerPacket::Connack),
        publish().prop_map(ServerPacket::Publish),
        packet_id().prop_map(ServerPacket::Puback),
        suback.prop_map(ServerPacket::Suback),
        packet_id().prop_map(ServerPacket::Unsuback),
        Just(ServerPacket::Pingresp),
    ]
}

fn encode_all(packets: &[ClientPacket]) -> BytesMut {
    let mut wire = BytesMut::new();
    for packet in packets {
        packet.encode(&mut wire).expect("fields fit");
    }
    wire
}

/// Feeds chunks one after the other and checks what is held in between.
fn read_chunks(chunks: &[&[u8]], limit: usize) -> Result<Vec<ClientPacket>, DecodeError> {
    let mut reader = FrameReader::new(limit);
    let mut packets = Vec::new();
    for chunk in chunks {
        let mut rest = *chunk;
        while let Some(frame) = reader.next(&mut rest)? {
            packets.push(frame.into_client_packet()?);
        }
        assert!(rest.is_empty(), "what is not taken is kept");
        assert!(
            reader.held_bytes() <= limit,
            "{} bytes held",
            reader.held_bytes()
        );
    }
    Ok(packets)
}

#[test]
fn a_stream_cut_at_every_byte_gives_the_same_packets() {
    let publish = Publish {
        topic: "devices/d/messages/events/".to_owned(),
        delivery: Delivery::AtLeastOnce {
            packet_id: PacketId::FIRST,
            dup: false,
        },
        retain: false,
        payload: Bytes::from(vec![7; 200]),
    };
    let packets = [
        Connect::new("d")
            .with_username("h/d")
            .with_password("p")
            .into(),
        ClientPacket::Pingreq,
        ClientPacket::Publish(publish),
        ClientPacket::Puback(PacketId::FIRST),
        ClientPacket::Disconnect,
    ];
    let wire = encode_all(&packets);
    for cut in 0..=wire.len() {
        let (head, tail) = wire.split_at(cut);
        assert_eq!(
            read_chunks(&[head, tail], 4096).expect("valid"),
            packets,
            "cut at {cut}"
        );
    }
    let single_bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(read_chunks(&single_bytes, 4096).expect("valid"), packets);
}

#[test]
fn memory_follows_the_bytes_that_came_and_not_the_length_announced() {
    let mut reader = FrameReader::new(MAX_PACKET_BYTES);
    let mut header = &[0x30, 0x80, 0x80, 0x10, 0, 1, b't'][..];
    assert!(reader.next(&mut header).expect("valid so far").is_none());
    assert!(
        reader.held_bytes() <= 16,
        "{} bytes held for 7",
        reader.held_bytes()
    );
}

#[test]
fn memory_is_let_go_with_the_packet() {
    let mut reader = FrameReader::new(4096);
    let wire = encode_all(&[ClientPacket::Pingreq, ClientPacket::Pingreq]);
    let (head, mut tail) = wire.split_at(3);
    let mut head = head;
    assert!(reader.next(&mut head).expect("valid").is_some());
    assert!(reader.next(&mut head).expect("valid").is_none());
    assert!(reader.held_bytes() > 0);
    assert!(reader.next(&mut tail).expect("valid").is_some());
    assert_eq!(reader.held_bytes(), 0);
}

#[test]
fn what_follows_a_packet_stays_in_the_chunk() {
    let mut reader = FrameReader::new(4096);
    let wire = encode_all(&[Connect::new("d").into(), ClientPacket::Pingreq]);
    let mut chunk = &wire[..];
    assert!(reader.next(&mut chunk).expect("valid").is_some());
    assert_eq!(
        chunk,
        [0xC0, 0],
        "the caller may hold it back until the client is known"
    );
}

#[test]
fn a_payload_decoded_from_an_own_buffer_is_not_copied() {
    let payload = Bytes::from(vec![1; 5000]);
    let publish = Publish {
        topic: "t".to_owned(),
        delivery: Delivery::AtMostOnce,
        retain: false,
        payload,
    };
    let mut wire = encode_all(&[ClientPacket::Publish(publish)]);
    let start = wire.as_ptr().addr() + 6;
    let Ok(Some(ClientPacket::Publish(publish))) = decode(&mut wire, MAX_PACKET_BYTES) else {
        panic!("a whole publish is there");
    };
    assert_eq!(publish.payload.as_ptr().addr(), start);
}

proptest! {
    #[test]
    fn client_packets_come_back_as_they_were(packets in prop::collection::vec(client_packet(), 1..5)) {
        let mut wire = encode_all(&packets);
        for packet in &packets {
            let decoded = decode(&mut wire, MAX_PACKET_BYTES);
            prop_assert_eq!(decoded.as_ref(), Ok(&Some(packet.clone())));
        }
        prop_assert_eq!(decode(&mut wire, MAX_PACKET_BYTES), Ok(None));
    }

    #[test]
    fn server_packets_come_back_as_they_were(packet in server_packet()) {
        let mut wire = BytesMut::new();
        packet.encode(&mut wire).expect("fields fit");
        let mut chunk = &wire[..];
        let frame = FrameReader::new(MAX_PACKET_BYTES).next(&mut chunk).expect("valid");
        prop_assert_eq!(frame.expect("whole").into_server_packet(), Ok(packet));
        prop_assert!(chunk.is_empty());
    }

    #[test]
    fn random_cuts_do_not_matter(
        packets in prop::collection::vec(client_packet(), 1..5),
        sizes in prop::collection::vec(1_usize..40, 1..60),
    ) {
        let wire = encode_all(&packets);
        let mut rest = &wire[..];
        let mut chunks = Vec::new();
        for size in sizes {
            let (chunk, tail) = rest.split_at(size.min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        chunks.push(rest);
        prop_assert_eq!(read_chunks(&chunks, MAX_PACKET_BYTES).expect("valid"), packets);
    }

    #[test]
    fn noise_neither_panics_nor_holds_more_than_the_limit(
        noise in prop::collection::vec(any::<u8>(), 0..600),
        size in 1_usize..50,
    ) {
        let chunks: Vec<&[u8]> = noise.chunks(size).collect();
        let by_chunks = read_chunks(&chunks, 256);
        let mut buffer = BytesMut::from(&noise[..]);
        let mut at_once = Vec::new();
        let outcome = loop {
            match decode(&mut buffer, 256) {
                Ok(Some(packet)) => at_once.push(packet),
                Ok(None) => break Ok(at_once),
                Err(error) => break Err(error),
            }
        };
        match (by_chunks, outcome) {
            (Ok(left), Ok(right)) => prop_assert_eq!(left, right),
            // A packet of the wrong direction is refused by its header in one and by its frame in the other.
            (left, right) => prop_assert!(
                left == right || matches!(right, Err(DecodeError::WrongDirection(_)))
            ),
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_read_as_something_else_but_never_panics(
        packet in client_packet(),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut wire = encode_all(&[packet]);
        let position = position.index(wire.len());
        wire[position] = byte;
        let _ = decode(&mut wire, MAX_PACKET_BYTES);
    }

    #[test]
    fn no_sequence_of_packets_makes_a_session_panic(
        packets in prop::collection::vec(session_packet(), 0..30),
    ) {
        let identity = ClientIdentity::device("dev1").expect("a valid id");
        let options = SessionOptions { window: 2, ..SessionOptions::new(KeepAlive::from_seconds(60)) };
        let mut session = Session::new(identity, options, Duration::ZERO);
        for (sequence, packet) in packets.into_iter().enumerate() {
            let sequence = u64::try_from(sequence).expect("small");
            let is_connect = matches!(packet, ClientPacket::Connect(_));
            let outcome = session.on_packet(packet, Duration::from_secs(sequence));
            prop_assert_eq!(is_connect, outcome == Err(Violation::SecondConnect));
            let _ = session.place_delivery(sequence, sequence, Redelivery::No);
            prop_assert!(session.delivery_credit() <= 2);
            let stored = session.subscriptions().to_stored(session.identity());
            prop_assert!(stored.len() <= 5);
            prop_assert_eq!(session.restore(&stored), Ok(()));
        }
    }
}
