//! Connections that live by keys of policies (auth.md §3.5).

use std::time::{Duration, Instant};

use downlink_domain::policy::Permission::DeviceConnect;
use downlink_mqtt::packet::{Connack, ConnectReturnCode};
use serde_json::json;

use super::client::{ACCEPTED, Client, connect_of};
use crate::fakes::TestHub;

const UNAUTHORIZED: Connack = Connack::Refused(ConnectReturnCode::NotAuthorized);

async fn fast_hub() -> TestHub {
    TestHub::with(|options| options.access_interval = Duration::from_millis(50)).await
}

#[tokio::test]
async fn a_rotated_policy_key_ends_the_connections_that_it_opened_within_a_second() {
    let hub = fast_hub().await;
    let devices = [
        hub.device("dev-1").await,
        hub.device("dev-2").await,
        hub.device("dev-3").await,
    ];
    let by = |device, token: String| connect_of(&hub, device).with_password(token);
    let first = by(&devices[0], hub.policy_token("device"));
    let second = by(&devices[1], hub.second_key_token("device"));
    let (mut first, connack) = Client::connect_as(&hub, first).await;
    assert_eq!(connack, ACCEPTED);
    let (mut second, _) = Client::connect_as(&hub, second).await;
    let (mut own, _) = Client::connect(&hub, &devices[2]).await;
    let rotated_at = Instant::now();
    hub.rotate("device").await;
    first.expect_close().await;
    assert!(rotated_at.elapsed() < Duration::from_secs(1));
    second.settle_down().await;
    own.settle_down().await;
    let again = by(&devices[0], hub.policy_token("device"));
    let (_, connack) = Client::connect_as(&hub, again).await;
    assert_eq!(connack, UNAUTHORIZED);
    // Without its right the policy is another, whatever its keys.
    hub.change_policy("device", |policy| {
        policy.permissions = downlink_domain::policy::Permissions::default();
    })
    .await;
    second.expect_close().await;
    own.settle_down().await;
}

#[tokio::test]
async fn a_policy_that_is_deleted_or_limited_ends_what_it_opened() {
    let hub = fast_hub().await;
    let scope = json!({"devices": [{"prefix": "truck-"}]});
    hub.limited_policy("fleet", &[DeviceConnect], &scope).await;
    let (truck, car) = (hub.device("truck-1").await, hub.device("car-1").await);
    let token = hub.policy_token("fleet");
    let by = |device| connect_of(&hub, device).with_password(token.clone());
    let (_, connack) = Client::connect_as(&hub, by(&car)).await;
    assert_eq!(connack, UNAUTHORIZED);
    let (mut client, connack) = Client::connect_as(&hub, by(&truck)).await;
    assert_eq!(connack, ACCEPTED);
    hub.delete_policy("fleet").await;
    client.expect_close().await;
}

#[tokio::test]
async fn a_gateway_whose_policies_are_stale_says_to_come_again() {
    let hub = TestHub::with(|options| options.access_stale_limit = Duration::ZERO).await;
    let device = hub.device("dev-1").await;
    let connect = connect_of(&hub, &device).with_password(hub.policy_token("device"));
    let (_, connack) = Client::connect_as(&hub, connect).await;
    assert_eq!(
        connack,
        Connack::Refused(ConnectReturnCode::ServerUnavailable)
    );
    let (mut own, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, ACCEPTED);
    own.settle_down().await;
}
