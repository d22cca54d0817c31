//! Packets byte by byte as the MQTT 3.1.1 standard draws them, and what it forbids.

use bytes::{Bytes, BytesMut};
use downlink_mqtt::DecodeError;
use downlink_mqtt::limits::MAX_PACKET_BYTES;
use downlink_mqtt::packet::{
    ClientPacket, Connack, Connect, ConnectReturnCode, ConnectWill, Delivery, PacketId, PacketKind,
    Publish, Qos, ServerPacket, Suback, SubackCode, Subscribe, SubscribeFilter, Unsubscribe,
    decode, encode_publish_head,
};

fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("tests use identifiers above zero")
}

#[track_caller]
fn assert_client_vector(bytes: &[u8], packet: &ClientPacket) {
    let mut buffer = BytesMut::from(bytes);
    let decoded = decode(&mut buffer, MAX_PACKET_BYTES)
        .expect("valid")
        .expect("whole");
    assert_eq!(&decoded, packet);
    assert!(buffer.is_empty(), "nothing is left over");
    let mut encoded = BytesMut::new();
    packet.encode(&mut encoded).expect("fields fit");
    assert_eq!(&encoded[..], bytes);
}

#[track_caller]
fn assert_server_vector(bytes: &[u8], packet: &ServerPacket) {
    let mut encoded = BytesMut::new();
    packet.encode(&mut encoded).expect("fields fit");
    assert_eq!(&encoded[..], bytes);
}

#[track_caller]
fn assert_refused(bytes: &[u8], error: DecodeError) {
    let found = decode(&mut BytesMut::from(bytes), MAX_PACKET_BYTES);
    assert_eq!(found, Err(error), "{bytes:02x?}");
}

/// A CONNECT with these connect flags and this payload.
fn connect_bytes(flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(10 + payload.len()).expect("short");
    let mut bytes = vec![0x10, length, 0, 4, b'M', b'Q', b'T', b'T', 4, flags, 0, 10];
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn connect_with_every_field_set() {
    let payload = b"\0\x02id\0\x01w\0\x02\x01\x02\0\x01u\0\x01p";
    let connect = Connect {
        client_id: "id".to_owned(),
        clean_session: true,
        keep_alive_seconds: 10,
        will: Some(ConnectWill {
            topic: "w".to_owned(),
            payload: Bytes::from_static(&[1, 2]),
            qos: Qos::AtLeastOnce,
            retain: false,
        }),
        username: Some("u".to_owned()),
        password: Some(Bytes::from_static(b"p")),
    };
    // Figure 3.6 of the standard: user name, password, will with quality of service 1, clean session.
    assert_client_vector(&connect_bytes(0b1100_1110, payload), &connect.into());
}

#[test]
fn connect_with_an_identifier_alone() {
    let connect = Connect {
        keep_alive_seconds: 10,
        ..Connect::new("")
    };
    assert_client_vector(&connect_bytes(0, b"\0\0"), &connect.into());
}

#[test]
fn publish_of_both_kinds() {
    // Figure 3.11 of the standard: topic a/b, identifier 10.
    let publish = Publish {
        topic: "a/b".to_owned(),
        delivery: Delivery::AtLeastOnce {
            packet_id: id(10),
            dup: false,
        },
        retain: false,
        payload: Bytes::from_static(b"hi"),
    };
    let bytes = [0x32, 9, 0, 3, b'a', b'/', b'b', 0, 10, b'h', b'i'];
    assert_client_vector(&bytes, &ClientPacket::Publish(publish.clone()));
    assert_server_vector(&bytes, &ServerPacket::Publish(publish.clone()));
    let dup = Delivery::AtLeastOnce {
        packet_id: id(10),
        dup: true,
    };
    let repeated = Publish {
        delivery: dup,
        retain: true,
        ..publish.clone()
    };
    let bytes = [0x3B, 9, 0, 3, b'a', b'/', b'b', 0, 10, b'h', b'i'];
    assert_client_vector(&bytes, &ClientPacket::Publish(repeated));
    let once = Publish {
        delivery: Delivery::AtMostOnce,
        payload: Bytes::new(),
        ..publish
    };
    assert_client_vector(
        &[0x30, 5, 0, 3, b'a', b'/', b'b'],
        &ClientPacket::Publish(once),
    );
}

#[test]
fn subscribe_and_unsubscribe_as_drawn() {
    // Figures 3.23 and 3.30 of the standard: filters a/b and c/d.
    let filters = [("a/b", Qos::AtLeastOnce), ("c/d", Qos::ExactlyOnce)].map(|(filter, qos)| {
        SubscribeFilter {
            filter: filter.to_owned(),
            qos,
        }
    });
    let subscribe = Subscribe {
        packet_id: id(10),
        filters: filters.to_vec(),
    };
    assert_client_vector(
        b"\x82\x0E\0\x0A\0\x03a/b\x01\0\x03c/d\x02",
        &ClientPacket::Subscribe(subscribe),
    );
    let filters = vec!["a/b".to_owned(), "c/d".to_owned()];
    let unsubscribe = Unsubscribe {
        packet_id: id(10),
        filters,
    };
    assert_client_vector(
        b"\xA2\x0C\0\x0A\0\x03a/b\0\x03c/d",
        &ClientPacket::Unsubscribe(unsubscribe),
    );
}

#[test]
fn packets_without_a_payload() {
    assert_client_vector(&[0x40, 2, 0x12, 0x34], &ClientPacket::Puback(id(0x1234)));
    assert_client_vector(&[0xC0, 0], &ClientPacket::Pingreq);
    assert_client_vector(&[0xE0, 0], &ClientPacket::Disconnect);
    assert_server_vector(&[0x40, 2, 0, 1], &ServerPacket::Puback(id(1)));
    assert_server_vector(&[0xB0, 2, 0, 1], &ServerPacket::Unsuback(id(1)));
    assert_server_vector(&[0xD0, 0], &ServerPacket::Pingresp);
}

#[test]
fn connack_of_every_code() {
    let accepted = |session_present| ServerPacket::Connack(Connack::Accepted { session_present });
    assert_server_vector(&[0x20, 2, 0, 0], &accepted(false));
    assert_server_vector(&[0x20, 2, 1, 0], &accepted(true));
    for (code, number) in [
        (ConnectReturnCode::UnacceptableProtocolVersion, 1),
        (ConnectReturnCode::IdentifierRejected, 2),
        (ConnectReturnCode::ServerUnavailable, 3),
        (ConnectReturnCode::BadUsernameOrPassword, 4),
        (ConnectReturnCode::NotAuthorized, 5),
    ] {
        assert_server_vector(
            &[0x20, 2, 0, number],
            &ServerPacket::Connack(Connack::Refused(code)),
        );
    }
}

#[test]
fn suback_as_drawn() {
    // Figure 3.26 of the standard: granted 0, granted 2, failure.
    let codes = vec![
        SubackCode::Granted(Qos::AtMostOnce),
        SubackCode::Granted(Qos::ExactlyOnce),
        SubackCode::Failure,
    ];
    let suback = Suback {
        packet_id: id(10),
        codes,
    };
    assert_server_vector(&[0x90, 5, 0, 10, 0, 2, 0x80], &ServerPacket::Suback(suback));
}

#[test]
fn remaining_lengths_at_the_edges_of_their_size() {
    // Table 2.4 of the standard; topic and its length take three of the bytes.
    for (remaining, length_bytes) in [
        (127, &[0x7F][..]),
        (128, &[0x80, 0x01][..]),
        (16_383, &[0xFF, 0x7F][..]),
        (16_384, &[0x80, 0x80, 0x01][..]),
        (2_097_151, &[0xFF, 0xFF, 0x7F][..]),
        (2_097_152, &[0x80, 0x80, 0x80, 0x01][..]),
        (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F][..]),
    ] {
        let mut out = BytesMut::new();
        encode_publish_head("t", Delivery::AtMostOnce, remaining - 3, &mut out).expect("fits");
        assert_eq!(&out[1..=length_bytes.len()], length_bytes);
        let total = out.len() + remaining - 3;
        let refused = decode(&mut out, 100);
        let error = DecodeError::PacketTooLarge {
            announced_bytes: total,
            max_bytes: 100,
        };
        assert_eq!(refused, Err(error));
    }
    let too_long =
        encode_publish_head("t", Delivery::AtMostOnce, 268_435_453, &mut BytesMut::new());
    assert!(too_long.is_err());
}

#[test]
fn fixed_headers_are_strict() {
    assert_refused(&[0x00, 0], DecodeError::ReservedPacketType(0));
    assert_refused(&[0xF0, 0], DecodeError::ReservedPacketType(15));
    assert_refused(
        &[0xC0, 0x80, 0x80, 0x80, 0x80],
        DecodeError::RemainingLength,
    );
    for (first, kind) in [
        (0x11, PacketKind::Connect),
        (0x41, PacketKind::Puback),
        (0x60, PacketKind::Pubrel),
        (0x80, PacketKind::Subscribe),
        (0x83, PacketKind::Subscribe),
        (0xA0, PacketKind::Unsubscribe),
        (0xC1, PacketKind::Pingreq),
        (0xE8, PacketKind::Disconnect),
    ] {
        assert_refused(&[first, 0], DecodeError::FixedHeaderFlags(kind));
    }
}

#[test]
fn packets_of_the_server_and_of_quality_of_service_two_are_refused() {
    for (first, kind) in [
        (0x20, PacketKind::Connack),
        (0x90, PacketKind::Suback),
        (0xB0, PacketKind::Unsuback),
        (0xD0, PacketKind::Pingresp),
    ] {
        assert_refused(&[first, 0], DecodeError::WrongDirection(kind));
    }
    assert_refused(&[0x50, 2, 0, 1], DecodeError::QosTwo(PacketKind::Pubrec));
    assert_refused(&[0x62, 2, 0, 1], DecodeError::QosTwo(PacketKind::Pubrel));
    assert_refused(&[0x70, 2, 0, 1], DecodeError::QosTwo(PacketKind::Pubcomp));
    assert_refused(
        &[0x34, 5, 0, 1, b't', 0, 1],
        DecodeError::QosTwo(PacketKind::Publish),
    );
}

#[test]
fn publishes_are_strict() {
    let publish = PacketKind::Publish;
    assert_refused(&[0x36, 5, 0, 1, b't', 0, 1], DecodeError::QosThree);
    assert_refused(&[0x38, 3, 0, 1, b't'], DecodeError::DuplicateAtMostOnce);
    assert_refused(
        &[0x32, 5, 0, 1, b't', 0, 0],
        DecodeError::ZeroPacketId(publish),
    );
    assert_refused(&[0x32, 3, 0, 1, b't'], DecodeError::Truncated(publish));
    assert_refused(&[0x30, 2, 0, 0], DecodeError::EmptyTopic(publish));
    assert_refused(&[0x30, 3, 0, 9, b't'], DecodeError::Truncated(publish));
    assert_refused(&[0x30, 3, 0, 1, 0], DecodeError::NullCharacter(publish));
    assert_refused(&[0x30, 3, 0, 1, 0xFF], DecodeError::InvalidUtf8(publish));
    // A surrogate half is no character of UTF-8.
    assert_refused(
        &[0x30, 5, 0, 3, 0xED, 0xA0, 0x80],
        DecodeError::InvalidUtf8(publish),
    );
}

#[test]
fn connects_are_strict() {
    let connect = PacketKind::Connect;
    assert_refused(
        &connect_bytes(0b0000_0001, b"\0\0"),
        DecodeError::ReservedConnectFlag,
    );
    assert_refused(&connect_bytes(0b0000_1000, b"\0\0"), DecodeError::WillFlags);
    assert_refused(&connect_bytes(0b0010_0000, b"\0\0"), DecodeError::WillFlags);
    assert_refused(
        &connect_bytes(0b0001_1100, b"\0\0"),
        DecodeError::WillQosThree,
    );
    assert_refused(
        &connect_bytes(0b0100_0000, b"\0\0\0\0"),
        DecodeError::PasswordWithoutUsername,
    );
    assert_refused(
        &connect_bytes(0b1000_0000, b"\0\0"),
        DecodeError::Truncated(connect),
    );
    assert_refused(
        &connect_bytes(0, b"\0\0x"),
        DecodeError::TrailingBytes(connect),
    );
    assert_refused(
        &connect_bytes(0, b"\0\x01\0"),
        DecodeError::NullCharacter(connect),
    );
    assert_refused(b"\x10\x07\0\x04MQTX\x04", DecodeError::ProtocolName);
    assert_refused(b"\x10\x09\0\x06MQIsdp\x04", DecodeError::ProtocolName);
    assert_refused(b"\x10\x09\0\x06MQIsdp\x03", DecodeError::ProtocolLevel(3));
    assert_refused(b"\x10\x07\0\x04MQTT\x05", DecodeError::ProtocolLevel(5));
    assert_refused(b"\x10\x06\0\x04MQTT", DecodeError::Truncated(connect));
}

#[test]
fn subscribes_are_strict() {
    let subscribe = PacketKind::Subscribe;
    assert_refused(&[0x82, 2, 0, 1], DecodeError::NoFilter(subscribe));
    assert_refused(&[0x82, 2, 0, 0], DecodeError::ZeroPacketId(subscribe));
    assert_refused(&[0x82, 6, 0, 1, 0, 1, b'a', 3], DecodeError::RequestedQos);
    assert_refused(
        &[0x82, 6, 0, 1, 0, 1, b'a', 0x81],
        DecodeError::RequestedQos,
    );
    assert_refused(
        &[0x82, 5, 0, 1, 0, 1, b'a'],
        DecodeError::Truncated(subscribe),
    );
    assert_refused(
        &[0x82, 5, 0, 1, 0, 0, 1],
        DecodeError::EmptyTopic(subscribe),
    );
    assert_refused(
        &[0xA2, 2, 0, 1],
        DecodeError::NoFilter(PacketKind::Unsubscribe),
    );
    assert_refused(
        &[0x40, 3, 0, 1, 0],
        DecodeError::TrailingBytes(PacketKind::Puback),
    );
    assert_refused(
        &[0xC0, 1, 0],
        DecodeError::TrailingBytes(PacketKind::Pingreq),
    );
}

#[test]
fn a_packet_with_very_many_filters_is_refused() {
    let body = [&[0, 1][..], &b"\0\x01a\0".repeat(33)].concat();
    let mut bytes = vec![
        0x82,
        0x80 | u8::try_from(body.len() % 128).expect("below 128"),
        1,
    ];
    bytes.extend_from_slice(&body);
    assert_refused(&bytes, DecodeError::TooManyFilters(PacketKind::Subscribe));
}

#[test]
fn a_packet_over_the_limit_is_refused_by_its_header_alone() {
    let mut header = BytesMut::from(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F][..]);
    let error = DecodeError::PacketTooLarge {
        announced_bytes: 268_435_460,
        max_bytes: 4096,
    };
    assert_eq!(decode(&mut header, 4096), Err(error));
    let mut exact = BytesMut::from(&[0xC0, 0][..]);
    assert_eq!(decode(&mut exact, 2), Ok(Some(ClientPacket::Pingreq)));
}

#[test]
fn a_password_is_never_shown() {
    let connect = Connect::new("d").with_username("u").with_password("s3cret");
    let shown = format!("{:?}", ClientPacket::from(connect));
    assert!(
        shown.contains("***") && !shown.contains("s3cret"),
        "{shown}"
    );
}
