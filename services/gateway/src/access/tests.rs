//! Views over time, and what they end.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use downlink_domain::id::{ConnectionId, DeviceKey};
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Protocol, Subscriptions};
use futures::future::join_all;
use tokio::time::Instant;

use super::Stale;
use crate::authenticate::{Cause, Credential, CredentialId, RefusalKind};
use crate::connections::Handle;
use crate::fakes::TestHub;
use crate::mailbox::Inbox;

async fn until_closed(handle: &Handle) -> DisconnectReason {
    poll_fn(|cx| match handle.mailbox.poll_next(cx) {
        Poll::Ready(Inbox::Close(reason)) => Poll::Ready(reason),
        Poll::Ready(other) => panic!("{other:?}"),
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_ends_its_share_of_a_hundred_thousand_connections_at_a_pace_well_within_a_second()
 {
    let hub = TestHub::new().await;
    let view = hub.shared.access.current().unwrap();
    let known = view.policy("device").unwrap();
    let lives = [known.credential(0), known.credential(1), CredentialId::OWN];
    let handles: Vec<Arc<Handle>> = (1..=100_000_u64)
        .map(|number| {
            let (id, epoch) = (ConnectionId(number), LeaseEpoch(1));
            let handle = Handle::new(id, epoch, Protocol::Mqtt, Subscriptions::default());
            let credential = lives[usize::try_from(number % 3).unwrap()];
            let handle = Arc::new(handle.living_by(credential));
            let key = DeviceKey(i64::try_from(number).unwrap());
            let connections = &hub.shared.connections;
            connections.enter(key, Arc::clone(&handle)).unwrap();
            handle
        })
        .collect();
    let is_over = |handle: &&Arc<Handle>| handle.credential() == lives[0];
    let rotated_at = Instant::now();
    let ending = join_all(
        handles
            .iter()
            .filter(is_over)
            .map(|handle| until_closed(handle)),
    );
    let ((), reasons) = futures::join!(hub.rotate("device"), ending);
    let took = rotated_at.elapsed();
    assert_eq!(reasons.len(), 33_333);
    assert!(
        reasons
            .iter()
            .all(|reason| *reason == DisconnectReason::KeysChanged)
    );
    // What is looked at waits for the next look, then for the pauses between the shards.
    assert!(took < Duration::from_millis(700), "{took:?}");
    assert!(took > Duration::from_millis(250), "{took:?}");
    let mut others = handles.iter().filter(|handle| !is_over(handle));
    assert!(others.all(|handle| !handle.mailbox.is_closing()));
}

#[tokio::test(start_paused = true)]
async fn a_view_that_cannot_be_confirmed_counts_for_its_limit_and_no_longer() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (own, by_policy) = (hub.device_token(&device), hub.policy_token("device"));
    let back_end = hub.policy_token("service");
    let authenticator = &hub.shared.authenticator;
    let open = |token| authenticator.device(&device.name, Credential::Token(token));
    hub.backend.set_mute(true);
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert!(open(&by_policy).await.is_ok());
    assert!(authenticator.service(&back_end).await.is_ok());
    tokio::time::sleep(Duration::from_secs(2)).await;
    for refusal in [
        open(&by_policy).await.err().unwrap(),
        authenticator.service(&back_end).await.err().unwrap(),
    ] {
        assert_eq!(refusal.kind(), RefusalKind::Unavailable);
        assert_eq!(refusal.cause(), Cause::Stale);
    }
    // Who lives by a key of its own needs no view.
    assert!(open(&own).await.is_ok());
    assert_eq!(hub.shared.access.current().err(), Some(Stale));
    hub.backend.set_mute(false);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(open(&by_policy).await.is_ok(), "it is read again soon");
    assert!(authenticator.service(&back_end).await.is_ok());
}

#[tokio::test]
async fn a_gateway_that_has_read_no_policies_yet_lets_nobody_in_by_them() {
    let hub = TestHub::with(|options| options.access_stale_limit = Duration::ZERO).await;
    let token = hub.policy_token("service");
    let refusal = hub
        .shared
        .authenticator
        .service(&token)
        .await
        .err()
        .unwrap();
    assert_eq!(refusal.kind(), RefusalKind::Unavailable);
}

#[tokio::test]
async fn whoever_waits_for_the_end_of_a_credential_hears_of_it() {
    let hub = TestHub::with(|options| options.access_interval = Duration::from_millis(50)).await;
    let token = hub.policy_token("service");
    let service = hub.shared.authenticator.service(&token).await;
    let credential = service.unwrap().credential();
    let second = hub.second_key_token("service");
    let second = hub.shared.authenticator.service(&second).await.unwrap();
    let other = hub.shared.access.ended(second.credential());
    let ended = hub.shared.access.ended(credential);
    let ended = async {
        tokio::select! {
            () = ended => true,
            () = other => false,
        }
    };
    let ((), is_the_first) = futures::join!(hub.rotate("service"), ended);
    assert!(is_the_first);
    assert!(hub.shared.access.is_alive(second.credential()));
    hub.delete_policy("service").await;
    hub.shared.access.ended(second.credential()).await;
}
