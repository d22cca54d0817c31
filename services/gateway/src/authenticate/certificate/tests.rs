//! Certificates against identities and authorities.

use std::time::Duration;

use downlink_auth::ClientChain;
use downlink_domain::authority::Possession;
use downlink_domain::device::{Device, DeviceStatus};
use downlink_domain::id::IdentityName;
use downlink_ports::Clock;

use super::super::{AuthenticatedDevice, Cause, Credential, Refusal, RefusalKind};
use crate::device::StampedBy;
use crate::fakes::{Authority, TestHub, self_signed, thumbprints};

async fn show(
    hub: &TestHub,
    name: &IdentityName,
    chain: &ClientChain,
) -> Result<AuthenticatedDevice, Refusal> {
    let authenticator = &hub.shared.authenticator;
    authenticator
        .device(name, Credential::Certificate(chain))
        .await
}

async fn cause(hub: &TestHub, device: &Device, chain: &ClientChain) -> Cause {
    let shown = show(hub, &device.name, chain).await;
    shown.expect_err("it is refused").cause()
}

#[tokio::test]
async fn either_thumbprint_in_either_place_opens_its_identity() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "whatever");
    let [sha1, sha256] = thumbprints(&chain);
    let places = [
        [Some(sha1.clone()), None],
        [None, Some(sha1.to_lowercase())],
        [Some(sha256.clone()), None],
        [None, Some(sha256)],
    ];
    for (index, registered) in places.into_iter().enumerate() {
        let id = format!("d{index}");
        let device = hub.device_of_thumbprints(&id, registered).await;
        let opened = show(&hub, &device.name, &chain).await.unwrap();
        assert_eq!(opened.by, StampedBy::Identity);
        assert_eq!(opened.opened.device.key, device.key);
        let life = Duration::from_hours(30 * 24);
        assert_eq!(opened.expires_at, hub.clock.now() + life);
        let other = self_signed(&hub, "whatever");
        assert_eq!(cause(&hub, &device, &other).await, Cause::Thumbprint);
    }
}

#[tokio::test]
async fn an_identity_without_thumbprints_is_opened_by_nothing() {
    let hub = TestHub::new().await;
    let device = hub.device_of_thumbprints("d", [None, None]).await;
    let chain = self_signed(&hub, "d");
    assert_eq!(cause(&hub, &device, &chain).await, Cause::Thumbprint);
}

#[tokio::test]
async fn an_authority_speaks_for_devices_once_its_key_is_proved_and_until_it_goes() {
    let hub = TestHub::new().await;
    let authority = Authority::new(&hub, "Plant 7");
    let device = hub.device_of_authority("dev-1").await;
    let chain = authority.issue(&hub, "dev-1");
    assert_eq!(cause(&hub, &device, &chain).await, Cause::Authority);
    let code = "0".repeat(48);
    for (name, possession) in [
        ("unverified", Possession::Unverified),
        ("challenged", Possession::Challenged { code }),
    ] {
        let other = Authority::new(&hub, "Plant 7");
        hub.register(other.record(name, possession)).await;
        let unproved = other.issue(&hub, "dev-1");
        let known = Authority::new(&hub, name);
        hub.trust(&format!("after-{name}"), &known).await;
        assert_eq!(cause(&hub, &device, &unproved).await, Cause::Authority);
    }
    hub.trust("plant-7", &authority).await;
    let opened = show(&hub, &device.name, &chain).await.unwrap();
    assert_eq!(opened.by, StampedBy::Authority(authority.credential()));
    hub.distrust("plant-7").await;
    hub.shared.access.ended(authority.credential()).await;
    assert_eq!(cause(&hub, &device, &chain).await, Cause::Authority);
}

#[tokio::test]
async fn the_subject_must_be_the_identity() {
    let hub = TestHub::new().await;
    let authority = Authority::new(&hub, "ca");
    hub.trust("ca", &authority).await;
    let device = hub.device_of_authority("dev-1").await;
    for other in ["dev-2", "DEV-1", "dev-1/m", "dev-10", ""] {
        let chain = authority.issue(&hub, other);
        assert_eq!(
            cause(&hub, &device, &chain).await,
            Cause::Subject,
            "{other}"
        );
    }
    let own = self_signed(&hub, "dev-1");
    assert_eq!(cause(&hub, &device, &own).await, Cause::Authority);
}

#[tokio::test]
async fn what_ends_first_ends_the_credential() {
    let hub = TestHub::new().await;
    let authority = Authority::new(&hub, "ca");
    hub.trust("ca", &authority).await;
    let device = hub.device_of_authority("d").await;
    let end = hub.clock.now() + Duration::from_hours(1);
    let chain = authority.issue_until(&hub, "d", end);
    let opened = show(&hub, &device.name, &chain).await.unwrap();
    assert_eq!(opened.expires_at, end);
    hub.clock.advance(Duration::from_hours(2));
    assert_eq!(cause(&hub, &device, &chain).await, Cause::CertificateDates);
    // The authority's own life ends its devices too.
    let chain = authority.issue_until(&hub, "d", hub.clock.now() + Duration::from_hours(24 * 60));
    assert!(show(&hub, &device.name, &chain).await.is_ok());
    hub.clock.advance(Duration::from_hours(24 * 31));
    hub.shared.access.known().await;
    assert_eq!(cause(&hub, &device, &chain).await, Cause::Authority);
}

#[tokio::test]
async fn keys_and_certificates_do_not_stand_in_for_each_other() {
    let hub = TestHub::new().await;
    let authority = Authority::new(&hub, "ca");
    hub.trust("ca", &authority).await;
    let with_keys = hub.device("with-keys").await;
    let chain = authority.issue(&hub, "with-keys");
    let refused = cause(&hub, &with_keys, &chain).await;
    assert_eq!(refused, Cause::CertificateForTokenIdentity);
    let with_certificate = hub.device_of_authority("with-certificate").await;
    let authenticator = &hub.shared.authenticator;
    for token in [
        hub.device_token(&with_keys),
        hub.policy_token("iothubowner"),
    ] {
        let shown = authenticator
            .device(&with_certificate.name, Credential::Token(&token))
            .await;
        let cause = shown.unwrap_err().cause();
        assert_eq!(cause, Cause::TokenForCertificateIdentity);
    }
}

#[tokio::test]
async fn the_status_is_told_only_to_who_holds_the_certificate() {
    let hub = TestHub::new().await;
    let chain = self_signed(&hub, "d");
    let [sha1, _] = thumbprints(&chain);
    let device = hub.device_of_thumbprints("d", [Some(sha1), None]).await;
    let disable = |spec: &mut downlink_domain::device::DeviceSpec| {
        spec.status = DeviceStatus::Disabled;
    };
    hub.change_unannounced(&device, disable).await;
    assert_eq!(cause(&hub, &device, &chain).await, Cause::Disabled);
    let other = show(&hub, &device.name, &self_signed(&hub, "d")).await;
    assert_eq!(other.unwrap_err().kind(), RefusalKind::Unauthorized);
    let nobody = IdentityName::from("nobody".parse::<downlink_domain::id::DeviceId>().unwrap());
    let unknown = show(&hub, &nobody, &chain).await;
    assert_eq!(unknown.unwrap_err().kind(), RefusalKind::Unauthorized);
}
