//! Identities written in batches; modules, Edge devices, limits, keys.

use std::time::Duration;

use downlink_domain::device::{
    Authentication, Device, DeviceSpec, DeviceStatus, EDGE_MODULES, IfMatch, SymmetricKeys,
    edge_scope,
};
use downlink_domain::event::EventKind;
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::twin::{self, Twin, TwinChange};
use serde_json::json;

use super::Subject;
use super::given::{a_device_spec, a_hub, an_identity, noon, sas_keys, somebody, twin_rules};
use crate::{
    RegistryChange, RegistryError, RegistryRules, RegistryWrite, RegistryWritten, RotatedKeys,
};

const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<RegistryWritten, RegistryError>;

fn a_module(device: &str, module: &str) -> IdentityName {
    IdentityName {
        module: Some(module.parse().unwrap()),
        ..an_identity(device)
    }
}

fn an_edge() -> DeviceSpec {
    DeviceSpec {
        is_edge: true,
        ..a_device_spec()
    }
}

fn create(name: IdentityName, spec: DeviceSpec) -> RegistryWrite {
    let twin = Twin::new(noon());
    RegistryWrite {
        name,
        change: RegistryChange::Create { spec, twin },
    }
}

fn replace(name: IdentityName, spec: DeviceSpec, if_match: IfMatch) -> RegistryWrite {
    RegistryWrite {
        name,
        change: RegistryChange::Replace { spec, if_match },
    }
}

fn delete(name: IdentityName) -> RegistryWrite {
    let if_match = IfMatch::Any;
    RegistryWrite {
        name,
        change: RegistryChange::Delete { if_match },
    }
}

async fn write_within(
    subject: &Subject,
    writes: Vec<RegistryWrite>,
    rules: RegistryRules,
) -> Vec<Answer> {
    let now = noon() + SECOND;
    let written = subject
        .registry
        .write(a_hub(), writes, rules, somebody(), now);
    written.await.expect("a store that works")
}

async fn write(subject: &Subject, writes: Vec<RegistryWrite>) -> Vec<Answer> {
    write_within(subject, writes, RegistryRules::default()).await
}

async fn write_one(subject: &Subject, write: RegistryWrite) -> Result<Device, RegistryError> {
    let written = self::write(subject, vec![write]).await.remove(0)?;
    Ok(written.into_device().expect("it was or it is"))
}

async fn modules_of(subject: &Subject, device: &str) -> Vec<Device> {
    let devices = vec![device.parse().unwrap()];
    subject
        .registry
        .list_modules(a_hub(), devices)
        .await
        .unwrap()
}

fn names(devices: &[Device]) -> Vec<String> {
    devices
        .iter()
        .map(|device| device.name.to_string())
        .collect()
}

#[doc(hidden)]
pub async fn writes_of_one_batch_are_answered_by_position_and_refused_alone(subject: Subject) {
    let first = subject.register("dev-1").await;
    let gone = subject.register("dev-2").await;
    let stale = IfMatch::Etag("c3RhbGU=".to_owned());
    let short = DeviceSpec::of(Authentication::Sas(SymmetricKeys {
        primary: vec![1; 15],
        ..sas_keys()
    }));
    let answers = write(
        &subject,
        vec![
            create(an_identity("dev-9"), a_device_spec()),
            create(an_identity("dev-1"), a_device_spec()),
            replace(an_identity("nobody"), a_device_spec(), IfMatch::Any),
            delete(an_identity("dev-2")),
            create(an_identity("dev-8"), short),
            create(a_module("dev-9", "m"), a_device_spec()),
            create(a_module("nobody", "m"), a_device_spec()),
            delete(a_module("dev-1", "m")),
        ],
    )
    .await;
    let refusals: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().cloned())
        .collect();
    assert!(matches!(refusals[4], Some(RegistryError::Invalid(_))));
    let expected = [
        None,
        Some(RegistryError::AlreadyExists(an_identity("dev-1"))),
        Some(RegistryError::NotFound(an_identity("nobody"))),
        None,
        refusals[4].clone(),
        None,
        Some(RegistryError::NotFound(an_identity("nobody"))),
        Some(RegistryError::NotFound(a_module("dev-1", "m"))),
    ];
    assert_eq!(refusals, expected);
    let created = answers[0].clone().unwrap();
    assert_eq!((created.before, created.ended), (None, vec![]));
    assert_eq!(answers[3].clone().unwrap().before, Some(gone));
    let asked = ["dev-9", "dev-1", "dev-2", "dev-8"].map(an_identity);
    let found = subject.registry.find(a_hub(), asked.to_vec()).await;
    assert_eq!(found.unwrap(), [created.after, Some(first), None, None]);

    let refused = write_one(
        &subject,
        replace(an_identity("dev-1"), a_device_spec(), stale),
    )
    .await;
    let mismatch = RegistryError::PreconditionFailed(an_identity("dev-1"));
    assert_eq!(refused, Err(mismatch));
}

#[doc(hidden)]
pub async fn each_write_of_a_batch_has_its_events(subject: Subject) {
    subject.register("dev-1").await;
    subject.register("dev-2").await;
    let before = subject.events(EventKind::Audit).await.len();
    write(
        &subject,
        vec![
            create(an_identity("dev-3"), a_device_spec()),
            replace(an_identity("dev-1"), a_device_spec(), IfMatch::Any),
            delete(an_identity("dev-2")),
            delete(an_identity("nobody")),
        ],
    )
    .await;
    let audit = subject.events(EventKind::Audit).await;
    let audit = audit[before..].iter().map(|event| {
        let found = event.properties.iter().find(|(name, _)| name == "opType");
        let device = event.device.as_ref().unwrap();
        (device.to_string(), found.unwrap().1.clone())
    });
    let mut audit: Vec<_> = audit.collect();
    audit.sort();
    let expected = [
        ("dev-1", "updateDeviceIdentity"),
        ("dev-2", "deleteDeviceIdentity"),
        ("dev-3", "createDeviceIdentity"),
    ];
    let expected = expected.map(|(device, kind)| (device.to_owned(), kind.to_owned()));
    assert_eq!(audit, expected);
    let lives = subject.events(EventKind::DeviceLifecycle).await;
    assert_eq!(lives.len(), 4, "three began, one ended");
}

#[doc(hidden)]
pub async fn an_identity_is_named_once_in_a_batch(subject: Subject) {
    subject.register("dev-1").await;
    let answers = write(
        &subject,
        vec![
            create(an_identity("dev-2"), a_device_spec()),
            create(an_identity("dev-2"), a_device_spec()),
            delete(an_identity("dev-1")),
            create(a_module("dev-1", "m"), a_device_spec()),
        ],
    )
    .await;
    let is_written: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(is_written, [true, false, true, false]);
    let twice = RegistryError::NamedTwice(a_module("dev-1", "m"));
    assert_eq!(answers[3], Err(twice));
}

#[doc(hidden)]
pub async fn a_large_batch_is_written_whole(subject: Subject) {
    let created = (0..300).map(|number| {
        let name = an_identity(&format!("dev-{number:03}"));
        create(name, a_device_spec())
    });
    let answers = write(&subject, created.collect()).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(subject.registry.counts(a_hub()).await.unwrap().total, 300);
    let keys: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| Some(answer.ok()?.after?.key))
        .collect();
    let twins = subject.twins.find_twins(keys.clone()).await.unwrap();
    assert_eq!(twins.into_iter().flatten().count(), 300);
    let gone = (0..300).map(|number| delete(an_identity(&format!("dev-{number:03}"))));
    let answers = write(&subject, gone.collect()).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(subject.registry.counts(a_hub()).await.unwrap().total, 0);
    let twins = subject.twins.find_twins(keys).await.unwrap();
    assert_eq!(twins.into_iter().flatten().count(), 0);
}

#[doc(hidden)]
pub async fn an_identity_begins_with_the_twin_it_is_given(subject: Subject) {
    let object = |value: serde_json::Value| value.as_object().cloned();
    let patch = TwinChange::Patch {
        tags: object(json!({"site": "zrh", "floor": 1.50})),
        desired: object(json!({"rate": 10})),
        if_match: IfMatch::Any,
    };
    let made = twin::apply(&Twin::new(noon()), patch, twin_rules(), noon());
    let twin = made.unwrap().twin;
    let change = RegistryChange::Create {
        spec: a_device_spec(),
        twin: twin.clone(),
    };
    let name = an_identity("dev-1");
    let device = write_one(&subject, RegistryWrite { name, change }).await;
    let key = device.unwrap().key;
    let found = subject.twins.find_twins(vec![key]).await.unwrap();
    assert_eq!(found, [Some(twin)]);
}

#[doc(hidden)]
pub async fn modules_are_listed_in_order_and_counted_beside_devices(subject: Subject) {
    subject.register("dev-1").await;
    subject.register("dev-2").await;
    for (device, module) in [
        ("dev-2", "x"),
        ("dev-1", "b"),
        ("dev-1", "B"),
        ("dev-1", "a"),
    ] {
        write_one(&subject, create(a_module(device, module), a_device_spec()))
            .await
            .unwrap();
    }
    let modules = modules_of(&subject, "dev-1").await;
    assert_eq!(names(&modules), ["dev-1/B", "dev-1/a", "dev-1/b"]);
    assert_eq!(modules_of(&subject, "nobody").await, []);
    let both = ["dev-2", "dev-1"].map(|id| id.parse().unwrap()).to_vec();
    let modules = subject.registry.list_modules(a_hub(), both).await.unwrap();
    assert_eq!(
        names(&modules),
        ["dev-1/B", "dev-1/a", "dev-1/b", "dev-2/x"]
    );
    let counts = subject.registry.counts(a_hub()).await.unwrap();
    assert_eq!((counts.total, counts.modules), (2, 4));
    assert_eq!(subject.registry.list(a_hub(), 10).await.unwrap().len(), 2);
    let other: HubName = "other.downlink.test".parse().unwrap();
    let elsewhere = subject
        .registry
        .list_modules(other, vec!["dev-1".parse().unwrap()]);
    assert_eq!(elsewhere.await.unwrap(), []);
}

#[doc(hidden)]
pub async fn a_module_has_somebody_who_looks_after_it_and_no_status(subject: Subject) {
    subject.register("dev-1").await;
    let name = a_module("dev-1", "m");
    let spec = DeviceSpec {
        status: DeviceStatus::Disabled,
        status_reason: Some("lost".to_owned()),
        is_edge: true,
        managed_by: Some("IotEdge \u{1f4b8}".to_owned()),
        ..a_device_spec()
    };
    let module = write_one(&subject, create(name.clone(), spec))
        .await
        .unwrap();
    assert_eq!(module.status, DeviceStatus::Enabled);
    assert_eq!(
        (module.status_reason.as_ref(), module.is_edge),
        (None, false)
    );
    assert_eq!(module.managed_by.as_deref(), Some("IotEdge \u{1f4b8}"));
    assert_eq!(modules_of(&subject, "dev-1").await, [module]);
    let bare = replace(name, a_device_spec(), IfMatch::Any);
    let replaced = write_one(&subject, bare).await.unwrap();
    assert_eq!(replaced.managed_by, None);
    assert_eq!(modules_of(&subject, "dev-1").await, [replaced]);
}

#[doc(hidden)]
pub async fn an_edge_device_has_its_system_modules_as_long_as_it_is_one(subject: Subject) {
    let created = write(&subject, vec![create(an_identity("gw"), an_edge())]).await;
    let device = created[0].clone().unwrap().after.unwrap();
    let scope = edge_scope(&device.name, device.generation);
    assert_eq!(device.device_scope.as_ref(), Some(&scope));
    let modules = modules_of(&subject, "gw").await;
    assert_eq!(
        names(&modules),
        EDGE_MODULES.map(|module| format!("gw/{module}"))
    );
    for module in &modules {
        assert_eq!(module.managed_by.as_deref(), Some("iotEdge"));
        assert_eq!(module.authentication, Authentication::None);
    }
    let keys = modules.iter().map(|module| module.key).collect();
    let twins = subject.twins.find_twins(keys).await.unwrap();
    assert_eq!(twins.into_iter().flatten().count(), 2);

    let again = replace(an_identity("gw"), an_edge(), IfMatch::Any);
    let again = write_one(&subject, again).await.unwrap();
    assert_eq!(again.device_scope.as_ref(), Some(&scope));
    assert_eq!(modules_of(&subject, "gw").await, modules);

    let plain = replace(an_identity("gw"), a_device_spec(), IfMatch::Any);
    let written = write(&subject, vec![plain]).await.remove(0).unwrap();
    assert_eq!(names(&written.ended), names(&modules));
    assert_eq!(written.after.unwrap().device_scope, None);
    assert_eq!(modules_of(&subject, "gw").await, []);

    let edge = replace(an_identity("gw"), an_edge(), IfMatch::Any);
    let edge = write_one(&subject, edge).await.unwrap();
    assert_eq!(edge.device_scope, Some(scope));
    assert_eq!(modules_of(&subject, "gw").await.len(), 2);
    let deleted = write(&subject, vec![delete(an_identity("gw"))]).await;
    assert_eq!(deleted[0].as_ref().unwrap().ended.len(), 2);
    assert_eq!(modules_of(&subject, "gw").await, []);
}

#[doc(hidden)]
pub async fn system_modules_are_written_by_nobody_else(subject: Subject) {
    write(&subject, vec![create(an_identity("gw"), an_edge())]).await;
    let agent = a_module("gw", "$edgeAgent");
    for write in [
        create(a_module("gw", "$mine"), a_device_spec()),
        replace(agent.clone(), a_device_spec(), IfMatch::Any),
        delete(agent.clone()),
    ] {
        let refused = RegistryError::SystemModule(write.name.clone());
        assert_eq!(write_one(&subject, write).await, Err(refused));
    }
    assert_eq!(modules_of(&subject, "gw").await.len(), 2);
}

#[doc(hidden)]
pub async fn scopes_name_parents(subject: Subject) {
    let gateway = write_one(&subject, create(an_identity("gw"), an_edge())).await;
    let scope = gateway.unwrap().device_scope.unwrap();
    let leaf = DeviceSpec {
        device_scope: Some(scope.clone()),
        ..a_device_spec()
    };
    let leaf = write_one(&subject, create(an_identity("leaf"), leaf)).await;
    let leaf = leaf.unwrap();
    assert_eq!(leaf.device_scope.as_ref(), Some(&scope));
    assert_eq!(leaf.parent_scopes, std::slice::from_ref(&scope));
    let found = subject
        .registry
        .find(a_hub(), vec![leaf.name.clone()])
        .await
        .unwrap();
    assert_eq!(found, [Some(leaf)]);

    // Of a device without children only its own scope counts.
    let only_parents = DeviceSpec {
        parent_scopes: vec![scope.clone()],
        ..a_device_spec()
    };
    let detached = replace(an_identity("leaf"), only_parents, IfMatch::Any);
    let detached = write_one(&subject, detached).await.unwrap();
    assert_eq!(
        (detached.device_scope, detached.parent_scopes),
        (None, vec![])
    );

    let child = DeviceSpec {
        parent_scopes: vec![scope.clone()],
        ..an_edge()
    };
    let child = write_one(&subject, create(an_identity("child"), child)).await;
    let child = child.unwrap();
    assert_ne!(child.device_scope.as_ref(), Some(&scope));
    assert_eq!(child.parent_scopes, std::slice::from_ref(&scope));

    // An Edge device's own scope is none that others give it, nor is it its own parent.
    let own = child.device_scope.clone().unwrap();
    for spec in [
        DeviceSpec {
            device_scope: Some(scope),
            ..an_edge()
        },
        DeviceSpec {
            device_scope: Some(String::new()),
            ..an_edge()
        },
        DeviceSpec {
            parent_scopes: vec![own],
            ..an_edge()
        },
    ] {
        let refused = replace(child.name.clone(), spec, IfMatch::Any);
        let expected = RegistryError::Scope(child.name.clone());
        assert_eq!(write_one(&subject, refused).await, Err(expected));
    }
    let found = subject.registry.find(a_hub(), vec![child.name.clone()]);
    assert_eq!(found.await.unwrap(), [Some(child)]);
}

#[doc(hidden)]
pub async fn a_device_has_as_many_modules_as_it_may(subject: Subject) {
    write(&subject, vec![create(an_identity("gw"), an_edge())]).await;
    let rules = RegistryRules {
        max_modules: 2,
        ..RegistryRules::default()
    };
    let modules = ["a", "b", "c"].map(|module| create(a_module("gw", module), a_device_spec()));
    let answers = write_within(&subject, modules.to_vec(), rules).await;
    let is_written: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(is_written, [true, true, false]);
    let full = RegistryError::TooManyModules("gw".parse().unwrap());
    assert_eq!(answers[2], Err(full.clone()));
    let one_more = vec![create(a_module("gw", "d"), a_device_spec())];
    let answers = write_within(&subject, one_more.clone(), rules).await;
    assert_eq!(answers, [Err(full)]);
    write(&subject, vec![delete(a_module("gw", "a"))]).await;
    let answers = write_within(&subject, one_more, rules).await;
    assert!(answers[0].is_ok());
}

#[doc(hidden)]
pub async fn a_hub_has_as_many_identities_as_it_may(subject: Subject) {
    subject.register("dev-1").await;
    write_one(&subject, create(a_module("dev-1", "m"), a_device_spec()))
        .await
        .unwrap();
    let rules = RegistryRules {
        max_identities: Some(4),
        ..RegistryRules::default()
    };
    let answers = write_within(
        &subject,
        vec![
            create(an_identity("gw"), an_edge()),
            create(an_identity("dev-2"), a_device_spec()),
            delete(a_module("dev-1", "m")),
            create(an_identity("dev-3"), a_device_spec()),
            create(an_identity("dev-4"), a_device_spec()),
        ],
        rules,
    )
    .await;
    let full = Err(RegistryError::QuotaExceeded(4));
    assert_eq!(answers[0], full, "an Edge device comes with two modules");
    let is_written: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(is_written, [false, true, true, true, true]);
    let one_more = vec![create(an_identity("dev-5"), a_device_spec())];
    assert_eq!(write_within(&subject, one_more, rules).await, [full]);
    let counts = subject.registry.counts(a_hub()).await.unwrap();
    assert_eq!((counts.total, counts.modules), (4, 0));
}

#[doc(hidden)]
pub async fn keys_are_exchanged_and_all_the_rest_stays(subject: Subject) {
    let spec = DeviceSpec {
        status: DeviceStatus::Disabled,
        status_reason: Some("lost".to_owned()),
        ..a_device_spec()
    };
    let name = an_identity("dev-1");
    let first = write_one(&subject, create(name.clone(), spec)).await;
    let mut current = first.unwrap();
    let old = sas_keys();
    let fresh = SymmetricKeys {
        primary: vec![8; 32],
        secondary: vec![9; 32],
    };
    for (keys, expected) in [
        (RotatedKeys::Primary, [&fresh.primary, &old.secondary]),
        (RotatedKeys::Secondary, [&fresh.primary, &fresh.secondary]),
        (RotatedKeys::Both, [&fresh.primary, &fresh.secondary]),
    ] {
        let change = RegistryChange::RotateKeys {
            keys,
            fresh: fresh.clone(),
        };
        let name = name.clone();
        let rotated = write_one(&subject, RegistryWrite { name, change }).await;
        let rotated = rotated.unwrap();
        let expected = Device {
            etag: current.etag + 1,
            authentication: Authentication::Sas(SymmetricKeys {
                primary: expected[0].clone(),
                secondary: expected[1].clone(),
            }),
            ..current
        };
        assert_eq!(rotated, expected);
        current = rotated;
    }
    let found = subject.registry.find(a_hub(), vec![name.clone()]).await;
    assert_eq!(found.unwrap(), [Some(current)]);

    let authority = DeviceSpec::of(Authentication::CertificateAuthority);
    write(
        &subject,
        vec![replace(name.clone(), authority, IfMatch::Any)],
    )
    .await;
    let change = RegistryChange::RotateKeys {
        keys: RotatedKeys::Both,
        fresh,
    };
    let write = RegistryWrite {
        name: name.clone(),
        change,
    };
    let refused = write_one(&subject, write).await;
    assert_eq!(refused, Err(RegistryError::NoKeys(name)));
}
