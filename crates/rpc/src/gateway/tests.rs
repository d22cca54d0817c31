use std::time::Duration;

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::id::DeviceKey;
use downlink_domain::presence::{DisconnectReason, LeaseEpoch};
use downlink_ports::{Disconnect, GatewayApi, MethodDelivery, Notify, PeerError};

use crate::MuxOptions;
use crate::testing::{Asked, Staging, every_outcome};

fn delivery() -> MethodDelivery {
    MethodDelivery {
        device: DeviceKey(7),
        epoch: LeaseEpoch(u64::MAX),
        name: "reboot".parse().unwrap(),
        payload: Bytes::from_static(b"{\"delay\":1}"),
        timeout: Duration::from_millis(4321),
    }
}

#[tokio::test]
async fn wakes_and_notifications_arrive_as_they_were_sent() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions::default());

    let devices = vec![DeviceKey(1), DeviceKey(i64::MIN), DeviceKey(i64::MAX)];
    let (woken, ()) = tokio::join!(client.wake(devices.clone()), async {
        let staged = staging.stage.next().await;
        assert_eq!(staged.asked, Asked::Wake(devices.clone()));
        staged.succeed();
    });
    assert_eq!(woken, Ok(()));

    let change = |version| Notify {
        device: DeviceKey(7),
        version,
        body: Bytes::from(format!("{{\"$version\":{version}}}")),
    };
    let changes = vec![change(3), change(4)];
    let (notified, ()) = tokio::join!(client.notify(changes.clone()), async {
        let staged = staging.stage.next().await;
        assert_eq!(staged.asked, Asked::Notify(changes.clone()));
        staged.succeed();
    });
    assert_eq!(notified, Ok(()));
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_text() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions::default());
    let refusal = PeerError::Refused {
        code: ErrorCode::ThrottlingException,
        message: "slow down".to_owned(),
    };
    let (woken, ()) = tokio::join!(client.wake(vec![DeviceKey(1)]), async {
        staging.stage.next().await.fail(refusal.clone());
    });
    assert_eq!(woken, Err(refusal.clone()));
    let (ended, ()) = tokio::join!(client.disconnect(Vec::new()), async {
        staging.stage.next().await.fail(refusal.clone());
    });
    assert_eq!(ended, Err(refusal));
}

#[tokio::test]
async fn every_outcome_of_a_method_arrives() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions::default());
    for outcome in every_outcome() {
        let (invoked, ()) = tokio::join!(client.invoke(delivery()), async {
            let staged = staging.stage.next().await;
            assert_eq!(staged.asked, Asked::Invoke(delivery()));
            staged.invoked(outcome.clone());
        });
        assert_eq!(invoked, outcome);
    }
}

#[tokio::test]
async fn disconnects_arrive_with_every_reason() {
    let mut staging = Staging::new();
    let client = staging.client(MuxOptions::default());
    let orders: Vec<_> = [
        DisconnectReason::Superseded,
        DisconnectReason::Deleted,
        DisconnectReason::Disabled,
        DisconnectReason::KeysChanged,
        DisconnectReason::Draining,
    ]
    .into_iter()
    .map(|reason| Disconnect {
        device: DeviceKey(9),
        up_to: LeaseEpoch(3),
        reason,
    })
    .collect();
    let (ended, ()) = tokio::join!(client.disconnect(orders.clone()), async {
        let staged = staging.stage.next().await;
        assert_eq!(staged.asked, Asked::Disconnect(orders.clone()));
        staged.succeed();
    });
    assert_eq!(ended, Ok(()));
}
