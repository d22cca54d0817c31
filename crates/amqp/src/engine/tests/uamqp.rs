//! uamqp: MSSBCBS, `$cbs` at both ends, ulong ids, receiver mode second on a sender link.

use super::*;
use crate::message::MessageId;

fn sasl(peer: &mut Peer, mechanism: &'static str) {
    peer.bytes(&ProtocolHeader::Sasl.bytes());
    assert_eq!(peer.take_header(), ProtocolHeader::Sasl.bytes());
    peer.take_sasl();
    let init = SaslFrame::Init {
        mechanism: Symbol::from_static(mechanism),
        initial_response: None,
    };
    let mut frame = Vec::new();
    write_frame(&mut frame, FrameType::Sasl, 0, |out| init.encode(out));
    peer.bytes(&frame);
    assert_eq!(peer.take_sasl(), SaslFrame::outcome(SaslCode::Ok));
    peer.bytes(&ProtocolHeader::Amqp.bytes());
    assert_eq!(peer.take_header(), ProtocolHeader::Amqp.bytes());
}

#[test]
fn cbs_and_send_settle_as_uamqp_expects() {
    let mut peer = Peer::new(Options::default());
    sasl(&mut peer, "MSSBCBS");
    peer.write(0, open(65_536, None));
    peer.write(0, begin());
    peer.expect();
    let begin = peer.expect();
    let Performative::Begin(answer) = begin.performative else {
        panic!("no begin")
    };
    assert_eq!(answer.remote_channel, Some(0));
    peer.event();

    let mut to_cbs = sender_attach(0, "$cbs");
    to_cbs.source = Some(Terminus::source("$cbs"));
    to_cbs.snd_settle_mode = Some(SenderSettleMode::Unsettled);
    to_cbs.rcv_settle_mode = Some(ReceiverSettleMode::First);
    peer.write(0, to_cbs.clone());
    let request = peer.attach_request();
    assert_eq!(request.address.as_deref(), Some("$cbs"));
    peer.engine.accept(request.link, TERMS);
    let echo = peer.expect_attach();
    assert_eq!((echo.source, echo.target), (to_cbs.source, to_cbs.target));
    assert_eq!(echo.snd_settle_mode, Some(SenderSettleMode::Unsettled));
    let flow = peer.expect_flow();
    assert_eq!((flow.delivery_count, flow.link_credit), (Some(0), Some(10)));

    let receiver = peer.attach_receiver(receiver_attach(1, "$cbs"), 10_000);
    peer.write_with(0, transfer(0, 0), &data("put-token"));
    let message = peer.message();
    peer.engine
        .settle(message.link, message.delivery, DeliveryState::Accepted);
    let reply = crate::cbs::encode_reply(Some(MessageId::Ulong(0)), 200, "OK");
    peer.engine
        .send(receiver, tag(0), reply, SendSettled::No)
        .unwrap();
    let disposition = peer.expect_disposition();
    assert_eq!(disposition, receipt(0, None, true, DeliveryState::Accepted));
    let (_, payload) = peer.expect_transfer();
    let reply = Message::decode(&payload).unwrap();
    assert_eq!(reply.properties.correlation_id, Some(MessageId::Ulong(0)));

    // The sender link of the messages asks for mode second; it is settled first all the same.
    let mut messages = sender_attach(2, "amqps://hub1.example.net/messages/devicebound");
    messages.snd_settle_mode = Some(SenderSettleMode::Unsettled);
    messages.rcv_settle_mode = Some(ReceiverSettleMode::Second);
    peer.write(0, messages);
    let link = peer.attach_request().link;
    peer.engine.accept(link, TERMS);
    assert_eq!(
        peer.expect_attach().rcv_settle_mode,
        Some(ReceiverSettleMode::Second)
    );
    peer.expect_flow();
    peer.write_with(0, transfer(2, 1), &data("command"));
    let message = peer.message();
    peer.engine
        .settle(link, message.delivery, DeliveryState::Accepted);
    assert_eq!(
        peer.expect_disposition(),
        receipt(1, None, true, DeliveryState::Accepted)
    );
}

#[test]
fn no_sender_disposition_goes_out_for_what_the_client_settled() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let id = peer
        .engine
        .send(link, tag(1), data("x"), SendSettled::No)
        .unwrap();
    peer.expect_transfer();
    peer.write(0, receipt(0, None, true, DeliveryState::Released));
    peer.event();
    peer.engine
        .settle_outgoing(link, id, DeliveryState::Accepted);
    peer.expect_nothing();
}

#[test]
fn flow_of_the_session_alone_is_no_flow_of_a_link() {
    let mut peer = Peer::open(65_536);
    let flow = Flow {
        echo: true,
        handle: None,
        ..credit_flow(0, 0, 0)
    };
    peer.write(0, flow);
    let answer = peer.expect_flow();
    assert_eq!(
        (answer.handle, answer.link_credit, answer.delivery_count),
        (None, None, None)
    );
}
