//! What each policy, each limit and each claim allows (auth.md §4, §6.4).

use downlink_domain::ErrorCode;
use downlink_domain::access::{Access, Action};
use downlink_domain::device::IfMatch;
use downlink_domain::method::MethodName;
use downlink_domain::policy::Permission::{self, DeviceConnect, RegistryWrite, ServiceConnect};
use downlink_domain::twin::TwinChange;
use downlink_ports::TwinApi as _;
use serde_json::{Value, json};

use super::*;
use crate::authenticate::{Denied, Principal};
use crate::fakes::TestIssuer;

async fn principal(hub: &TestHub, token: &str) -> Principal {
    hub.shared.authenticator.service(token).await.unwrap()
}

/// A principal of a policy with these rights and this limit.
async fn limited(hub: &TestHub, rights: &[Permission], scope: &Value) -> Principal {
    hub.limited_policy("limited", rights, scope).await;
    principal(hub, &hub.policy_token("limited")).await
}

async fn may(hub: &TestHub, principal: &Principal, access: &Access<'_>) -> bool {
    let authenticator = &hub.shared.authenticator;
    authenticator
        .authorize(principal, access, &[])
        .await
        .is_ok()
}

async fn may_to(hub: &TestHub, principal: &Principal, action: Action, device: &str) -> bool {
    let device: DeviceId = device.parse().unwrap();
    may(hub, principal, &Access::to_device(action, &device)).await
}

/// Which default policies may do what, besides `iothubowner`.
fn holders(action: Action) -> &'static [&'static str] {
    match action {
        Action::DevicesRead | Action::RegistryStatisticsRead | Action::ConfigurationsRead => {
            &["registryRead", "registryReadWrite"]
        }
        Action::DevicesWrite
        | Action::DevicesDelete
        | Action::ConfigurationsWrite
        | Action::ConfigurationsDelete => &["registryReadWrite"],
        Action::ServiceStatisticsRead | Action::JobsRead => {
            &["service", "registryRead", "registryReadWrite"]
        }
        Action::JobsWrite | Action::JobsDelete => &["service", "registryReadWrite"],
        Action::TwinsRead
        | Action::TwinsWrite
        | Action::InvokeMethod
        | Action::SendMessage
        | Action::ReceiveFeedback
        | Action::PurgeQueue
        | Action::FileNotifications => &["service"],
        Action::ActAsDevice => &["device"],
        Action::AdministrationRead | Action::AdministrationWrite => &[],
    }
}

#[tokio::test]
async fn each_default_policy_may_do_what_the_contract_says_and_nothing_else() {
    let hub = TestHub::new().await;
    for policy in [
        "iothubowner",
        "service",
        "device",
        "registryRead",
        "registryReadWrite",
    ] {
        let principal = principal(&hub, &hub.policy_token(policy)).await;
        assert_eq!(principal.policy(), Some(policy));
        assert_eq!(principal.actor_name(), format!("policy {policy}"));
        for action in Action::ALL {
            let expected = policy == "iothubowner" || holders(*action).contains(&policy);
            let to_hub = may(&hub, &principal, &Access::to_hub(*action)).await;
            let to_device = may_to(&hub, &principal, *action, "dev-1").await;
            assert_eq!(
                (to_hub, to_device),
                (expected, expected),
                "{policy} {action:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_covers_its_scope_alone() {
    let hub = TestHub::new().await;
    let later = hub.clock.now().as_seconds() + 60;
    let token = sign("hub.test/twins/dev-1", &[1; 32], later, Some("service"));
    let principal = principal(&hub, &token).await;
    let device: DeviceId = "dev-1".parse().unwrap();
    let access = Access::to_device(Action::TwinsRead, &device);
    for (path, covered) in [
        (&["twins", "dev-1"][..], true),
        (&["twins", "DEV-1", "methods"], true),
        (&["twins", "dev-10"], false),
        (&["twins"], false),
        (&["messages", "devicebound"], false),
    ] {
        let allowed = hub
            .shared
            .authenticator
            .authorize(&principal, &access, path);
        let expected = if covered { Ok(()) } else { Err(Denied::Policy) };
        assert_eq!(allowed.await, expected, "{path:?}");
    }
}

#[tokio::test]
async fn a_policy_limited_to_devices_reaches_those_and_nothing_of_the_hub() {
    let hub = TestHub::new().await;
    let scope = json!({"devices": [{"id": "boiler"}, {"prefix": "truck-"}]});
    let rights = [ServiceConnect, RegistryWrite];
    let principal = limited(&hub, &rights, &scope).await;
    assert!(principal.is_limited_to_devices());
    for action in [
        Action::SendMessage,
        Action::TwinsWrite,
        Action::DevicesDelete,
    ] {
        for (device, expected) in [
            ("boiler", true),
            ("truck-7", true),
            ("truck", false),
            ("Boiler", false),
            ("boiler2", false),
        ] {
            let allowed = may_to(&hub, &principal, action, device).await;
            assert_eq!(allowed, expected, "{action:?} {device}");
        }
    }
    for action in [
        Action::DevicesRead,
        Action::RegistryStatisticsRead,
        Action::ServiceStatisticsRead,
        Action::ReceiveFeedback,
        Action::FileNotifications,
    ] {
        assert!(
            !may(&hub, &principal, &Access::to_hub(action)).await,
            "{action:?}"
        );
    }
}

#[tokio::test]
async fn verbs_and_methods_limit_what_is_done() {
    let hub = TestHub::new().await;
    let scope = json!({"verbs": ["invoke", "readTwin"], "methods": ["reboot"]});
    let principal = limited(&hub, &Permission::ALL, &scope).await;
    let device: DeviceId = "dev-1".parse().unwrap();
    for action in Action::ALL {
        let allowed = may_to(&hub, &principal, *action, "dev-1").await;
        // A call without its method is one of any method.
        assert_eq!(allowed, *action == Action::TwinsRead, "{action:?}");
        let ever = principal.may_ever(*action, &[]);
        let expected = matches!(action, Action::TwinsRead | Action::InvokeMethod);
        assert_eq!(ever, expected, "{action:?}");
    }
    for (name, expected) in [("reboot", true), ("Reboot", false), ("format", false)] {
        let name: MethodName = name.parse().unwrap();
        let access = Access {
            method: Some(&name),
            ..Access::to_device(Action::InvokeMethod, &device)
        };
        assert_eq!(may(&hub, &principal, &access).await, expected, "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_limited_by_a_tag_follows_the_twin_within_a_second() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let scope = json!({"devices": [{"tag": "site.city", "equals": "Oslo"}]});
    let principal = limited(&hub, &[ServiceConnect], &scope).await;
    let read = Action::TwinsRead;
    assert!(!may_to(&hub, &principal, read, "dev-1").await);
    assert!(!may_to(&hub, &principal, read, "nobody").await);
    let tagged = async |city: &str| {
        let tags = json!({"site": {"city": city}}).as_object().cloned();
        let change = TwinChange::Patch {
            tags,
            desired: None,
            if_match: IfMatch::Any,
        };
        let (hub_name, name) = (device.hub.clone(), device.name.clone());
        hub.backend
            .update_twin(hub_name, name, change)
            .await
            .unwrap();
    };
    tagged("Oslo").await;
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(may_to(&hub, &principal, read, "dev-1").await);
    tagged("Bergen").await;
    assert!(
        may_to(&hub, &principal, read, "dev-1").await,
        "less than a second old"
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(!may_to(&hub, &principal, read, "dev-1").await);
    assert!(!may(&hub, &principal, &Access::to_hub(Action::ReceiveFeedback)).await);
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_tags_that_cannot_be_read_is_not_allowed() {
    let hub = TestHub::new().await;
    let scope = json!({"devices": [{"tag": "a", "equals": 1}, {"id": "dev-2"}]});
    let principal = limited(&hub, &[ServiceConnect], &scope).await;
    hub.backend.set_down(true);
    let (one, two): (DeviceId, DeviceId) = ("dev-1".parse().unwrap(), "dev-2".parse().unwrap());
    let authenticator = &hub.shared.authenticator;
    let access = Access::to_device(Action::SendMessage, &one);
    let denied = authenticator
        .authorize(&principal, &access, &[])
        .await
        .unwrap_err();
    assert_eq!(denied.code(), ErrorCode::ServiceUnavailable);
    let access = Access::to_device(Action::SendMessage, &two);
    assert_eq!(
        authenticator.authorize(&principal, &access, &[]).await,
        Ok(())
    );
}

#[tokio::test]
async fn a_limited_policy_speaks_for_its_devices_alone() {
    let hub = TestHub::new().await;
    let scope = json!({"devices": [{"prefix": "truck-"}, {"tag": "fleet", "equals": true}]});
    hub.limited_policy("fleet", &[DeviceConnect], &scope).await;
    hub.limited_policy("verbs", &[DeviceConnect], &json!({"verbs": ["send"]}))
        .await;
    let token = hub.policy_token("fleet");
    for (id, tagged, opens) in [
        ("truck-1", false, true),
        ("car-1", false, false),
        ("car-2", true, true),
    ] {
        let device = hub.device(id).await;
        if tagged {
            let change = TwinChange::Patch {
                tags: json!({"fleet": true}).as_object().cloned(),
                desired: None,
                if_match: IfMatch::Any,
            };
            let (hub_name, name) = (device.hub.clone(), device.name.clone());
            hub.backend
                .update_twin(hub_name, name, change)
                .await
                .unwrap();
        }
        let opened = open(&hub, &device.name, &token).await;
        assert_eq!(opened.is_ok(), opens, "{id}");
        let by_verbs = cause(&hub, &device.name, &hub.policy_token("verbs")).await;
        assert_eq!(by_verbs, Cause::Right);
    }
}

#[tokio::test]
async fn a_bearer_may_do_what_its_roles_are_mapped_to_and_never_speak_for_a_device() {
    let issuer = TestIssuer::new();
    let hub = issuer.hub().await;
    for (role, allowed) in [
        ("all", Action::ALL),
        ("send", &[Action::SendMessage]),
        ("none", &[]),
    ] {
        let principal = principal(&hub, &issuer.bearer(&hub, role)).await;
        assert_eq!(principal.policy(), None);
        assert_eq!(principal.credential(), CredentialId::OWN);
        assert_eq!(
            principal.actor_name(),
            "subject back-end-1 of https://issuer.test"
        );
        for action in Action::ALL {
            let device: DeviceId = "dev-1".parse().unwrap();
            let access = Access::to_device(*action, &device);
            let checked = hub.shared.authenticator.authorize(&principal, &access, &[]);
            let is_allowed = allowed.contains(action) && *action != Action::ActAsDevice;
            let expected = if is_allowed {
                Ok(())
            } else {
                Err(Denied::Bearer)
            };
            assert_eq!(checked.await, expected, "{role} {action:?}");
        }
    }
    assert_eq!(Denied::Bearer.code(), ErrorCode::GenericForbidden);
    let device = hub.device("dev-1").await;
    let bearer = issuer.bearer(&hub, "all");
    assert_eq!(cause(&hub, &device.name, &bearer).await, Cause::Malformed);
}

#[tokio::test]
async fn bearers_that_do_not_hold_are_refused() {
    let issuer = TestIssuer::new();
    let hub = issuer.hub().await;
    let good = issuer.bearer(&hub, "all");
    let lower = good.replacen("Bearer", "bearer", 1);
    assert!(hub.shared.authenticator.service(&lower).await.is_ok());
    let stranger = TestIssuer::new().bearer(&hub, "all");
    assert_eq!(service_cause(&hub, &stranger).await, Cause::Signature);
    assert_eq!(service_cause(&hub, "Bearer ").await, Cause::Malformed);
    assert_eq!(
        service_cause(&TestHub::new().await, &good).await,
        Cause::Issuer
    );
    hub.clock.advance(Duration::from_hours(2));
    assert_eq!(service_cause(&hub, &good).await, Cause::Expired);
}
