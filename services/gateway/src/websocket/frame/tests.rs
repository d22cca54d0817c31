//! Frames in any pieces, and those that are not taken.

use proptest::prelude::*;

use super::*;

/// A frame as a client sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    masked(first, payload, [0x37, 0xFA, 0x21, 0x3D])
}

fn masked(first: u8, payload: &[u8], mask: Mask) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(len @ ..126) = u8::try_from(payload.len()) {
        bytes.push(MASKED | len);
    } else if let Ok(len) = u16::try_from(payload.len()) {
        bytes.push(0xFE);
        bytes.extend_from_slice(&len.to_be_bytes());
    } else {
        bytes.push(0xFF);
        bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    bytes.extend_from_slice(&mask);
    let payload = payload.iter().zip(mask.iter().cycle());
    bytes.extend(payload.map(|(byte, key)| byte ^ key));
    bytes
}

/// Reads all of it at once.
fn decode(mut bytes: Vec<u8>) -> (Vec<u8>, Decoder) {
    let mut decoder = Decoder::new();
    let kept = decoder.decode(&mut bytes);
    bytes.truncate(kept);
    (bytes, decoder)
}

fn standing_after(bytes: &[u8]) -> Standing {
    decode(bytes.to_vec()).1.standing()
}

const BINARY: u8 = 0x82;
const BINARY_BEGUN: u8 = 0x02;
const CONTINUED: u8 = 0x00;
const LAST: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

#[test]
fn the_masked_example_of_the_standard_is_read() {
    let mut bytes = vec![
        0x82, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58,
    ];
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(&mut bytes), 5);
    assert_eq!(&bytes[..5], b"Hello");
}

#[test]
fn pieces_of_a_message_are_one_stream_with_pings_between_them() {
    let bytes = [
        frame(BINARY_BEGUN, b"one "),
        frame(PING, b"first"),
        frame(CONTINUED, b"two "),
        frame(PING, b"second"),
        frame(PONG, b"unasked"),
        frame(LAST, b"three"),
    ];
    let (payload, mut decoder) = decode(bytes.concat());
    assert_eq!(payload, b"one two three");
    assert_eq!(decoder.take_ping().unwrap().as_bytes(), b"second");
    assert!(decoder.take_ping().is_none());
    assert!(decoder.is_between_messages());
}

#[test]
fn an_end_within_a_message_shows() {
    for bytes in [
        vec![BINARY],
        frame(BINARY, b"all but the last")[..10].to_vec(),
        frame(BINARY_BEGUN, b"more to come"),
        frame(PING, b"a ping")[..8].to_vec(),
    ] {
        assert!(!decode(bytes).1.is_between_messages());
    }
}

#[test]
fn close_ends_the_stream_and_hides_what_follows() {
    let bytes = [
        frame(BINARY, b"before"),
        frame(CLOSE, &[0x03, 0xE8, b'b', b'y', b'e']),
        frame(BINARY, b"after"),
    ];
    let (payload, decoder) = decode(bytes.concat());
    assert_eq!(payload, b"before");
    assert_eq!(decoder.standing(), Standing::Closed(Some(1000)));
    assert_eq!(standing_after(&frame(CLOSE, b"")), Standing::Closed(None));
}

#[test]
fn what_breaks_the_rules_is_told_by_its_close_code() {
    let of_length = |first, length: u64| {
        let mut bytes = vec![first, 0xFF];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes
    };
    for (bytes, violation, code) in [
        (vec![0x81, 0x80], Violation::Text, 1003),
        (vec![0x01, 0x80], Violation::Text, 1003),
        (vec![0xC2, 0x80], Violation::Reserved, 1002),
        (vec![0x92, 0x80], Violation::Reserved, 1002),
        (vec![0x83, 0x80], Violation::Reserved, 1002),
        (vec![0x8B, 0x80], Violation::Reserved, 1002),
        (vec![0x82, 0x05], Violation::NotMasked, 1002),
        (vec![0x80, 0x80], Violation::BadFragment, 1002),
        (vec![0x09, 0x80], Violation::BadControl, 1002),
        (vec![0x89, 0xFE], Violation::BadControl, 1002),
        (vec![0x88, 0xFF], Violation::BadControl, 1002),
        (frame(CLOSE, &[3]), Violation::BadClose, 1002),
        (frame(CLOSE, &[0x03, 0xED]), Violation::BadClose, 1002),
        (frame(CLOSE, &[0, 1]), Violation::BadClose, 1002),
        (
            [frame(BINARY_BEGUN, b"x"), frame(BINARY, b"y")].concat(),
            Violation::BadFragment,
            1002,
        ),
        (
            of_length(BINARY, MAX_FRAME_BYTES + 1),
            Violation::TooLarge,
            1009,
        ),
        (of_length(BINARY, u64::MAX), Violation::TooLarge, 1009),
    ] {
        let expected = Standing::Failed(violation);
        assert_eq!(standing_after(&bytes), expected, "{bytes:x?}");
        assert_eq!(violation.close_code(), code);
    }
    assert_eq!(
        standing_after(&of_length(BINARY, MAX_FRAME_BYTES)),
        Standing::Open
    );
}

#[test]
fn the_head_of_a_frame_is_as_short_as_it_can_be() {
    for (payload, bytes) in [
        (0, vec![0x82, 0]),
        (125, vec![0x82, 125]),
        (126, vec![0x82, 126, 0, 126]),
        (16_380, vec![0x82, 126, 0x3F, 0xFC]),
        (u16::MAX, vec![0x82, 126, 0xFF, 0xFF]),
    ] {
        assert_eq!(Head::new(Opcode::Binary, payload).left(), bytes);
    }
    let mut head = Head::new(Opcode::Binary, 300);
    assert!(head.is_whole());
    assert_eq!(head.advance(3), 0);
    assert!(!head.is_whole());
    assert_eq!(head.left(), [44]);
    assert_eq!(head.advance(11), 10);
    assert!(head.left().is_empty());
}

/// A frame of data or of control, in no relation to its neighbours.
fn any_frame() -> impl Strategy<Value = (bool, Vec<u8>, Mask)> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    (any::<bool>(), bytes, any::<Mask>())
}

proptest! {
    #[test]
    fn however_it_is_cut_the_payload_is_the_same(
        frames in prop::collection::vec(any_frame(), 1..12),
        cuts in prop::collection::vec(1_usize..400, 1..40),
        is_fragmented in any::<bool>(),
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        let mut is_begun = false;
        for (is_ping, payload, mask) in &frames {
            if *is_ping {
                let payload = &payload[..payload.len().min(MAX_CONTROL_BYTES)];
                bytes.extend(masked(PING, payload, *mask));
                continue;
            }
            let first = match (is_fragmented, is_begun) {
                (false, _) => BINARY,
                (true, false) => BINARY_BEGUN,
                (true, true) => CONTINUED,
            };
            is_begun = true;
            bytes.extend(masked(first, payload, *mask));
            expected.extend_from_slice(payload);
        }
        let mut decoder = Decoder::new();
        let (mut rest, mut payload) = (&bytes[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            let mut chunk = chunk.to_vec();
            let kept = decoder.decode(&mut chunk);
            payload.extend_from_slice(&chunk[..kept]);
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(payload, expected);
        prop_assert_eq!(decoder.standing(), Standing::Open);
    }

    #[test]
    fn no_input_panics_or_grows(
        mut bytes in prop::collection::vec(any::<u8>(), 0..2000),
        cut in 0_usize..2000,
    ) {
        let cut = cut.min(bytes.len());
        let mut whole = bytes.clone();
        let mut decoder = Decoder::new();
        let kept = decoder.decode(&mut whole);
        let mut in_two = Decoder::new();
        let (front, back) = bytes.split_at_mut(cut);
        let (one, two) = (in_two.decode(front), in_two.decode(back));
        prop_assert_eq!(kept, one + two);
        prop_assert_eq!(&whole[..kept], &[&front[..one], &back[..two]].concat());
        prop_assert_eq!(decoder.standing(), in_two.standing());
    }
}
