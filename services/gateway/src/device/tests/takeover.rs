//! Two gateways that claim one device.

use std::collections::HashMap;
use std::sync::Mutex;

use downlink_domain::message::Settlement;
use downlink_ports::Disconnect;
use downlink_ports::{GatewayApi as _, PeerError, SettleError};
use downlink_runtime::OnError;
use futures::future::join_all;

use super::*;

#[tokio::test]
async fn what_the_last_gateway_held_comes_before_what_it_had_not_seen() {
    let first = TestHub::new().await;
    let second = first.second("gateway-2").await;
    let device = first.device("dev").await;
    send(&first, &device, 0..20).await;
    let mut old = session(&first, &device, ALL).await;
    assert_eq!(
        bodies(&messages(&mut old).await),
        (0..16).collect::<Vec<_>>()
    );
    let mut new = session(&second, &device, ALL).await;
    let (received, ()) = futures::join!(messages(&mut new), drive_to_close(old));
    assert_eq!(bodies(&received), (0..16).collect::<Vec<_>>());
    assert!(
        received
            .iter()
            .all(|locked| locked.message.delivery_count == 1)
    );
}

/// Polls a session until the hub wants it to end, then as a door does until it has let go.
async fn drive_to_close(mut session: DeviceSession<u32>) {
    while !matches!(next(&mut session).await, SessionEvent::Close(_)) {}
    let let_go = poll_fn(|cx| {
        while session.is_letting_go() {
            if session.poll_event(cx).is_pending() && session.is_letting_go() {
                return std::task::Poll::Pending;
            }
        }
        std::task::Poll::Ready(())
    });
    let_go.await;
    session.close().await;
}

#[tokio::test]
async fn a_connection_is_let_in_while_its_predecessor_elsewhere_holds_on() {
    let first = TestHub::new().await;
    let second = first.second("gateway-2").await;
    let device = first.device("dev").await;
    send(&first, &device, 0..20).await;
    let mut old = session(&first, &device, ALL).await;
    assert_eq!(messages(&mut old).await.len(), 16);
    // Nobody polls the old one: the new one is there at once, and its messages come in the end.
    let mut new = session(&second, &device, ALL).await;
    assert!(futures::poll!(poll_fn(|cx| new.poll_event(cx))).is_pending());
    assert_eq!(bodies(&messages(&mut new).await), [16, 17, 18, 19]);
    old.close().await;
}

#[tokio::test]
async fn an_order_to_close_is_answered_when_what_was_held_is_back() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    send(&hub, &device, 0..2).await;
    let mut old = session(&hub, &device, ALL).await;
    assert_eq!(messages(&mut old).await.len(), 2);
    let epoch = hub.shared.connections.find(device.key).unwrap().epoch;
    let order = Disconnect {
        device: device.key,
        up_to: epoch,
        reason: DisconnectReason::Superseded,
    };
    let api = hub.api();
    let mut answered = api.disconnect(vec![order]);
    assert!(futures::poll!(answered.as_mut()).is_pending());
    let ((), held) = futures::join!(drive_to_close(old), async {
        answered.await.unwrap();
        let call = downlink_ports::ReceiveCall {
            device: device.key,
            limit: 16,
            lock_duration: None,
        };
        hub.backend.receive(vec![call]).await.unwrap().remove(0)
    });
    assert_eq!(bodies(&held), [0, 1]);
}

#[tokio::test]
async fn an_acknowledgement_after_the_takeover_settles_nothing() {
    let first = TestHub::new().await;
    let second = first.second("gateway-2").await;
    let device = first.device("dev").await;
    send(&first, &device, 0..1).await;
    let mut old = session(&first, &device, ALL).await;
    let held = messages(&mut old).await;
    let mut new = session(&second, &device, ALL).await;
    while !matches!(next(&mut old).await, SessionEvent::Close(_)) {}
    assert!(!old.settle(held[0].lock.token, Verdict::Complete));
    let (received, _) = futures::join!(messages(&mut new), old.close());
    assert_eq!(bodies(&received), [0]);
    assert!(new.settle(received[0].lock.token, Verdict::Complete));
}

#[tokio::test]
async fn a_connection_that_never_had_its_turn_still_waits_for_those_before_it() {
    let first = TestHub::new().await;
    let (second, third) = (
        first.second("gateway-2").await,
        first.second("gateway-3").await,
    );
    let device = first.device("dev").await;
    send(&first, &device, 0..20).await;
    let mut oldest = session(&first, &device, ALL).await;
    assert_eq!(messages(&mut oldest).await.len(), 16);
    let middle = session(&second, &device, ALL).await;
    let mut newest = session(&third, &device, ALL).await;
    while !middle.handle.mailbox.is_closing() {
        tokio::task::yield_now().await;
    }
    let (received, (), ()) = futures::join!(messages(&mut newest), drive_to_close(middle), async {
        // Long enough for both others to go wrong.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        drive_to_close(oldest).await;
    });
    assert_eq!(bodies(&received), (0..16).collect::<Vec<_>>());
}

/// What one device was sent, in the order it was sent: over which connection, a body and the count
/// it came with.
type Deliveries = Vec<(u64, u8, u32)>;
type Seen = Arc<Mutex<Deliveries>>;

/// Serves a connection as a door does, acknowledging what comes, until it ends or has everything.
async fn serve(hub: Arc<TestHub>, device: Device, seen: Seen, total: usize) {
    let mut session = session(&hub, &device, ALL).await;
    let connection = session.handle.epoch.0;
    loop {
        match next(&mut session).await {
            SessionEvent::Messages(messages) => {
                for locked in messages {
                    let body = locked.message.body[0];
                    seen.lock()
                        .unwrap()
                        .push((connection, body, locked.message.delivery_count));
                    // Some acknowledgements come too late.
                    if body % 3 != 0 || locked.message.delivery_count > 0 {
                        session.settle(locked.lock.token, Verdict::Complete);
                    }
                }
            }
            SessionEvent::Close(_) => break,
            _ => {}
        }
        let acknowledged = seen.lock().unwrap().len();
        if acknowledged >= total * 4 {
            break;
        }
    }
    let let_go = poll_fn(|cx| {
        while session.is_letting_go() {
            if session.poll_event(cx).is_pending() && session.is_letting_go() {
                return std::task::Poll::Pending;
            }
        }
        std::task::Poll::Ready(())
    });
    let_go.await;
    session.close().await;
}

/// Sends thirty messages to a device that moves from gateway to gateway all the time.
async fn wander(hubs: &[Arc<TestHub>; 2], name: String) -> (String, Deliveries) {
    let device = hubs[0].device(&name).await;
    let seen = Seen::default();
    for round in 0..10_u8 {
        let hub = Arc::clone(&hubs[usize::from(round % 2)]);
        let serving = serve(Arc::clone(&hub), device.clone(), Arc::clone(&seen), 30);
        hub.lifecycle.spawn("device", OnError::Shutdown, serving);
        send(&hub, &device, round * 3..round * 3 + 3).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    let is_done = || {
        let seen = seen.lock().unwrap();
        (0..30).all(|body| seen.iter().any(|(_, other, _)| *other == body))
    };
    while !is_done() || hubs[0].backend.count(vec![device.key]).await.unwrap() != [0] {
        // Whoever holds a message unacknowledged gives it back when the next connection comes.
        let serving = serve(Arc::clone(&hubs[0]), device.clone(), Arc::clone(&seen), 30);
        hubs[0]
            .lifecycle
            .spawn("device", OnError::Shutdown, serving);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seen = seen.lock().unwrap().clone();
    (name, seen)
}

#[tokio::test(start_paused = true)]
async fn fifty_devices_that_wander_lose_nothing_and_keep_their_order() {
    let first = TestHub::with(|options| options.c2d_window = 3).await;
    let second = Arc::new(first.second("gateway-2").await);
    let hubs = [Arc::new(first), second];
    let wandering = (0..50).map(|number| wander(&hubs, format!("dev-{number}")));
    for (name, seen) in join_all(wandering).await {
        let mut last: HashMap<u8, u32> = HashMap::new();
        let mut newest = None;
        let mut of_connections: HashMap<u64, u8> = HashMap::new();
        for (connection, body, count) in &seen {
            // What the last connection held comes before what it had not seen.
            let before = of_connections.insert(*connection, *body);
            assert!(
                before.is_none_or(|before| before < *body),
                "{name}: {seen:?}"
            );
            // Never twice without a raised count.
            let before = last.insert(*body, *count);
            assert!(
                before.is_none_or(|before| before < *count),
                "{name}: {seen:?}"
            );
            if before.is_none() {
                assert!(
                    newest.is_none_or(|newest| newest < *body),
                    "{name}: {seen:?}"
                );
                newest = Some(*body);
            }
        }
        assert_eq!(last.len(), 30, "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn a_settlement_under_a_stale_token_is_lost_quietly() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    send(&hub, &device, 0..1).await;
    let mut session = session(&hub, &device, ALL).await;
    let held = messages(&mut session).await;
    // Its lock ends by another hand, as after a stop of this process.
    let settlement = Settlement {
        device: device.key,
        sequence: held[0].message.sequence,
        token: held[0].lock.token,
        verdict: Verdict::Complete,
    };
    let settled: Result<_, PeerError> = hub.backend.settle(vec![settlement]).await;
    settled.unwrap().remove(0).unwrap();
    assert!(session.settle(held[0].lock.token, Verdict::Complete));
    let event = next(&mut session).await;
    let SessionEvent::Settled(outcomes) = event else {
        panic!("{event:?}");
    };
    assert_eq!(outcomes[0].1, Err(SettleError::LockLost));
    send(&hub, &device, 1..2).await;
    assert_eq!(bodies(&messages(&mut session).await), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_goes_back_while_twin_does_not_record_connections() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    hub.backend.set_stuck(true);
    let begun = tokio::time::Instant::now();
    for round in 0..3_u8 {
        send(&hub, &device, round..round + 1).await;
        let mut session = session(&hub, &device, ALL).await;
        assert_eq!(messages(&mut session).await.len(), usize::from(round) + 1);
        session.close().await;
        while hub.shared.connections.find(device.key).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
}
