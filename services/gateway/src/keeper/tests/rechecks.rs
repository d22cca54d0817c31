//! Connections that no order to disconnect reached.

use std::task::{Context, Poll, Waker};

use downlink_domain::device::{Authentication, DeviceSpec, DeviceStatus, SymmetricKeys};

use super::*;
use crate::mailbox::Inbox;

/// Three devices that lose the right to be connected, each in its way, and one that keeps it.
struct Four {
    sessions: [(DeviceSession<u32>, DisconnectReason); 3],
    kept: DeviceSession<u32>,
    devices: [Device; 4],
}

async fn four_on(hub: &TestHub) -> Four {
    let [deleted, disabled, rekeyed, other] = ["deleted", "disabled", "rekeyed", "other"];
    let devices = [
        hub.device(deleted).await,
        hub.device(disabled).await,
        hub.device(rekeyed).await,
        hub.device(other).await,
    ];
    let sessions = [
        (
            open(hub, &devices[0]).await.unwrap(),
            DisconnectReason::Deleted,
        ),
        (
            open(hub, &devices[1]).await.unwrap(),
            DisconnectReason::Disabled,
        ),
        (
            open(hub, &devices[2]).await.unwrap(),
            DisconnectReason::KeysChanged,
        ),
    ];
    let kept = open(hub, &devices[3]).await.unwrap();
    Four {
        sessions,
        kept,
        devices,
    }
}

impl Four {
    /// Changes the identities; nobody is ordered to disconnect.
    async fn lose_rights(&self, hub: &TestHub) {
        let [deleted, disabled, rekeyed, other] = &self.devices;
        hub.delete_unannounced(deleted).await;
        let disable = |spec: &mut DeviceSpec| spec.status = DeviceStatus::Disabled;
        hub.change_unannounced(disabled, disable).await;
        hub.change_unannounced(rekeyed, |spec| {
            let Authentication::Sas(keys) = &spec.authentication else {
                panic!("no keys")
            };
            spec.authentication = Authentication::Sas(SymmetricKeys {
                primary: vec![9; 32],
                secondary: keys.secondary.clone(),
            });
        })
        .await;
        // A write that takes nothing away is no reason.
        let reason = |spec: &mut DeviceSpec| spec.status_reason = Some("moved".to_owned());
        hub.change_unannounced(other, reason).await;
    }

    /// Waits until those without the right are told to close, and sees that the other is not.
    async fn until_closed(mut self, within: Duration) {
        for (session, expected) in &mut self.sessions {
            let event = std::future::poll_fn(|cx| session.poll_event(cx));
            let event = tokio::time::timeout(within, event).await.unwrap();
            assert!(
                matches!(event, SessionEvent::Close(reason) if reason == *expected),
                "{event:?}, not {expected:?}"
            );
        }
        self.stays(within).await;
    }

    async fn stays(&mut self, time: Duration) {
        let event = std::future::poll_fn(|cx| self.kept.poll_event(cx));
        let event = tokio::time::timeout(time, event).await;
        assert!(event.is_err(), "{event:?}");
    }
}

fn ended(hub: &TestHub) -> u64 {
    hub.metric("downlink_gateway_rechecks_disconnected_total")
}

#[tokio::test(start_paused = true)]
async fn a_device_that_lost_its_right_while_presence_was_empty_is_closed_after_the_restore() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let four = four_on(&hub).await;
    directory.restores.forget_permits(usize::MAX);
    directory.lose_all();
    hub.shared.standing.until_lost().await;
    for device in &four.devices {
        assert_eq!(route_of(&directory, device.key).await, None);
    }
    four.lose_rights(&hub).await;
    directory.restores.add_permits(1_000);
    // Long before the slow cycle has its turn.
    four.until_closed(Duration::from_secs(2)).await;
    assert_eq!(ended(&hub), 3);
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_order_to_disconnect_was_lost_is_closed_by_the_slow_cycle() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let four = four_on(&hub).await;
    four.lose_rights(&hub).await;
    let round = hub.shared.options.reassert_interval;
    four.until_closed(round + Duration::from_secs(10)).await;
    assert_eq!(ended(&hub), 3);
}

#[tokio::test(start_paused = true)]
async fn the_slow_cycle_looks_at_identities_while_presence_is_away() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let four = four_on(&hub).await;
    four.lose_rights(&hub).await;
    directory.set_away(true);
    let round = hub.shared.options.reassert_interval;
    four.until_closed(round + Duration::from_secs(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_twin_service_that_is_away_closes_nobody_until_it_has_answered() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let mut four = four_on(&hub).await;
    four.lose_rights(&hub).await;
    hub.backend.set_down(true);
    directory.lose_all();
    hub.shared.standing.until_lost_and_restored().await;
    let round = hub.shared.options.reassert_interval;
    four.stays(round * 2).await;
    for (session, _) in &mut four.sessions {
        let event = std::future::poll_fn(|cx| session.poll_event(cx));
        let event = tokio::time::timeout(round, event).await;
        assert!(event.is_err(), "{event:?}");
    }
    assert_eq!(ended(&hub), 0);
    hub.backend.set_down(false);
    four.until_closed(round + Duration::from_secs(10)).await;
    assert_eq!(ended(&hub), 3);
}

#[tokio::test(start_paused = true)]
async fn looks_after_a_loss_are_paced_and_reach_every_connection() {
    const COUNT: u64 = 10_000;
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let handles: Vec<_> = (0..COUNT)
        .map(|number| {
            let device = DeviceKey(i64::try_from(number).unwrap() + 1_000);
            let id = ConnectionId(number);
            let handle = Arc::new(Handle::new(id, LeaseEpoch(1), Protocol::Mqtt, C2D));
            let connections = &hub.shared.connections;
            connections.enter(device, Arc::clone(&handle)).unwrap();
            handle
        })
        .collect();
    let asked_since = || {
        let cx = Context::from_waker(Waker::noop());
        let was_asked = |handle: &&Arc<Handle>| {
            std::iter::from_fn(|| match handle.mailbox.poll_next(&cx) {
                Poll::Ready(inbox) => Some(inbox),
                Poll::Pending => None,
            })
            .any(|inbox| matches!(inbox, Inbox::Recheck))
        };
        handles.iter().filter(was_asked).count()
    };
    directory.lose_all();
    hub.shared.standing.until_lost_and_restored().await;
    let mut total = asked_since();
    assert!(total <= 200, "{total} at once");
    for second in 0..7 {
        sleep(Duration::from_secs(1)).await;
        let asked = asked_since();
        assert!(asked <= 2_200, "{asked} in second {second}");
        total += asked;
    }
    assert_eq!(total, handles.len());
}
