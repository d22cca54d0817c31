use std::time::Duration;

use downlink_auth::sign;
use downlink_domain::device::{DeviceSpec, DeviceStatus, IfMatch};
use downlink_domain::id::{DeviceId, IdentityName};
use downlink_domain::policy::Permission;
use downlink_ports::{Clock, TwinApi};
use downlink_testkit::a_device_spec;

use super::Refusal;
use crate::device::StampedBy;
use crate::fakes::TestHub;

fn named(id: &str) -> IdentityName {
    IdentityName::from(id.parse::<DeviceId>().unwrap())
}

#[tokio::test]
async fn a_device_opens_with_its_own_key_and_with_a_policy_that_may_connect_devices() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let authenticator = &hub.shared.authenticator;
    let own = authenticator
        .device(&device.name, &hub.device_token(&device))
        .await
        .unwrap();
    assert_eq!(
        (own.opened.device.key, own.by),
        (device.key, StampedBy::Identity)
    );
    let policy = authenticator
        .device(&device.name, &hub.policy_token("device"))
        .await
        .unwrap();
    assert_eq!(policy.by, StampedBy::Policy);
}

#[tokio::test]
async fn other_keys_other_devices_and_other_policies_are_refused_alike() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let longer = hub.device("dev-10").await;
    let later = hub.clock.now().as_seconds() + 60;
    let authenticator = &hub.shared.authenticator;
    for (name, token) in [
        (
            "dev-1",
            sign("hub.test/devices/dev-1", &[9; 32], later, None),
        ),
        (
            "dev-1",
            sign("other.test/devices/dev-1", &[1; 32], later, Some("device")),
        ),
        ("dev-10", hub.device_token(&device)),
        ("dev-1", hub.device_token(&longer)),
        ("nobody", hub.policy_token("device")),
        ("dev-1", hub.policy_token("service")),
        ("dev-1", hub.policy_token("no-such-policy")),
        ("dev-1", String::new()),
        ("dev-1", "SharedAccessSignature sr=x".to_owned()),
    ] {
        let refusal = authenticator
            .device(&named(name), &token)
            .await
            .unwrap_err();
        assert!(
            matches!(refusal, Refusal::Unauthorized),
            "{name} {token}: {refusal:?}"
        );
    }
}

#[tokio::test]
async fn a_token_opens_until_the_skew_after_its_expiry() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let token = hub.device_token(&device);
    hub.clock.advance(Duration::from_secs(3600 + 299));
    assert!(
        hub.shared
            .authenticator
            .device(&device.name, &token)
            .await
            .is_ok()
    );
    hub.clock.advance(Duration::from_secs(2));
    assert!(
        hub.shared
            .authenticator
            .device(&device.name, &token)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn only_who_holds_a_key_learns_that_a_device_is_disabled() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let spec = DeviceSpec {
        status: DeviceStatus::Disabled,
        authentication: device.authentication.clone(),
        ..a_device_spec()
    };
    let (hub_name, name) = (device.hub.clone(), device.name.clone());
    hub.backend
        .put_device(hub_name, name.clone(), spec, IfMatch::Any)
        .await
        .unwrap();
    let authenticator = &hub.shared.authenticator;
    let holder = authenticator
        .device(&name, &hub.device_token(&device))
        .await
        .unwrap_err();
    assert!(matches!(holder, Refusal::Disabled), "{holder:?}");
    let later = hub.clock.now().as_seconds() + 60;
    let forged = sign("hub.test/devices/dev-1", &[9; 32], later, None);
    let stranger = authenticator.device(&name, &forged).await.unwrap_err();
    assert!(matches!(stranger, Refusal::Unauthorized), "{stranger:?}");
}

#[tokio::test]
async fn trouble_of_the_registry_is_not_taken_for_a_bad_credential() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let token = hub.device_token(&device);
    hub.backend.set_down(true);
    let refusal = hub
        .shared
        .authenticator
        .device(&device.name, &token)
        .await
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}");
}

#[tokio::test]
async fn a_principal_may_do_what_its_policy_grants_within_its_tokens_scope() {
    let hub = TestHub::new().await;
    let authenticator = &hub.shared.authenticator;
    let service = authenticator
        .service(&hub.policy_token("service"))
        .await
        .unwrap();
    assert_eq!(service.policy(), "service");
    assert!(service.allows(Permission::ServiceConnect, &["twins", "dev-1"]));
    assert!(!service.allows(Permission::RegistryRead, &["devices", "dev-1"]));

    let later = hub.clock.now().as_seconds() + 60;
    let narrow = sign("hub.test/twins/dev-1", &[1; 32], later, Some("service"));
    let narrow = authenticator.service(&narrow).await.unwrap();
    assert!(narrow.allows(Permission::ServiceConnect, &["twins", "dev-1", "methods"]));
    assert!(!narrow.allows(Permission::ServiceConnect, &["twins", "dev-10"]));
    assert!(!narrow.allows(Permission::ServiceConnect, &["messages", "devicebound"]));
}

#[tokio::test]
async fn a_devices_own_token_is_no_back_ends() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    assert!(
        hub.shared
            .authenticator
            .service(&hub.device_token(&device))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn back_ends_do_not_queue_behind_reads_of_the_policies_that_fail() {
    let hub = TestHub::new().await;
    let token = hub.policy_token("service");
    hub.backend.set_mute(true);
    let asked_at = tokio::time::Instant::now();
    let asking = (0..100).map(|_| hub.shared.authenticator.service(&token));
    for answer in futures::future::join_all(asking).await {
        assert!(matches!(answer.err(), Some(Refusal::Unavailable(_))));
    }
    assert!(asked_at.elapsed() < Duration::from_secs(6));
    hub.backend.set_mute(false);
    assert!(hub.shared.authenticator.service(&token).await.is_ok());
}
