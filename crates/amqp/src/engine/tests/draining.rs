use super::*;

#[test]
fn credit_is_not_used_up_on_a_link_that_is_not_attached() {
    let mut peer = Peer::open(65_536);
    peer.write(0, receiver_attach(0, FEEDBACK));
    let link = peer.attach_request().link;
    let drain = Flow {
        drain: true,
        ..credit_flow(0, 0, 5)
    };
    peer.write(0, drain);
    // rhea takes no flow on a handle before its attach, nor after its detach.
    peer.engine.drained(link);
    peer.expect_nothing();
    peer.engine.accept(link, TERMS);
    peer.expect_attach();
    peer.engine.detach(link, None);
    peer.expect_detach();
    peer.engine.drained(link);
    peer.expect_nothing();
}

#[test]
fn credit_that_a_drain_takes_back_is_told_of() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 5);
    let drain = Flow {
        drain: true,
        ..credit_flow(0, 0, 0)
    };
    peer.write(0, drain);
    let taken_back = Event::CreditChanged {
        link,
        credit: 0,
        is_drain: false,
    };
    assert_eq!(peer.event(), taken_back);
    let flow = peer.expect_flow();
    assert_eq!((flow.link_credit, flow.drain), (Some(0), true));
    // What is known already is only answered.
    peer.write(0, drain);
    peer.no_event();
    peer.expect_flow();
}
