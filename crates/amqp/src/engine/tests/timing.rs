use std::time::Duration;

use super::*;
use crate::frame::EMPTY_FRAME;

fn open_with_idle(idle: Option<u32>) -> Peer {
    let mut peer = Peer::new(Options::default());
    peer.bytes(&ProtocolHeader::Amqp.bytes());
    peer.write(0, open(65_536, idle));
    peer.read();
    peer.event();
    peer
}

fn wait(peer: &mut Peer) -> Duration {
    let deadline = peer.engine.deadline().expect("a deadline");
    let waited = deadline - peer.now;
    peer.now = deadline;
    peer.engine.on_deadline(deadline);
    waited
}

#[test]
fn empty_frames_go_out_at_half_of_the_peers_time_out() {
    let mut peer = open_with_idle(Some(20_000));
    assert_eq!(wait(&mut peer), Duration::from_secs(10));
    assert_eq!(peer.engine.output(), EMPTY_FRAME);
    peer.engine.consume_output(8, peer.now);
    assert_eq!(wait(&mut peer), Duration::from_secs(10));
}

#[test]
fn empty_frames_go_out_after_60_seconds_at_most() {
    let mut peer = open_with_idle(Some(240_000));
    assert_eq!(wait(&mut peer), Duration::from_mins(1));
    assert_eq!(peer.engine.output(), EMPTY_FRAME);
}

#[test]
fn frames_of_other_kinds_count_as_keep_alive() {
    let mut peer = open_with_idle(Some(20_000));
    peer.now += Duration::from_secs(8);
    peer.write(0, begin());
    peer.read();
    assert_eq!(
        peer.engine.deadline(),
        Some(peer.now + Duration::from_secs(10))
    );
}

#[test]
fn peer_without_time_out_gets_no_empty_frames() {
    let mut peer = open_with_idle(None);
    // The next thing due is the end of the peer's own silence: twice the 240 s announced.
    assert_eq!(wait(&mut peer), Duration::from_mins(8));
    let (sent, _) = {
        peer.inbox.clear();
        peer.next_frame().expect("a close")
    };
    let Performative::Close(close) = sent.performative else {
        panic!("no close")
    };
    assert_eq!(
        close.error.unwrap().condition,
        condition::RESOURCE_LIMIT_EXCEEDED
    );
    // Nobody answers: the connection ends all the same.
    assert_eq!(wait(&mut peer), Duration::from_secs(5));
    assert!(peer.engine.is_finished());
    assert!(matches!(
        peer.event(),
        Event::Closed {
            cause: CloseCause::TimedOut,
            ..
        }
    ));
    assert_eq!(peer.engine.deadline(), None);
}

#[test]
fn unread_output_is_not_piled_up_with_empty_frames() {
    let mut peer = open_with_idle(Some(20_000));
    wait(&mut peer);
    wait(&mut peer);
    assert_eq!(peer.engine.output().len(), 8);
}

#[test]
fn peer_that_does_not_open_in_time_is_cut() {
    let mut peer = Peer::new(Options::default());
    peer.bytes(b"AMQP");
    assert_eq!(wait(&mut peer), Duration::from_secs(30));
    assert!(peer.engine.is_finished());
}

#[test]
fn orderly_close_waits_for_the_answer() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 1);
    let error = AmqpError::new(condition::CONNECTION_FORCED, "node is going down");
    peer.engine.close(Some(error.clone()), peer.now);
    assert!(matches!(peer.event(), Event::Detached { link: gone, .. } if gone == link));
    assert_eq!(
        peer.expect().performative,
        Close { error: Some(error) }.into()
    );
    peer.write(0, credit_flow(0, 0, 9));
    assert!(!peer.engine.is_finished());
    peer.write(0, Close::default());
    assert!(peer.engine.is_finished());
    peer.expect_nothing();
    assert_eq!(
        peer.event(),
        Event::Closed {
            cause: CloseCause::Peer,
            error: None
        }
    );
}

#[test]
fn lost_socket_gives_every_link_its_last_event() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 5);
    peer.engine
        .send(link, tag(1), data("x"), SendSettled::No)
        .unwrap();
    peer.engine.abandon();
    let Event::Detached { unsettled, .. } = peer.event() else {
        panic!("no detach")
    };
    assert_eq!(unsettled.len(), 1);
    assert_eq!(
        peer.event(),
        Event::Closed {
            cause: CloseCause::Lost,
            error: None
        }
    );
    peer.engine.abandon();
    peer.no_event();
}
