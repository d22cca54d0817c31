//! Identities.

use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::device::{
    Authentication, Device, DeviceSpec, DeviceStatus, IfMatch, SymmetricKeys,
};
use downlink_domain::event::EventKind;
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::message::Verdict;
use downlink_domain::twin::Twin;

use super::Subject;
use super::given::{a_device_spec, a_hub, a_message, an_identity, noon, sas_keys, somebody};
use crate::{RegistryCounts, RegistryError, SettleError};

const SECOND: Duration = Duration::from_secs(1);

async fn create(
    subject: &Subject,
    name: IdentityName,
    spec: DeviceSpec,
) -> Result<Device, RegistryError> {
    let created = subject
        .registry
        .create(a_hub(), name, spec, somebody(), noon())
        .await;
    created.expect("a store that works")
}

async fn find(subject: &Subject, name: &IdentityName) -> Option<Device> {
    let found = subject.registry.find(a_hub(), vec![name.clone()]).await;
    found.expect("a store that works").remove(0)
}

async fn delete(
    subject: &Subject,
    name: &IdentityName,
    if_match: IfMatch,
) -> Result<Device, RegistryError> {
    let deleted = subject
        .registry
        .delete(a_hub(), name.clone(), if_match, somebody(), noon() + SECOND)
        .await;
    deleted.expect("a store that works")
}

fn a_module(device: &str, module: &str) -> IdentityName {
    IdentityName {
        module: Some(module.parse().expect("a valid id")),
        ..an_identity(device)
    }
}

#[doc(hidden)]
pub async fn a_created_identity_reads_back_with_its_twin_and_event(subject: Subject) {
    let spec = DeviceSpec {
        status: DeviceStatus::Disabled,
        status_reason: Some("not paid \u{1f4b8}".to_owned()),
        is_edge: true,
        ..a_device_spec()
    };
    let created = create(&subject, an_identity("dev-1"), spec.clone())
        .await
        .unwrap();
    assert_eq!(created.hub, a_hub());
    assert_eq!(created.name, an_identity("dev-1"));
    assert_eq!(created.status, spec.status);
    assert_eq!(created.status_reason, spec.status_reason);
    assert_eq!(created.authentication, spec.authentication);
    assert!(created.is_edge);
    assert_eq!(created.status_updated_at, Timestamp::UNSET);
    assert_eq!(created.connection_state_updated_at, Timestamp::UNSET);
    assert_eq!(created.last_activity_at, Timestamp::UNSET);
    assert_eq!(find(&subject, &created.name).await, Some(created.clone()));

    let twins = subject.twins.find_twins(vec![created.key]).await.unwrap();
    assert_eq!(twins, [Some(Twin::new(noon()))]);

    let mut events = subject.events(EventKind::DeviceLifecycle).await;
    events.retain(|event| event.module.is_none());
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].device, Some(created.name.device));
    assert_eq!(events[0].device_key, created.key);
    let op_type = ("opType".to_owned(), "createDeviceIdentity".to_owned());
    assert!(events[0].properties.contains(&op_type));
}

#[doc(hidden)]
pub async fn every_way_to_prove_oneself_reads_back(subject: Subject) {
    let ways = [
        Authentication::Sas(SymmetricKeys {
            primary: (0..64).collect(),
            secondary: vec![0; 16],
        }),
        Authentication::SelfSigned {
            primary: Some("aB".repeat(20)),
            secondary: None,
        },
        Authentication::SelfSigned {
            primary: None,
            secondary: Some("0c".repeat(32)),
        },
        Authentication::CertificateAuthority,
    ];
    let name = an_identity("dev-1");
    create(&subject, name.clone(), a_device_spec())
        .await
        .unwrap();
    for authentication in ways {
        let spec = DeviceSpec {
            authentication: authentication.clone(),
            ..a_device_spec()
        };
        let replaced = subject
            .registry
            .replace(
                a_hub(),
                name.clone(),
                spec,
                IfMatch::Any,
                somebody(),
                noon(),
            )
            .await;
        replaced.unwrap().unwrap();
        let found = find(&subject, &name).await.unwrap();
        assert_eq!(found.authentication, authentication);
    }
}

#[doc(hidden)]
pub async fn a_name_can_be_created_once(subject: Subject) {
    let name = an_identity("dev-1");
    let first = create(&subject, name.clone(), a_device_spec())
        .await
        .unwrap();
    let second = create(&subject, name.clone(), a_device_spec()).await;
    assert_eq!(second, Err(RegistryError::AlreadyExists(name.clone())));
    assert_eq!(find(&subject, &name).await, Some(first));
    assert_eq!(subject.events(EventKind::DeviceLifecycle).await.len(), 1);
    let other_case = create(&subject, an_identity("DEV-1"), a_device_spec()).await;
    assert!(other_case.is_ok(), "ids are case-sensitive");
}

#[doc(hidden)]
pub async fn a_spec_outside_its_rules_is_refused(subject: Subject) {
    let spec = DeviceSpec {
        authentication: Authentication::Sas(SymmetricKeys {
            primary: vec![1; 15],
            ..sas_keys()
        }),
        ..a_device_spec()
    };
    let name = an_identity("dev-1");
    let created = create(&subject, name.clone(), spec.clone()).await;
    assert!(matches!(created, Err(RegistryError::Invalid(_))));
    let first = create(&subject, name.clone(), a_device_spec())
        .await
        .unwrap();
    let replaced = subject
        .registry
        .replace(
            a_hub(),
            name.clone(),
            spec,
            IfMatch::Any,
            somebody(),
            noon(),
        )
        .await;
    assert!(matches!(replaced.unwrap(), Err(RegistryError::Invalid(_))));
    assert_eq!(find(&subject, &name).await, Some(first));
}

#[doc(hidden)]
pub async fn a_created_again_identity_shares_nothing_with_the_earlier_one(subject: Subject) {
    let first = subject.register("dev-1").await;
    subject.enqueue(a_message(), noon()).await.unwrap();
    let session = vec![(first.key, Some("session".into()))];
    subject.sessions.save_sessions(session).await.unwrap();
    delete(&subject, &first.name, IfMatch::Any).await.unwrap();

    let second = subject.register("dev-1").await;

    assert!(second.key > first.key);
    assert_ne!(second.generation, first.generation);
    assert_ne!(second.etag, first.etag);
    assert_eq!(subject.count(second.key, noon()).await, 0);
    assert!(subject.receive(second.key, 1, noon()).await.is_empty());
    let session = subject.sessions.find_session(second.key).await;
    assert_eq!(session.unwrap(), None);
    let accepted = subject.enqueue(a_message(), noon()).await.unwrap();
    assert_eq!(accepted.device, second.key);
    let stale = delete(&subject, &first.name, IfMatch::Etag(first.etag_text())).await;
    assert!(matches!(stale, Err(RegistryError::PreconditionFailed(_))));
}

#[doc(hidden)]
pub async fn a_replacement_needs_the_current_etag(subject: Subject) {
    let first = subject.register("dev-1").await;
    let replace = |if_match| {
        let name = first.name.clone();
        subject
            .registry
            .replace(a_hub(), name, a_device_spec(), if_match, somebody(), noon())
    };
    let etag = IfMatch::Etag(first.etag_text());
    let second = replace(etag.clone()).await.unwrap().unwrap();
    assert_eq!(second.etag, first.etag + 1);
    let failed = Err(RegistryError::PreconditionFailed(first.name.clone()));
    assert_eq!(replace(etag).await.unwrap(), failed);
    assert_eq!(replace(IfMatch::Absent).await.unwrap(), failed);
    let third = replace(IfMatch::Any).await.unwrap().unwrap();
    assert_eq!(third.etag, first.etag + 2);

    let nobody = an_identity("nobody");
    let replaced = subject
        .registry
        .replace(
            a_hub(),
            nobody.clone(),
            a_device_spec(),
            IfMatch::Any,
            somebody(),
            noon(),
        )
        .await;
    assert_eq!(replaced.unwrap(), Err(RegistryError::NotFound(nobody)));
}

#[doc(hidden)]
pub async fn a_replacement_keeps_what_the_writer_does_not_say(subject: Subject) {
    let first = subject.register("dev-1").await;
    let spec = DeviceSpec {
        status: DeviceStatus::Disabled,
        status_reason: Some("lost".to_owned()),
        ..a_device_spec()
    };
    let replaced = subject
        .registry
        .replace(
            a_hub(),
            first.name.clone(),
            spec,
            IfMatch::Any,
            somebody(),
            noon() + SECOND,
        )
        .await;
    let replaced = replaced.unwrap().unwrap();
    let expected = Device {
        etag: first.etag + 1,
        status: DeviceStatus::Disabled,
        status_reason: Some("lost".to_owned()),
        status_updated_at: noon() + SECOND,
        ..first
    };
    assert_eq!(replaced, expected);
    assert_eq!(find(&subject, &expected.name).await, Some(expected));
}

#[doc(hidden)]
pub async fn a_deletion_needs_the_current_etag(subject: Subject) {
    let device = subject.register("dev-1").await;
    let failed = Err(RegistryError::PreconditionFailed(device.name.clone()));
    let stale = IfMatch::Etag("MQ==".to_owned());
    assert_eq!(delete(&subject, &device.name, stale).await, failed);
    let absent = IfMatch::Absent;
    assert_eq!(delete(&subject, &device.name, absent).await, failed);
    let current = IfMatch::Etag(device.etag_text());
    let deleted = delete(&subject, &device.name, current.clone()).await;
    assert_eq!(deleted.as_ref(), Ok(&device));
    let gone = Err(RegistryError::NotFound(device.name.clone()));
    assert_eq!(delete(&subject, &device.name, current).await, gone);
}

#[doc(hidden)]
pub async fn a_deleted_identity_takes_all_its_own_with_it(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue_all(vec![a_message(); 2], 50, noon()).await;
    let held = subject.receive(device.key, 1, noon()).await.remove(0);
    let session = vec![(device.key, Some("session".into()))];
    subject.sessions.save_sessions(session).await.unwrap();

    delete(&subject, &device.name, IfMatch::Any).await.unwrap();

    assert_eq!(find(&subject, &device.name).await, None);
    let twins = subject.twins.find_twins(vec![device.key]).await;
    assert_eq!(twins.unwrap(), [None]);
    let session = subject.sessions.find_session(device.key).await;
    assert_eq!(session.unwrap(), None);
    assert_eq!(subject.count(device.key, noon()).await, 0);
    let settled = subject.settle(&held, Verdict::Complete, noon()).await;
    assert_eq!(settled, Err(SettleError::LockLost));
    assert!(subject.enqueue(a_message(), noon()).await.is_err());
    let events = subject.events(EventKind::DeviceLifecycle).await;
    let op_type = ("opType".to_owned(), "deleteDeviceIdentity".to_owned());
    assert!(events[1].properties.contains(&op_type));
    assert_eq!(events[1].at, noon() + SECOND);
}

#[doc(hidden)]
pub async fn modules_are_identities_under_their_device(subject: Subject) {
    let orphan = create(&subject, a_module("dev-1", "m"), a_device_spec()).await;
    let missing = Err(RegistryError::NotFound(an_identity("dev-1")));
    assert_eq!(orphan, missing);
    let device = subject.register("dev-1").await;
    let module = create(&subject, a_module("dev-1", "m"), a_device_spec()).await;
    let module = module.unwrap();
    assert_ne!(module.key, device.key);
    assert_eq!(find(&subject, &module.name).await, Some(module.clone()));
    let twins = subject.twins.find_twins(vec![module.key]).await.unwrap();
    assert!(twins[0].is_some());

    let listed = subject.registry.list(a_hub(), 10).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&device));
    let counts = subject.registry.counts(a_hub()).await.unwrap();
    assert_eq!(counts.total, 1);

    let other = create(&subject, a_module("dev-1", "n"), a_device_spec()).await;
    delete(&subject, &other.unwrap().name, IfMatch::Any)
        .await
        .unwrap();
    assert!(find(&subject, &module.name).await.is_some());
    delete(&subject, &device.name, IfMatch::Any).await.unwrap();
    assert_eq!(find(&subject, &module.name).await, None);
    let twins = subject.twins.find_twins(vec![module.key]).await.unwrap();
    assert_eq!(twins, [None]);
    let events = subject.events(EventKind::DeviceLifecycle).await;
    let of_module = events.iter().filter(|e| e.module == module.name.module);
    assert_eq!(of_module.count(), 2);
}

#[doc(hidden)]
pub async fn devices_are_listed_in_order_and_counted(subject: Subject) {
    let counts = subject.registry.counts(a_hub()).await.unwrap();
    assert_eq!(counts, RegistryCounts::default());
    for name in ["b", "c", "B", "a"] {
        subject.register(name).await;
    }
    let off = DeviceSpec {
        status: DeviceStatus::Disabled,
        ..a_device_spec()
    };
    create(&subject, an_identity("d"), off).await.unwrap();
    let names = async |limit| {
        let listed = subject.registry.list(a_hub(), limit).await.unwrap();
        let names = listed.iter().map(|device| device.name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(10).await, ["B", "a", "b", "c", "d"]);
    assert_eq!(names(2).await, ["B", "a"]);
    let counts = subject.registry.counts(a_hub()).await.unwrap();
    let expected = RegistryCounts {
        total: 5,
        enabled: 4,
        modules: 0,
    };
    assert_eq!(counts, expected);
}

#[doc(hidden)]
pub async fn identities_are_found_by_position(subject: Subject) {
    let first = subject.register("dev-1").await;
    let second = subject.register("dev-2").await;
    let names = ["dev-2", "nobody", "dev-1", "dev-2"].map(an_identity);
    let found = subject.registry.find(a_hub(), names.to_vec()).await;
    let expected = [Some(second.clone()), None, Some(first), Some(second)];
    assert_eq!(found.unwrap(), expected);
}

#[doc(hidden)]
pub async fn hubs_do_not_share_identities(subject: Subject) {
    let here = subject.register("dev-1").await;
    let other: HubName = "other.downlink.test".parse().unwrap();
    let there = subject
        .registry
        .create(
            other.clone(),
            here.name.clone(),
            a_device_spec(),
            somebody(),
            noon(),
        )
        .await;
    let there = there.unwrap().unwrap();
    assert_ne!(there.key, here.key);
    delete(&subject, &here.name, IfMatch::Any).await.unwrap();
    let found = subject
        .registry
        .find(other.clone(), vec![here.name.clone()]);
    assert_eq!(found.await.unwrap(), [Some(there)]);
    assert_eq!(subject.registry.counts(other).await.unwrap().total, 1);
    assert_eq!(subject.registry.counts(a_hub()).await.unwrap().total, 0);
}
