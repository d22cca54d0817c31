//! Policies, certificate authorities and their version.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::authority::{CertificateAuthority, MAX_AUTHORITIES, Possession};
use downlink_domain::device::IfMatch;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::HubName;
use downlink_domain::policy::scope::{DeviceMatch, Verb};
use downlink_domain::policy::{MAX_POLICIES, Permissions, Policy, PolicyScope};
use serde_json::json;

use super::Subject;
use super::given::{a_hub, a_policy, an_authority, an_owner, noon, somebody};
use crate::{AccessError, AccessSnapshot};

const SECOND: Duration = Duration::from_secs(1);

/// The usual hub with these policies.
async fn hub_with(subject: &Subject, policies: &[Policy]) {
    let ensured = subject
        .policies
        .ensure_hub(a_hub(), policies.to_vec(), noon());
    ensured.await.unwrap();
}

async fn access(subject: &Subject) -> AccessSnapshot {
    let access = subject.access.access(a_hub(), None).await;
    access.unwrap().expect("nothing is known yet")
}

async fn put(subject: &Subject, policy: Policy, if_match: IfMatch) -> Result<Policy, AccessError> {
    let put = subject
        .access
        .put_policy(a_hub(), policy, if_match, somebody(), noon());
    put.await.unwrap()
}

async fn delete(subject: &Subject, name: &str, if_match: IfMatch) -> Result<(), AccessError> {
    let name = name.to_owned();
    let deleted = subject
        .access
        .delete_policy(a_hub(), name, if_match, somebody(), noon());
    deleted.await.unwrap()
}

async fn put_authority(
    subject: &Subject,
    authority: CertificateAuthority,
    if_match: IfMatch,
) -> Result<CertificateAuthority, AccessError> {
    let put =
        subject
            .access
            .put_authority(a_hub(), authority, if_match, somebody(), noon() + SECOND);
    put.await.unwrap()
}

async fn delete_authority(
    subject: &Subject,
    name: &str,
    if_match: IfMatch,
) -> Result<(), AccessError> {
    let name = name.to_owned();
    let deleted = subject
        .access
        .delete_authority(a_hub(), name, if_match, somebody(), noon());
    deleted.await.unwrap()
}

/// Every kind of limit at once, with a text that needs escaping.
fn scope() -> PolicyScope {
    PolicyScope {
        devices: vec![
            DeviceMatch::Id("boiler-7".parse().unwrap()),
            DeviceMatch::Prefix("truck-".to_owned()),
            DeviceMatch::Tag {
                path: vec!["site".to_owned(), "city".to_owned()],
                value: json!("Sk\u{f8}yen \"\u{0}\""),
            },
        ],
        verbs: Some(vec![Verb::Invoke, Verb::ReadTwin]),
        methods: vec!["reboot".parse().unwrap()],
    }
}

fn properties_of(event: &Event) -> serde_json::Value {
    let body: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
    let details = body["properties"].as_str().unwrap();
    serde_json::from_str(details).unwrap()
}

#[doc(hidden)]
pub async fn a_hub_that_does_not_exist_has_version_0_and_takes_nothing(subject: Subject) {
    assert_eq!(access(&subject).await, AccessSnapshot::default());
    let known = subject.access.access(a_hub(), Some(0)).await;
    assert_eq!(known.unwrap(), None);
    let missing = AccessError::NotFound(a_hub().to_string());
    let put = put(&subject, a_policy("a"), IfMatch::Absent).await;
    assert_eq!(put, Err(missing.clone()));
    let put = put_authority(&subject, an_authority("a"), IfMatch::Absent).await;
    assert_eq!(put, Err(missing));
    assert_eq!(access(&subject).await, AccessSnapshot::default());
}

#[doc(hidden)]
pub async fn access_is_read_whole_and_only_when_it_is_new(subject: Subject) {
    hub_with(&subject, &[an_owner(), a_policy("service")]).await;
    let first = access(&subject).await;
    assert!(first.version > 0);
    assert!(first.policies == [an_owner(), a_policy("service")]);
    assert_eq!(first.authorities, []);

    let known = subject.access.access(a_hub(), Some(first.version)).await;
    assert_eq!(known.unwrap(), None);
    put(&subject, a_policy("new"), IfMatch::Absent)
        .await
        .unwrap();
    put_authority(&subject, an_authority("plant"), IfMatch::Absent)
        .await
        .unwrap();
    let second = subject.access.access(a_hub(), Some(first.version)).await;
    let second = second.unwrap().expect("it is new");
    assert_eq!(second.version, first.version + 2);
    assert_eq!(second.policies.len(), 3);
    assert_eq!(second.authorities.len(), 1);
    // Of an earlier life of the store, such as before a restore.
    let later = subject
        .access
        .access(a_hub(), Some(second.version + 7))
        .await;
    assert!(later.unwrap() == Some(second));
}

#[doc(hidden)]
pub async fn a_policy_reads_back_whole(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    let limited = Policy {
        keys: [vec![0, 255, 1], vec![9; 64]],
        scope: Some(scope()),
        etag: 77,
        ..a_policy("limited")
    };
    let written = put(&subject, limited.clone(), IfMatch::Absent).await;
    let expected = Policy { etag: 1, ..limited };
    assert!(written.as_ref() == Ok(&expected));
    assert!(access(&subject).await.policies == [an_owner(), expected.clone()]);

    let free = Policy {
        keys: [vec![1; 16], vec![2; 16]],
        permissions: Permissions::default(),
        ..a_policy("limited")
    };
    let replaced = put(&subject, free.clone(), IfMatch::Any).await;
    let expected = Policy { etag: 2, ..free };
    assert!(replaced == Ok(expected.clone()));
    assert!(access(&subject).await.policies == [an_owner(), expected]);
}

#[doc(hidden)]
pub async fn a_hub_may_be_made_with_limited_policies(subject: Subject) {
    let limited = Policy {
        scope: Some(scope()),
        ..a_policy("limited")
    };
    hub_with(&subject, &[limited.clone(), an_owner()]).await;
    assert!(access(&subject).await.policies == [limited, an_owner()]);
}

#[doc(hidden)]
pub async fn a_policy_is_created_once_and_replaced_by_its_etag(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    let first = put(&subject, a_policy("a"), IfMatch::Absent).await.unwrap();
    let taken = Err(AccessError::AlreadyExists("a".to_owned()));
    assert!(put(&subject, a_policy("a"), IfMatch::Absent).await == taken);
    let missing = Err(AccessError::NotFound("b".to_owned()));
    assert!(put(&subject, a_policy("b"), IfMatch::Any).await == missing);

    let current = IfMatch::Etag(first.etag_text());
    let second = put(&subject, a_policy("a"), current.clone()).await.unwrap();
    assert_eq!(second.etag, first.etag + 1);
    let stale = Err(AccessError::PreconditionFailed("a".to_owned()));
    assert!(put(&subject, a_policy("a"), current).await == stale);
    let stored = access(&subject).await;
    assert!(
        stored.policies[1] == second,
        "refused writes change nothing"
    );
}

#[doc(hidden)]
pub async fn a_policy_is_deleted_by_its_etag_or_without_one(subject: Subject) {
    hub_with(&subject, &[an_owner(), a_policy("a"), a_policy("b")]).await;
    let stale = delete(&subject, "a", IfMatch::Etag("OQ==".to_owned())).await;
    assert_eq!(stale, Err(AccessError::PreconditionFailed("a".to_owned())));
    let etag = IfMatch::Etag(a_policy("a").etag_text());
    assert_eq!(delete(&subject, "a", etag).await, Ok(()));
    let gone = delete(&subject, "a", IfMatch::Any).await;
    assert_eq!(gone, Err(AccessError::NotFound("a".to_owned())));
    assert_eq!(delete(&subject, "b", IfMatch::Absent).await, Ok(()));
    assert!(access(&subject).await.policies == [an_owner()]);
}

#[doc(hidden)]
pub async fn policies_stand_in_the_order_of_their_creation(subject: Subject) {
    hub_with(&subject, &[an_owner(), a_policy("z"), a_policy("m")]).await;
    delete(&subject, "z", IfMatch::Any).await.unwrap();
    for name in ["b", "a", "z"] {
        put(&subject, a_policy(name), IfMatch::Absent)
            .await
            .unwrap();
    }
    put(&subject, a_policy("m"), IfMatch::Any).await.unwrap();
    let policies = access(&subject).await.policies;
    let names: Vec<&str> = policies.iter().map(|policy| &policy.name[..]).collect();
    assert_eq!(names, ["iothubowner", "m", "b", "a", "z"]);
}

#[doc(hidden)]
pub async fn a_hub_has_a_most_of_policies(subject: Subject) {
    let policies: Vec<Policy> = (1..MAX_POLICIES)
        .map(|number| a_policy(&format!("p-{number}")))
        .collect();
    hub_with(&subject, &[vec![an_owner()], policies].concat()).await;
    let refused = put(&subject, a_policy("more"), IfMatch::Absent).await;
    assert!(refused == Err(AccessError::TooMany(MAX_POLICIES)));
    let replaced = put(&subject, a_policy("p-1"), IfMatch::Any).await;
    assert!(replaced.is_ok(), "what is there may be replaced");
    delete(&subject, "p-7", IfMatch::Any).await.unwrap();
    let room = put(&subject, a_policy("more"), IfMatch::Absent).await;
    assert!(room.is_ok());
    assert_eq!(access(&subject).await.policies.len(), MAX_POLICIES);
}

#[doc(hidden)]
pub async fn the_last_policy_that_administers_stays(subject: Subject) {
    hub_with(&subject, &[an_owner(), a_policy("service")]).await;
    let last = AccessError::LastAdministrator("iothubowner".to_owned());
    let deleted = delete(&subject, "iothubowner", IfMatch::Any).await;
    assert_eq!(deleted, Err(last.clone()));
    let demoted = Policy {
        permissions: a_policy("x").permissions,
        ..an_owner()
    };
    let limited = Policy {
        scope: Some(scope()),
        ..an_owner()
    };
    for less in [demoted.clone(), limited] {
        let refused = put(&subject, less, IfMatch::Any).await;
        assert!(refused == Err(last.clone()));
    }
    let rotated = Policy {
        keys: [vec![8; 32], vec![9; 32]],
        ..an_owner()
    };
    assert!(put(&subject, rotated, IfMatch::Any).await.is_ok());

    let second = Policy {
        name: "second".to_owned(),
        ..an_owner()
    };
    put(&subject, second, IfMatch::Absent).await.unwrap();
    assert!(put(&subject, demoted, IfMatch::Any).await.is_ok());
    let deleted = delete(&subject, "second", IfMatch::Any).await;
    let last = AccessError::LastAdministrator("second".to_owned());
    assert_eq!(deleted, Err(last));
    assert_eq!(delete(&subject, "iothubowner", IfMatch::Any).await, Ok(()));
}

#[doc(hidden)]
pub async fn an_authority_reads_back_whole_in_every_state_of_its_proof(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    let code = "0123456789ABCDEF".repeat(3);
    let states = [
        Possession::Unverified,
        Possession::Challenged { code },
        Possession::Verified,
    ];
    let mut if_match = IfMatch::Absent;
    for (possession, etag) in states.into_iter().zip(1..) {
        let given = CertificateAuthority {
            certificate: Bytes::from(vec![0; 16 * 1024]),
            subject: "CN=Plant 7, O=Sk\u{f8}yen \"A\"".to_owned(),
            possession,
            etag: 77,
            created_at: noon() - SECOND,
            updated_at: noon() - SECOND,
            ..an_authority("plant")
        };
        let expected = CertificateAuthority {
            etag,
            created_at: noon() + SECOND,
            updated_at: noon() + SECOND,
            ..given.clone()
        };
        let written = put_authority(&subject, given, if_match).await.unwrap();
        assert_eq!(written, expected);
        if_match = IfMatch::Etag(written.etag_text());
        assert_eq!(access(&subject).await.authorities, [expected]);
    }
}

#[doc(hidden)]
pub async fn an_authority_keeps_the_time_of_its_registration(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    let first = put_authority(&subject, an_authority("a"), IfMatch::Absent).await;
    let first = first.unwrap();
    let later = noon() + 5 * SECOND;
    let second = subject
        .access
        .put_authority(a_hub(), an_authority("a"), IfMatch::Any, somebody(), later)
        .await;
    let second = second.unwrap().unwrap();
    assert_eq!(second.created_at, first.created_at);
    assert_eq!(second.updated_at, later);
}

#[doc(hidden)]
pub async fn an_authority_is_registered_once_by_name_and_by_certificate(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    let first = put_authority(&subject, an_authority("a"), IfMatch::Absent).await;
    let first = first.unwrap();
    let taken = Err(AccessError::AlreadyExists("a".to_owned()));
    let again = put_authority(&subject, an_authority("a"), IfMatch::Absent).await;
    assert_eq!(again, taken);
    let copy = CertificateAuthority {
        name: "copy".to_owned(),
        ..an_authority("a")
    };
    let refused = put_authority(&subject, copy.clone(), IfMatch::Absent).await;
    assert_eq!(refused, taken);
    put_authority(&subject, an_authority("copy"), IfMatch::Absent)
        .await
        .unwrap();
    let refused = put_authority(&subject, copy, IfMatch::Any).await;
    assert_eq!(refused, taken, "nor by way of a replacement");

    let other_hub: HubName = "other.downlink.test".parse().unwrap();
    let ensured = subject
        .policies
        .ensure_hub(other_hub.clone(), vec![an_owner()], noon());
    ensured.await.unwrap();
    let elsewhere = subject
        .access
        .put_authority(
            other_hub,
            an_authority("a"),
            IfMatch::Absent,
            somebody(),
            noon(),
        )
        .await;
    assert!(elsewhere.unwrap().is_ok(), "hubs share nothing");
    assert_eq!(access(&subject).await.authorities[0], first);
}

#[doc(hidden)]
pub async fn an_authority_is_replaced_and_removed_by_its_etag(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    let missing = Err(AccessError::NotFound("a".to_owned()));
    let put = put_authority(&subject, an_authority("a"), IfMatch::Any).await;
    assert_eq!(put, missing);
    for name in ["b", "a"] {
        put_authority(&subject, an_authority(name), IfMatch::Absent)
            .await
            .unwrap();
    }
    let stale = IfMatch::Etag("OQ==".to_owned());
    let failed = AccessError::PreconditionFailed("a".to_owned());
    let put = put_authority(&subject, an_authority("a"), stale.clone()).await;
    assert_eq!(put, Err(failed.clone()));
    assert_eq!(
        delete_authority(&subject, "a", stale).await,
        Err(failed.clone())
    );
    let current = IfMatch::Etag(an_authority("a").etag_text());
    assert_eq!(delete_authority(&subject, "a", current).await, Ok(()));
    let gone = delete_authority(&subject, "a", IfMatch::Any).await;
    assert_eq!(gone, Err(AccessError::NotFound("a".to_owned())));
    assert_eq!(
        delete_authority(&subject, "b", IfMatch::Absent).await,
        Ok(())
    );
    assert_eq!(access(&subject).await.authorities, []);
}

#[doc(hidden)]
pub async fn a_hub_has_a_most_of_authorities(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    for number in 0..MAX_AUTHORITIES {
        let authority = an_authority(&format!("ca-{number:02}"));
        put_authority(&subject, authority, IfMatch::Absent)
            .await
            .unwrap();
    }
    let refused = put_authority(&subject, an_authority("more"), IfMatch::Absent).await;
    assert_eq!(refused, Err(AccessError::TooMany(MAX_AUTHORITIES)));
    delete_authority(&subject, "ca-07", IfMatch::Any)
        .await
        .unwrap();
    let room = put_authority(&subject, an_authority("more"), IfMatch::Absent).await;
    assert!(room.is_ok());
    let authorities = access(&subject).await.authorities;
    assert_eq!(authorities.len(), MAX_AUTHORITIES);
    assert_eq!(authorities[MAX_AUTHORITIES - 1].name, "more");
}

#[doc(hidden)]
pub async fn the_version_rises_with_every_write_and_with_no_refusal(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    let mut version = access(&subject).await.version;
    let mut rises = async || {
        let now = access(&subject).await.version;
        let by = now - version;
        version = now;
        by
    };
    put(&subject, a_policy("a"), IfMatch::Absent).await.unwrap();
    assert_eq!(rises().await, 1);
    put(&subject, a_policy("a"), IfMatch::Any).await.unwrap();
    assert_eq!(rises().await, 1);
    put_authority(&subject, an_authority("a"), IfMatch::Absent)
        .await
        .unwrap();
    assert_eq!(rises().await, 1);
    delete_authority(&subject, "a", IfMatch::Any).await.unwrap();
    assert_eq!(rises().await, 1);
    delete(&subject, "a", IfMatch::Any).await.unwrap();
    assert_eq!(rises().await, 1);

    assert!(delete(&subject, "a", IfMatch::Any).await.is_err());
    assert!(
        put(&subject, a_policy("a"), IfMatch::Any).await.is_err()
            && delete_authority(&subject, "a", IfMatch::Any).await.is_err()
    );
    let other: HubName = "other.downlink.test".parse().unwrap();
    let ensured = subject
        .policies
        .ensure_hub(other.clone(), vec![an_owner()], noon());
    ensured.await.unwrap();
    let elsewhere =
        subject
            .access
            .put_policy(other, a_policy("a"), IfMatch::Absent, somebody(), noon());
    elsewhere.await.unwrap().unwrap();
    assert_eq!(rises().await, 0);
}

#[doc(hidden)]
pub async fn every_write_leaves_an_audit_event_without_a_secret(subject: Subject) {
    hub_with(&subject, &[an_owner()]).await;
    let rotated = Policy {
        keys: [vec![3; 32], vec![7; 32]],
        scope: Some(scope()),
        ..a_policy("a")
    };
    put(&subject, a_policy("a"), IfMatch::Absent).await.unwrap();
    put(&subject, rotated, IfMatch::Any).await.unwrap();
    delete(&subject, "a", IfMatch::Any).await.unwrap();
    put_authority(&subject, an_authority("p"), IfMatch::Absent)
        .await
        .unwrap();
    let proved = CertificateAuthority {
        possession: Possession::Verified,
        ..an_authority("p")
    };
    put_authority(&subject, proved, IfMatch::Any).await.unwrap();
    delete_authority(&subject, "p", IfMatch::Any).await.unwrap();
    assert!(delete(&subject, "a", IfMatch::Any).await.is_err());

    let events = subject.events(EventKind::Audit).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let mut names = event.properties.iter();
            let op_type = names.find(|(name, _)| name == "opType").unwrap();
            let target = properties_of(event)["target"].clone();
            (op_type.1.clone(), target.as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [
        ("createPolicy", "policies/a"),
        ("updatePolicy", "policies/a"),
        ("deletePolicy", "policies/a"),
        ("createCertificateAuthority", "certificates/p"),
        ("updateCertificateAuthority", "certificates/p"),
        ("deleteCertificateAuthority", "certificates/p"),
    ];
    let expected = expected.map(|(operation, target)| (operation.to_owned(), target.to_owned()));
    assert_eq!(told, expected);
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), events.len());
    for event in &events {
        assert_eq!(event.device_key, Event::HUB_KEY);
        assert_eq!((&event.hub, &event.device), (&a_hub(), &None));
        let text = String::from_utf8(event.body.to_vec()).unwrap();
        assert!(text.contains(&somebody().credential));
    }
    assert_eq!(properties_of(&events[1])["replacedKeys"], "secondary");
    assert_eq!(properties_of(&events[4])["isVerified"], "true");
}

#[doc(hidden)]
pub async fn writers_of_the_same_state_take_turns(subject: Subject) {
    hub_with(&subject, &[an_owner(), a_policy("a")]).await;
    let before = access(&subject).await.version;
    let current = IfMatch::Etag(a_policy("a").etag_text());
    let replacements = (0..8_u8).map(|number| {
        let policy = Policy {
            keys: [vec![number; 32], vec![number; 32]],
            ..a_policy("a")
        };
        put(&subject, policy, current.clone())
    });
    let replaced = futures::future::join_all(replacements).await;
    let winners: Vec<_> = replaced.iter().flatten().collect();
    assert_eq!(winners.len(), 1, "one etag, one write");
    let creations = (0..8).map(|_| put(&subject, a_policy("new"), IfMatch::Absent));
    let created = futures::future::join_all(creations).await;
    assert_eq!(created.iter().flatten().count(), 1);
    let after = access(&subject).await;
    assert_eq!(after.version, before + 2);
    assert!(after.policies[1] == *winners[0]);
}

#[doc(hidden)]
pub async fn two_administrators_do_not_delete_each_other(subject: Subject) {
    for _ in 0..8 {
        let second = Policy {
            name: "second".to_owned(),
            ..an_owner()
        };
        hub_with(&subject, &[an_owner()]).await;
        for policy in [an_owner(), second] {
            // One of them is there from the round before.
            let _ = put(&subject, policy, IfMatch::Absent).await;
        }
        let (first, second) = futures::future::join(
            delete(&subject, "iothubowner", IfMatch::Any),
            delete(&subject, "second", IfMatch::Any),
        )
        .await;
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let policies = access(&subject).await.policies;
        assert!(policies.iter().any(Policy::administers));
    }
}
