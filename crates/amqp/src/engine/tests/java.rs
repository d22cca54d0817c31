//! proton-j: SASL ANONYMOUS pipelined, empty container-id, frames of 4096 bytes, many sessions.

use super::*;

#[test]
fn pipelined_anonymous_with_empty_container_id_opens() {
    let init = SaslFrame::Init {
        mechanism: Symbol::from_static("ANONYMOUS"),
        initial_response: None,
    };
    let mut flight = ProtocolHeader::Sasl.bytes().to_vec();
    write_frame(&mut flight, FrameType::Sasl, 0, |out| init.encode(out));
    let mut peer = Peer::new(Options::default());
    peer.bytes(&flight);
    assert_eq!(peer.take_header(), ProtocolHeader::Sasl.bytes());
    peer.take_sasl();
    assert_eq!(peer.take_sasl(), SaslFrame::outcome(SaslCode::Ok));
    let mut flight = ProtocolHeader::Amqp.bytes().to_vec();
    let open = Open {
        container_id: String::new(),
        ..open(4096, Some(115_000))
    };
    flight.extend(encode(0, &open.into(), &[]));
    peer.bytes(&flight);
    let hostname = Some("hub1.example.net".to_owned());
    assert_eq!(
        peer.event(),
        Event::Opened {
            container_id: String::new(),
            hostname
        }
    );
}

#[test]
fn large_messages_are_split_to_frames_of_4096_bytes() {
    let mut peer = Peer::open(4096);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 1024);
    let text = "0123456789".repeat(6_000);
    let message = data(&text);
    peer.engine
        .send(link, tag(1), message.clone(), SendSettled::No)
        .unwrap();
    let (mut payload, mut frames) = (Vec::new(), 0);
    while let Some((sent, size)) = peer.next_frame() {
        let Performative::Transfer(transfer) = sent.performative else {
            panic!("no transfer")
        };
        assert!(size <= 4096);
        assert!(!sent.payload.is_empty());
        assert_eq!(transfer.delivery_id.is_some(), frames == 0);
        assert_eq!(transfer.delivery_tag.is_some(), frames == 0);
        payload.extend(sent.payload);
        frames += 1;
        assert_eq!(transfer.more, payload.len() < message.len());
    }
    assert_eq!((payload, frames), (message.to_vec(), 15));
}

#[test]
fn thousand_sessions_are_begun_and_answered_each_with_its_channel() {
    let mut peer = Peer::open(4096);
    for channel in 1..=1000 {
        peer.write(channel, begin());
        let sent = peer.expect();
        let Performative::Begin(answer) = sent.performative else {
            panic!("no begin")
        };
        assert_eq!(
            (sent.channel, answer.remote_channel),
            (channel, Some(channel))
        );
    }
}

#[test]
fn rejection_of_a_send_carries_its_error() {
    let mut peer = Peer::open(4096);
    let link = peer.attach_sender(0, 100, 65_536);
    peer.write_with(0, transfer(0, 0), &data("x"));
    let message = peer.message();
    let error = AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, "queue is full");
    peer.engine.settle(
        link,
        message.delivery,
        DeliveryState::rejected(error.clone()),
    );
    let disposition = peer.expect_disposition();
    assert_eq!(
        disposition.state,
        Some(DeliveryState::Rejected(Some(error)))
    );
    assert!(disposition.settled);
}
