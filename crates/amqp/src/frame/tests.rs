use super::*;

#[test]
fn empty_frame_has_no_body() {
    let frame = parse_frame(&EMPTY_FRAME, 512).unwrap().unwrap();
    assert_eq!((frame.channel, frame.size), (0, 8));
    assert_eq!(decode_body(frame.body), Ok(None));
}

#[test]
fn oversized_frame_is_refused_at_its_fourth_byte() {
    let error = parse_frame(&[0x7f, 0xff, 0xff, 0xff], 8192);
    assert_eq!(
        error,
        Err(FrameError::TooLarge {
            size: 0x7fff_ffff,
            limit: 8192
        })
    );
}

#[test]
fn frame_is_incomplete_until_its_last_byte() {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, FrameType::Amqp, 7, |out| out.extend([1, 2, 3]));
    for length in 0..bytes.len() {
        assert_eq!(parse_frame(&bytes[..length], 512), Ok(None));
    }
    let frame = parse_frame(&bytes, 512).unwrap().unwrap();
    assert_eq!((frame.channel, frame.body), (7, &[1, 2, 3][..]));
}

#[test]
fn sizes_and_offsets_that_do_not_fit_are_malformed() {
    assert_eq!(
        parse_frame(&[0, 0, 0, 7, 2, 0, 0, 0], 512),
        Err(FrameError::Malformed)
    );
    assert_eq!(
        parse_frame(&[0, 0, 0, 8, 1, 0, 0, 0], 512),
        Err(FrameError::Malformed)
    );
    assert_eq!(
        parse_frame(&[0, 0, 0, 8, 3, 0, 0, 0], 512),
        Err(FrameError::Malformed)
    );
    assert_eq!(
        parse_frame(&[0, 0, 0, 8, 2, 9, 0, 0], 512),
        Err(FrameError::UnknownType(9))
    );
}

#[test]
fn extended_header_is_passed_over() {
    let bytes = [0, 0, 0, 13, 3, 0, 0, 1, 9, 9, 9, 9, 0x42];
    assert_eq!(parse_frame(&bytes, 512).unwrap().unwrap().body, &[0x42]);
}

#[test]
fn protocol_headers_are_told_apart() {
    assert_eq!(
        ProtocolHeader::parse(*b"AMQP\x00\x01\x00\x00"),
        Some(ProtocolHeader::Amqp)
    );
    assert_eq!(
        ProtocolHeader::parse(*b"AMQP\x03\x01\x00\x00"),
        Some(ProtocolHeader::Sasl)
    );
    assert_eq!(ProtocolHeader::parse(*b"AMQP\x02\x01\x00\x00"), None);
    assert_eq!(ProtocolHeader::parse(*b"GET / HT"), None);
}
