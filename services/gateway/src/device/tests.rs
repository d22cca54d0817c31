use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::device::Device;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::message::Verdict;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError, MethodTimeouts};
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Protocol, Route, Subscriptions};
use downlink_domain::twin::{Object, TwinChange};
use downlink_ports::{
    Clock, Connected, EnqueueRules, LockedMessage, MessageStore, MethodApi, PresenceDirectory,
    PresenceWatch, QueueApi, Restored, StoreError,
};
use downlink_testkit::a_message_to;
use tokio::sync::Semaphore;

use super::{
    DeviceSession, Operation, OperationOutcome, SessionEvent, Stamp, StampedBy, StoredSession,
    Telemetry,
};
use crate::fakes::TestHub;

mod takeover;

const ALL: Subscriptions = Subscriptions {
    c2d: true,
    methods: true,
    desired: true,
    twin_replies: true,
};

async fn session(hub: &TestHub, device: &Device, wanted: Subscriptions) -> DeviceSession<u32> {
    let stamp = Stamp::new(device, StampedBy::Identity, None);
    let shared = Arc::clone(&hub.shared);
    DeviceSession::open(shared, device.clone(), Protocol::Mqtt, wanted, stamp)
        .await
        .unwrap()
}

async fn next(session: &mut DeviceSession<u32>) -> SessionEvent<u32> {
    tokio::time::timeout(
        Duration::from_secs(10),
        poll_fn(|cx| session.poll_event(cx)),
    )
    .await
    .expect("an event within ten seconds")
}

async fn send(hub: &TestHub, device: &Device, bodies: std::ops::Range<u8>) {
    let messages = bodies.map(|body| {
        let mut message = a_message_to(device.name.device.as_str(), "");
        message.hub = hub.shared.options.hub.clone();
        message.expiry = None;
        message.body = Bytes::copy_from_slice(&[body]);
        message
    });
    let accepted = hub.backend.enqueue(messages.collect()).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
}

async fn messages(session: &mut DeviceSession<u32>) -> Vec<LockedMessage> {
    loop {
        match next(session).await {
            SessionEvent::Messages(messages) => return messages,
            SessionEvent::Settled(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn bodies(messages: &[LockedMessage]) -> Vec<u8> {
    messages
        .iter()
        .map(|locked| locked.message.body[0])
        .collect()
}

#[tokio::test]
async fn waiting_messages_arrive_in_order_and_no_more_than_the_window() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    send(&hub, &device, 0..20).await;
    let mut session = session(&hub, &device, ALL).await;
    let first = messages(&mut session).await;
    assert_eq!(bodies(&first), (0..16).collect::<Vec<_>>());
    for locked in &first {
        assert!(session.settle(locked.lock.token, Verdict::Complete));
    }
    assert_eq!(bodies(&messages(&mut session).await), [16, 17, 18, 19]);
}

#[tokio::test]
async fn nothing_is_locked_without_a_subscription() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    send(&hub, &device, 0..1).await;
    let mut session = session(&hub, &device, Subscriptions::default()).await;
    session.operate(1, Operation::GetTwin);
    let event = next(&mut session).await;
    assert!(
        matches!(event, SessionEvent::Ended(1, OperationOutcome::Twin(_))),
        "{event:?}"
    );
    session.operate(
        2,
        Operation::Subscribe {
            subscriptions: ALL,
            session: StoredSession::Kept,
        },
    );
    let event = next(&mut session).await;
    let is_messages = |event: &SessionEvent<u32>| matches!(event, SessionEvent::Messages(_));
    let is_first = is_messages(&event);
    let other = next(&mut session).await;
    assert!(is_first || is_messages(&other), "{event:?} {other:?}");
}

/// Presence that takes its time over subscriptions.
struct SlowPresence {
    inner: Arc<dyn PresenceDirectory>,
    subscribes: Arc<Semaphore>,
}

#[async_trait]
impl PresenceDirectory for SlowPresence {
    async fn connect(
        &self,
        device: DeviceKey,
        gateway: GatewayId,
        connection: ConnectionId,
        protocol: Protocol,
    ) -> Result<Connected, StoreError> {
        self.inner
            .connect(device, gateway, connection, protocol)
            .await
    }

    async fn subscribe(
        &self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        subscriptions: Subscriptions,
    ) -> Result<(), StoreError> {
        self.subscribes.acquire().await.unwrap().forget();
        self.inner.subscribe(device, epoch, subscriptions).await
    }

    async fn disconnect(&self, devices: Vec<(DeviceKey, LeaseEpoch)>) -> Result<(), StoreError> {
        self.inner.disconnect(devices).await
    }

    async fn restore(&self, entries: Vec<(DeviceKey, Route)>) -> Result<Vec<Restored>, StoreError> {
        self.inner.restore(entries).await
    }

    async fn lookup(&self, devices: &[DeviceKey]) -> Result<Vec<Option<Route>>, StoreError> {
        self.inner.lookup(devices).await
    }

    async fn watch(&self, device: DeviceKey) -> Result<Box<dyn PresenceWatch>, StoreError> {
        self.inner.watch(device).await
    }

    async fn connected_count(&self) -> Result<u64, StoreError> {
        self.inner.connected_count().await
    }
}

#[tokio::test]
async fn a_message_sent_while_presence_learns_of_the_subscription_is_asked_for() {
    let subscribes = Arc::new(Semaphore::new(1));
    let hub = TestHub::with_peers(|peers| {
        peers.presence = Arc::new(SlowPresence {
            inner: Arc::clone(&peers.presence),
            subscribes: Arc::clone(&subscribes),
        });
    })
    .await;
    let device = hub.device("dev").await;
    let mut session = session(&hub, &device, Subscriptions::default()).await;
    let subscribe = Operation::Subscribe {
        subscriptions: ALL,
        session: StoredSession::Kept,
    };
    session.operate(1, subscribe);
    assert!(futures::poll!(poll_fn(|cx| session.poll_event(cx))).is_pending());
    // Nobody is woken: as far as presence knows, the device does not listen.
    let mut message = a_message_to("dev", "late");
    message.hub = device.hub.clone();
    let now = hub.clock.now();
    message.expiry = Some(now + Duration::from_hours(1));
    let accepted = hub
        .store
        .enqueue(vec![message], EnqueueRules { max_depth: 50 }, now)
        .await;
    accepted.unwrap().remove(0).unwrap();
    subscribes.add_permits(1);
    let event = next(&mut session).await;
    assert!(matches!(event, SessionEvent::Ended(1, _)), "{event:?}");
    assert_eq!(messages(&mut session).await.len(), 1);
}

#[tokio::test]
async fn a_message_whose_lock_lapsed_comes_again_under_another_token() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    send(&hub, &device, 0..1).await;
    let mut session = session(&hub, &device, ALL).await;
    let first = messages(&mut session).await;
    hub.clock.advance(Duration::from_secs(61));
    let again = messages(&mut session).await;
    assert_eq!(again[0].message.sequence, first[0].message.sequence);
    assert_ne!(again[0].lock.token, first[0].lock.token);
    assert_eq!(again[0].message.delivery_count, 1);
    assert!(
        !session.settle(first[0].lock.token, Verdict::Complete),
        "a late acknowledgement"
    );
}

#[tokio::test]
async fn what_an_ended_connection_held_is_offered_to_the_next_at_once() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    send(&hub, &device, 0..2).await;
    let mut old = session(&hub, &device, ALL).await;
    assert_eq!(bodies(&messages(&mut old).await), [0, 1]);
    old.close().await;
    let mut new = session(&hub, &device, ALL).await;
    assert_eq!(bodies(&messages(&mut new).await), [0, 1]);
}

#[tokio::test]
async fn a_newer_connection_ends_the_older_and_its_open_call() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    let mut old = session(&hub, &device, ALL).await;
    let timeouts = MethodTimeouts::new(Duration::ZERO, Duration::from_secs(30)).unwrap();
    let call = MethodCall {
        hub: device.hub.clone(),
        target: device.name.clone(),
        device: device.key,
        name: "reboot".parse().unwrap(),
        payload: Bytes::new(),
        timeouts,
    };
    let drive_old = async {
        let event = next(&mut old).await;
        assert!(matches!(event, SessionEvent::Invoke { .. }), "{event:?}");
        let _new = session(&hub, &device, ALL).await;
        let event = next(&mut old).await;
        assert!(
            matches!(event, SessionEvent::Close(DisconnectReason::Superseded)),
            "{event:?}"
        );
        old.close().await;
    };
    let (outcome, ()) = futures::join!(hub.backend.invoke(call), drive_old);
    assert_eq!(outcome, Err(MethodError::Superseded));
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_a_bad_answer() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    let mut session = session(&hub, &device, ALL).await;
    for (payload, expected) in [("{\"a\":1}", true), ("", true), ("{", false)] {
        let timeouts = MethodTimeouts::new(Duration::ZERO, Duration::from_secs(30)).unwrap();
        let call = MethodCall {
            hub: device.hub.clone(),
            target: device.name.clone(),
            device: device.key,
            name: "read".parse().unwrap(),
            payload: Bytes::new(),
            timeouts,
        };
        let drive = async {
            let SessionEvent::Invoke { rid, .. } = next(&mut session).await else {
                panic!("no call");
            };
            let payload = Bytes::from_static(payload.as_bytes());
            session.answer(
                rid,
                MethodAnswer {
                    status: 200,
                    payload,
                },
            );
        };
        let (outcome, ()) = futures::join!(hub.backend.invoke(call), drive);
        assert_eq!(outcome.is_ok(), expected, "{payload:?} {outcome:?}");
    }
}

#[tokio::test]
async fn telemetry_is_acknowledged_when_it_is_stored_and_stamped_with_its_sender() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    let mut session = session(&hub, &device, Subscriptions::default()).await;
    let claim = (
        "iothub-connection-device-id".to_owned(),
        "another".to_owned(),
    );
    let telemetry = Telemetry {
        properties: vec![claim],
        body: Bytes::from_static(b"21.5"),
    };
    session.store(7, telemetry);
    let event = next(&mut session).await;
    assert!(
        matches!(&event, SessionEvent::Stored(tags) if tags == &[7]),
        "{event:?}"
    );
    let stored = hub.telemetry().await;
    let senders: Vec<_> = stored[0]
        .properties
        .iter()
        .filter(|(name, _)| name == "iothub-connection-device-id")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(senders, ["dev"]);
}

#[tokio::test]
async fn telemetry_that_cannot_be_stored_is_not_acknowledged() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    let mut session = session(&hub, &device, Subscriptions::default()).await;
    hub.backend.set_down(true);
    session.store(
        7,
        Telemetry {
            properties: vec![],
            body: Bytes::new(),
        },
    );
    let event = next(&mut session).await;
    assert!(
        matches!(&event, SessionEvent::NotStored(tags, _) if tags == &[7]),
        "{event:?}"
    );
}

#[tokio::test]
async fn operations_end_in_the_order_they_were_asked() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    let mut session = session(&hub, &device, Subscriptions::default()).await;
    let report = |value: u32| {
        let mut patch = Object::new();
        patch.insert("n".into(), value.into());
        Operation::Report(TwinChange::Report {
            patch,
            expected_version: None,
        })
    };
    for tag in 0..5 {
        session.operate(tag, report(tag));
    }
    for tag in 0..5 {
        match next(&mut session).await {
            SessionEvent::Ended(ended, OperationOutcome::Reported(Ok(version))) => {
                assert_eq!((ended, version), (tag, u64::from(tag) + 2));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn telemetry_taken_before_an_order_to_close_is_still_stored() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    let mut old = session(&hub, &device, Subscriptions::default()).await;
    old.store(
        7,
        Telemetry {
            properties: vec![],
            body: Bytes::from_static(b"last"),
        },
    );
    let _new = session(&hub, &device, Subscriptions::default()).await;
    let event = next(&mut old).await;
    assert!(
        matches!(event, SessionEvent::Close(DisconnectReason::Superseded)),
        "{event:?}"
    );
    let event = next(&mut old).await;
    assert!(
        matches!(&event, SessionEvent::Stored(tags) if tags == &[7]),
        "{event:?}"
    );
}

#[tokio::test]
async fn what_a_superseded_connection_held_comes_before_what_it_had_not_seen() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    send(&hub, &device, 0..20).await;
    let mut old = session(&hub, &device, ALL).await;
    assert_eq!(
        bodies(&messages(&mut old).await),
        (0..16).collect::<Vec<_>>()
    );
    let mut new = session(&hub, &device, ALL).await;
    let (received, _) = futures::join!(messages(&mut new), old.close());
    assert_eq!(bodies(&received), (0..16).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_predecessor_that_does_not_let_go_holds_nobody_up_for_long() {
    let hub = TestHub::new().await;
    let device = hub.device("dev").await;
    send(&hub, &device, 0..20).await;
    let mut old = session(&hub, &device, ALL).await;
    assert_eq!(messages(&mut old).await.len(), 16);
    let mut new = session(&hub, &device, ALL).await;
    assert_eq!(bodies(&messages(&mut new).await), [16, 17, 18, 19]);
    old.close().await;
}
