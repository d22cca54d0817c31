use super::*;

#[test]
fn sasl_plain_waits_for_the_verdict_and_keeps_what_is_pipelined() {
    let mut peer = Peer::new(Options::default());
    peer.bytes(&ProtocolHeader::Sasl.bytes());
    assert_eq!(peer.take_header(), ProtocolHeader::Sasl.bytes());
    assert!(matches!(peer.take_sasl(), SaslFrame::Mechanisms(list) if list.len() == 4));

    let init = SaslFrame::Init {
        mechanism: Symbol::from_static("PLAIN"),
        initial_response: Some(Bytes::from_static(b"\0service@sas.root.hub1\0token")),
    };
    let mut flight = Vec::new();
    write_frame(&mut flight, FrameType::Sasl, 0, |out| init.encode(out));
    flight.extend(ProtocolHeader::Amqp.bytes());
    flight.extend(encode(0, &open(65_536, None).into(), &[]));
    peer.bytes(&flight);

    let Event::SaslPlain(credential) = peer.event() else {
        panic!("no credential")
    };
    assert_eq!(credential.authcid, "service@sas.root.hub1");
    peer.no_event();
    assert!(!peer.engine.wants_input());
    peer.engine.answer_sasl(SaslCode::Ok, peer.now);
    assert!(matches!(peer.event(), Event::Opened { .. }));
    assert_eq!(peer.take_sasl(), SaslFrame::outcome(SaslCode::Ok));
    assert_eq!(peer.take_header(), ProtocolHeader::Amqp.bytes());
    assert!(matches!(peer.expect().performative, Performative::Open(_)));
}

#[test]
fn refused_credential_gets_outcome_1_and_ends_the_connection() {
    let mut peer = Peer::new(Options::default());
    peer.bytes(&ProtocolHeader::Sasl.bytes());
    let init = SaslFrame::Init {
        mechanism: Symbol::from_static("PLAIN"),
        initial_response: Some(Bytes::from_static(b"\0a\0b")),
    };
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameType::Sasl, 0, |out| init.encode(out));
    peer.bytes(&frame);
    peer.event();
    peer.engine.answer_sasl(SaslCode::Auth, peer.now);
    peer.take_header();
    peer.take_sasl();
    assert_eq!(
        peer.take_sasl(),
        SaslFrame::Outcome {
            code: 1,
            additional_data: None
        }
    );
    assert!(peer.engine.is_finished());
    assert_eq!(
        peer.event(),
        Event::Closed {
            cause: CloseCause::Unauthorized,
            error: None
        }
    );
}

#[test]
fn flood_behind_an_unchecked_credential_is_cut() {
    let mut peer = Peer::new(Options::default());
    peer.bytes(&ProtocolHeader::Sasl.bytes());
    let init = SaslFrame::Init {
        mechanism: Symbol::from_static("EXTERNAL"),
        initial_response: None,
    };
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameType::Sasl, 0, |out| init.encode(out));
    peer.bytes(&frame);
    assert_eq!(peer.event(), Event::SaslExternal);
    peer.bytes(&[0; 5_000]);
    assert!(!peer.engine.is_finished());
    peer.bytes(&[0; 5_000]);
    assert!(peer.engine.is_finished());
}

#[test]
fn other_protocols_get_the_servers_header_and_the_end() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"AMQP\x00\x00\x09\x01",
        b"\x16\x03\x01",
    ] {
        let mut peer = Peer::new(Options::default());
        peer.bytes(bytes);
        assert_eq!(peer.take_header(), ProtocolHeader::Sasl.bytes());
        assert!(peer.engine.is_finished());
    }
}

#[test]
fn second_sasl_layer_is_refused() {
    let mut peer = Peer::new(Options::default());
    peer.bytes(&ProtocolHeader::Sasl.bytes());
    let init = SaslFrame::Init {
        mechanism: Symbol::from_static("ANONYMOUS"),
        initial_response: None,
    };
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameType::Sasl, 0, |out| init.encode(out));
    peer.bytes(&frame);
    peer.bytes(&ProtocolHeader::Sasl.bytes());
    assert!(peer.engine.is_finished());
}

#[test]
fn open_answer_announces_the_hubs_limits() {
    let mut peer = Peer::new(Options::default());
    peer.bytes(&ProtocolHeader::Amqp.bytes());
    peer.write(0, open(u32::MAX, Some(120_000)));
    peer.take_header();
    let Performative::Open(answer) = peer.expect().performative else {
        panic!("no open")
    };
    assert_eq!(answer.idle_time_out, Some(240_000));
    assert_eq!((answer.max_frame_size, answer.channel_max), (65_536, 8_191));
    assert!(!answer.container_id.is_empty());
}

#[test]
fn frame_size_below_512_is_refused_with_open_and_close() {
    let mut peer = Peer::new(Options::default());
    peer.bytes(&ProtocolHeader::Amqp.bytes());
    peer.write(0, open(511, None));
    peer.take_header();
    assert!(matches!(peer.expect().performative, Performative::Open(_)));
    let Performative::Close(close) = peer.expect().performative else {
        panic!("no close")
    };
    assert_eq!(close.error.unwrap().condition, condition::INVALID_FIELD);
}
