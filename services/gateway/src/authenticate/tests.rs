use std::time::Duration;

use downlink_auth::{Resource, sign};
use downlink_domain::access::Actor;
use downlink_domain::device::{
    Authentication, Device, DeviceSpec, DeviceStatus, IfMatch, SymmetricKeys,
};
use downlink_domain::id::{DeviceId, IdentityName};
use downlink_ports::{Clock, DeviceRegistry, TwinApi};
use downlink_testkit::a_device_spec;

use super::{Cause, Credential, CredentialId, Refusal, RefusalKind};
use crate::device::StampedBy;
use crate::fakes::TestHub;
use crate::options::SasSwitches;

mod rights;

fn named(id: &str) -> IdentityName {
    IdentityName::from(id.parse::<DeviceId>().unwrap())
}

async fn open(hub: &TestHub, name: &IdentityName, token: &str) -> Result<StampedBy, Refusal> {
    let device = hub
        .shared
        .authenticator
        .device(name, Credential::Token(token));
    device.await.map(|device| device.by)
}

/// Why a token does not open an identity.
async fn cause(hub: &TestHub, name: &IdentityName, token: &str) -> Cause {
    open(hub, name, token).await.unwrap_err().cause()
}

/// Why a token is not taken from a back-end.
async fn service_cause(hub: &TestHub, token: &str) -> Cause {
    let refused = hub.shared.authenticator.service(token).await;
    match refused {
        Ok(_) => panic!("it is taken"),
        Err(refusal) => refusal.cause(),
    }
}

async fn module_of(hub: &TestHub, device: &str, module: &str) -> Device {
    let name = IdentityName {
        device: device.parse().unwrap(),
        module: Some(module.parse().unwrap()),
    };
    let (hub_name, now) = (hub.shared.options.hub.clone(), hub.clock.now());
    let made = hub
        .store
        .create(hub_name, name, a_device_spec(), Actor::operator(), now);
    made.await.unwrap().unwrap()
}

/// A token of one of the identity's keys, by its place, good for an hour.
fn own_token(hub: &TestHub, identity: &Device, key: usize) -> String {
    let Authentication::Sas(keys) = &identity.authentication else {
        panic!("no keys")
    };
    let key = [&keys.primary, &keys.secondary][key];
    let device_id = identity.name.device.as_str();
    let resource = match &identity.name.module {
        None => Resource::Device { device_id },
        Some(module) => Resource::Module {
            device_id,
            module_id: module.as_str(),
        },
    };
    let expiry = hub.clock.now().as_seconds() + 3600;
    sign(&resource.uri("hub.test"), key, expiry, None)
}

#[tokio::test]
async fn a_device_opens_with_either_of_its_keys_and_with_a_policy_that_may_connect_devices() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    for key in [0, 1] {
        let own = open(&hub, &device.name, &own_token(&hub, &device, key)).await;
        assert_eq!(own.unwrap(), StampedBy::Identity);
    }
    let view = hub.shared.access.current().unwrap();
    let policy = view.policy("device").unwrap();
    for (key, token) in [hub.policy_token("device"), hub.second_key_token("device")]
        .into_iter()
        .enumerate()
    {
        let by = open(&hub, &device.name, &token).await.unwrap();
        assert_eq!(by, StampedBy::Policy(policy.credential(key)));
        assert_ne!(by.credential(), CredentialId::OWN);
    }
}

#[tokio::test]
async fn other_keys_other_devices_and_other_policies_are_refused_alike_and_told_apart_inside() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let longer = hub.device("dev-10").await;
    let later = hub.clock.now().as_seconds() + 60;
    for (name, token, expected) in [
        (
            "dev-1",
            sign("hub.test/devices/dev-1", &[9; 32], later, None),
            Cause::Signature,
        ),
        (
            "dev-1",
            sign("other.test/devices/dev-1", &[1; 32], later, Some("device")),
            Cause::OtherHub,
        ),
        ("dev-10", hub.device_token(&device), Cause::Scope),
        ("dev-1", hub.device_token(&longer), Cause::Scope),
        ("nobody", hub.policy_token("device"), Cause::UnknownIdentity),
        ("nobody", hub.device_token(&device), Cause::UnknownIdentity),
        ("dev-1", hub.policy_token("service"), Cause::Right),
        (
            "dev-1",
            sign("hub.test/devices/dev-2", &[1; 32], later, Some("device")),
            Cause::Right,
        ),
        (
            "dev-1",
            hub.policy_token("no-such-policy"),
            Cause::UnknownPolicy,
        ),
        ("dev-1", String::new(), Cause::Malformed),
        (
            "dev-1",
            "SharedAccessSignature sr=x".to_owned(),
            Cause::Malformed,
        ),
        ("dev-1", "Bearer a.b.c".to_owned(), Cause::Malformed),
    ] {
        let refusal = open(&hub, &named(name), &token).await.unwrap_err();
        assert_eq!(refusal.kind(), RefusalKind::Unauthorized, "{name} {token}");
        assert_eq!(refusal.cause(), expected, "{name} {token}");
    }
}

#[tokio::test]
async fn an_empty_policy_name_means_the_identity_itself() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let own = format!("{}&skn=", own_token(&hub, &device, 0));
    let by = open(&hub, &device.name, &own).await.unwrap();
    assert_eq!(by, StampedBy::Identity);
    assert_eq!(service_cause(&hub, &own).await, Cause::NoPolicy);
    let later = hub.clock.now().as_seconds() + 60;
    let strange = format!("{}&skn=", sign("hub.test", &[9; 32], later, None));
    assert_eq!(cause(&hub, &device.name, &strange).await, Cause::Signature);
}

#[tokio::test]
async fn a_module_opens_with_its_own_keys_and_never_with_those_of_its_device() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let module = module_of(&hub, "dev-1", "m1").await;
    let other = SymmetricKeys {
        primary: vec![8; 32],
        secondary: vec![9; 32],
    };
    let spec = DeviceSpec {
        authentication: Authentication::Sas(other),
        ..a_device_spec()
    };
    let (hub_name, by) = (device.hub.clone(), Actor::operator());
    let put = hub
        .backend
        .put_device(hub_name, device.name, spec, IfMatch::Any, by);
    let device = put.await.unwrap();
    for key in [0, 1] {
        let own = own_token(&hub, &module, key);
        assert_eq!(
            open(&hub, &module.name, &own).await.unwrap(),
            StampedBy::Identity
        );
        assert_eq!(cause(&hub, &device.name, &own).await, Cause::Signature);
        let of_device = own_token(&hub, &device, key);
        assert_eq!(
            cause(&hub, &module.name, &of_device).await,
            Cause::Signature
        );
    }
    // A policy speaks for all below its scope.
    let expiry = hub.clock.now().as_seconds() + 60;
    let by_device = sign("hub.test/devices/dev-1", &[1; 32], expiry, Some("device"));
    assert!(open(&hub, &module.name, &by_device).await.is_ok());
    let by_module = "hub.test/devices/dev-1/modules/m2";
    let by_module = sign(by_module, &[1; 32], expiry, Some("device"));
    assert_eq!(cause(&hub, &module.name, &by_module).await, Cause::Right);
}

#[tokio::test]
async fn an_identity_with_certificates_takes_no_token_not_even_of_a_policy() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let token = hub.device_token(&device);
    for authentication in [
        Authentication::CertificateAuthority,
        Authentication::SelfSigned {
            primary: Some("A".repeat(40)),
            secondary: None,
        },
    ] {
        let change = |spec: &mut DeviceSpec| {
            spec.authentication = authentication.clone();
        };
        hub.change_unannounced(&device, change).await;
        for token in [
            &token,
            &hub.policy_token("device"),
            &hub.policy_token("iothubowner"),
        ] {
            let cause = cause(&hub, &device.name, token).await;
            assert_eq!(cause, Cause::TokenForCertificateIdentity);
        }
    }
}

#[tokio::test]
async fn a_token_opens_until_the_skew_after_its_expiry() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (own, service) = (hub.device_token(&device), hub.policy_token("service"));
    hub.clock.advance(Duration::from_secs(3600 + 299));
    assert!(open(&hub, &device.name, &own).await.is_ok());
    assert!(hub.shared.authenticator.service(&service).await.is_ok());
    hub.clock.advance(Duration::from_secs(2));
    assert_eq!(cause(&hub, &device.name, &own).await, Cause::Expired);
    assert_eq!(service_cause(&hub, &service).await, Cause::Expired);
}

#[tokio::test]
async fn only_who_holds_a_key_learns_that_a_device_is_disabled() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    hub.change_unannounced(&device, |spec| spec.status = DeviceStatus::Disabled)
        .await;
    let token = hub.device_token(&device);
    let holder = open(&hub, &device.name, &token).await.unwrap_err();
    assert_eq!(holder.kind(), RefusalKind::Disabled);
    let later = hub.clock.now().as_seconds() + 60;
    let forged = sign("hub.test/devices/dev-1", &[9; 32], later, None);
    let stranger = open(&hub, &device.name, &forged).await.unwrap_err();
    assert_eq!(stranger.kind(), RefusalKind::Unauthorized);
}

#[tokio::test]
async fn trouble_of_the_registry_is_not_taken_for_a_bad_credential() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let token = hub.device_token(&device);
    hub.backend.set_down(true);
    let refusal = open(&hub, &device.name, &token).await.unwrap_err();
    assert_eq!(refusal.kind(), RefusalKind::Unavailable);
    assert!(refusal.peer_error().is_some());
}

#[tokio::test]
async fn tokens_of_a_kind_that_is_switched_off_open_nothing() {
    let on = SasSwitches::default();
    for (sas, device_opens, module_opens, policy_opens) in [
        (on, true, true, true),
        (
            SasSwitches {
                is_device_off: true,
                ..on
            },
            false,
            true,
            true,
        ),
        (
            SasSwitches {
                is_module_off: true,
                ..on
            },
            true,
            false,
            true,
        ),
        (
            SasSwitches {
                is_policy_off: true,
                ..on
            },
            true,
            true,
            false,
        ),
    ] {
        let hub = TestHub::with(|options| options.sas = sas).await;
        let device = hub.device("dev-1").await;
        let module = module_of(&hub, "dev-1", "m1").await;
        for (identity, token, opens) in [
            (&device, own_token(&hub, &device, 0), device_opens),
            (&module, own_token(&hub, &module, 1), module_opens),
            (&device, hub.policy_token("device"), policy_opens),
        ] {
            let opened = open(&hub, &identity.name, &token).await;
            let cause = opened.err().map(|refusal| refusal.cause());
            let expected = (!opens).then_some(Cause::SasSwitchedOff);
            assert_eq!(cause, expected, "{sas:?} {}", identity.name);
        }
        let token = hub.policy_token("service");
        let service = hub.shared.authenticator.service(&token).await;
        assert_eq!(service.is_ok(), policy_opens);
    }
}

#[tokio::test]
async fn after_a_rotation_the_other_key_still_opens_and_the_old_one_does_not() {
    let hub = TestHub::with(|options| options.access_interval = Duration::from_millis(50)).await;
    let device = hub.device("dev-1").await;
    let (first, second) = (hub.policy_token("device"), hub.second_key_token("device"));
    hub.rotate("device").await;
    assert_eq!(cause(&hub, &device.name, &first).await, Cause::Signature);
    assert!(open(&hub, &device.name, &second).await.is_ok());
    hub.delete_policy("device").await;
    assert_eq!(
        cause(&hub, &device.name, &second).await,
        Cause::UnknownPolicy
    );
}

#[tokio::test]
async fn a_devices_own_token_is_no_back_ends() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    assert_eq!(
        service_cause(&hub, &hub.device_token(&device)).await,
        Cause::NoPolicy
    );
    assert_eq!(service_cause(&hub, "").await, Cause::NoCredential);
    assert_eq!(service_cause(&hub, "Basic x").await, Cause::Malformed);
}
