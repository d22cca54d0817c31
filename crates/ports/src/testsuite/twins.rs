//! Twins.

use bytes::Bytes;
use downlink_domain::device::IfMatch;
use downlink_domain::event::EventKind;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::{Object, Twin, TwinChange, TwinError, TwinWritten, parse_json};
use serde_json::Value;

use super::Subject;
use super::given::{noon, somebody, twin_rules};
use crate::{DesiredChanges, Since};

fn object(text: &str) -> Object {
    match parse_json(text.as_bytes()) {
        Ok(Value::Object(object)) => object,
        other => panic!("{text} is no JSON object: {other:?}"),
    }
}

fn patch(desired: &str) -> TwinChange {
    TwinChange::Patch {
        tags: None,
        desired: Some(object(desired)),
        if_match: IfMatch::Any,
    }
}

fn report(reported: &str) -> TwinChange {
    TwinChange::Report {
        patch: object(reported),
        expected_version: None,
    }
}

type Answers = Vec<Option<Result<TwinWritten, TwinError>>>;

async fn update(subject: &Subject, changes: Vec<(DeviceKey, TwinChange)>) -> Answers {
    let updated = subject.twins.update_twins(changes, twin_rules(), noon());
    updated.await.expect("a store that works")
}

async fn read(subject: &Subject, device: DeviceKey) -> Twin {
    let twins = subject.twins.find_twins(vec![device]).await;
    let twin = twins.expect("a store that works").remove(0);
    twin.expect("a twin")
}

#[doc(hidden)]
pub async fn changes_are_applied_in_order_and_answered_by_position(subject: Subject) {
    let first = subject.register("dev-1").await.key;
    let second = subject.register("dev-2").await.key;
    let changes = vec![
        (first, patch("{\"rate\": 1}")),
        (second, report("{\"seen\": true}")),
        (first, patch("{\"rate\": 2, \"mode\": \"slow\"}")),
        (first, patch("{\"mode\": null}")),
    ];
    let answers = update(&subject, changes).await;
    let versions = answers.iter().map(|answer| {
        let written = answer.as_ref().unwrap().as_ref().unwrap();
        (written.twin.desired.version, written.twin.reported.version)
    });
    assert_eq!(
        versions.collect::<Vec<_>>(),
        [(2, 1), (1, 2), (3, 1), (4, 1)]
    );

    let twin = read(&subject, first).await;
    assert_eq!(twin.desired.values, object("{\"rate\": 2}"));
    assert_eq!(
        Some(&twin),
        answers[3].as_ref().map(|a| &a.as_ref().unwrap().twin)
    );
    let twins = subject.twins.find_twins(vec![second, first, second]);
    let twins = twins.await.unwrap();
    assert_eq!(twins[1].as_ref(), Some(&twin));
    assert_eq!(twins[0], twins[2]);
    let versions = [second, DeviceKey(i64::MAX), first];
    let versions = subject.twins.find_twin_versions(versions.to_vec()).await;
    let expected = [
        Some(twins[0].as_ref().unwrap().version),
        None,
        Some(twin.version),
    ];
    assert_eq!(versions.unwrap(), expected);
    assert_eq!(
        twins[0].as_ref().unwrap().reported.values,
        object("{\"seen\": true}")
    );
}

#[doc(hidden)]
pub async fn numbers_come_back_as_they_were_written(subject: Subject) {
    let device = subject.register("dev-1").await.key;
    let text = "{\"a\":1,\"b\":1.0,\"c\":120,\"d\":-0.10,\"e\":{\"f\":[4503599627370495,2.50]}}";
    update(&subject, vec![(device, patch(text))]).await;
    update(&subject, vec![(device, report(text))]).await;
    let twin = read(&subject, device).await;
    for values in [twin.desired.values, twin.reported.values] {
        assert_eq!(Value::Object(values).to_string(), text);
    }
}

#[doc(hidden)]
pub async fn a_refused_change_leaves_the_twin_as_it_was(subject: Subject) {
    let device = subject.register("dev-1").await.key;
    let stale = TwinChange::Patch {
        tags: Some(object("{\"site\": \"zrh\"}")),
        desired: None,
        if_match: IfMatch::Etag("AAAAAAAAAAk=".to_owned()),
    };
    let changes = vec![
        (device, patch("{\"rate\": 1}")),
        (device, stale),
        (device, patch("{\"bad.key\": 1}")),
        (device, patch("{\"rate\": 2}")),
    ];
    let answers = update(&subject, changes).await;
    let refused = |position: usize| answers[position].as_ref().unwrap().as_ref().err();
    assert_eq!(refused(0), None);
    assert_eq!(refused(1), Some(&TwinError::PreconditionFailed));
    assert!(matches!(refused(2), Some(TwinError::Invalid(_))));
    assert_eq!(refused(3), None);
    let twin = read(&subject, device).await;
    assert_eq!(twin.desired.values, object("{\"rate\": 2}"));
    assert_eq!(twin.desired.version, 3);
    assert!(twin.tags.is_empty());
    assert_eq!(subject.events(EventKind::TwinChange).await.len(), 2);
}

#[doc(hidden)]
pub async fn each_change_makes_an_event(subject: Subject) {
    let device = subject.register("dev-1").await;
    let replacement = TwinChange::Replace {
        tags: object("{\"site\": \"zrh\"}"),
        desired: object("{\"rate\": 3}"),
        if_match: IfMatch::Any,
    };
    let changes = vec![
        (device.key, report("{\"seen\": true}")),
        (device.key, replacement),
    ];
    let answers = update(&subject, changes).await;
    let events = subject.events(EventKind::TwinChange).await;
    assert_eq!(events.len(), 2);
    let expected = ["updateTwin", "replaceTwin"];
    for ((event, op_type), answer) in events.iter().zip(expected).zip(answers) {
        let op_type = ("opType".to_owned(), op_type.to_owned());
        assert!(event.properties.contains(&op_type));
        assert_eq!(event.device_key, device.key);
        assert_eq!(event.at, noon());
        let body = answer.unwrap().unwrap().event.unwrap();
        assert_eq!(event.body, Value::Object(body).to_string());
    }
    assert_ne!(events[0].id, events[1].id);
}

#[doc(hidden)]
pub async fn a_twin_whose_identity_is_gone_is_not_found(subject: Subject) {
    let device = subject.register("dev-1").await;
    let name = device.name.clone();
    let deleted = subject
        .registry
        .delete(device.hub, name, IfMatch::Any, somebody(), noon())
        .await;
    deleted.unwrap().unwrap();
    let other = subject.register("dev-2").await.key;
    let changes = vec![
        (device.key, patch("{\"rate\": 1}")),
        (other, patch("{\"rate\": 1}")),
    ];
    let answers = update(&subject, changes).await;
    assert_eq!(answers[0], None);
    assert!(matches!(answers[1], Some(Ok(_))));
}

async fn changes(subject: &Subject, device: DeviceKey, since: Since) -> DesiredChanges {
    let found = subject.twins.find_changes(vec![(device, since)]).await;
    let found = found.expect("a store that works").remove(0);
    found.expect("a twin")
}

fn versions(changes: &DesiredChanges) -> Vec<u64> {
    changes.kept.iter().map(|(version, _)| *version).collect()
}

#[doc(hidden)]
pub async fn the_newest_changes_of_desired_are_kept_as_they_were_told(subject: Subject) {
    let device = subject.register("dev-1").await.key;
    let other = subject.register("dev-2").await.key;
    // The usual rules of this suite keep four.
    update(&subject, vec![(device, patch("{\"a\": 1}"))]).await;
    update(&subject, vec![(device, report("{\"seen\": 1}"))]).await;
    let more = (2..=6).map(|n| (device, patch(&format!("{{\"a\": {n}.0}}"))));
    update(&subject, more.collect()).await;
    update(&subject, vec![(other, patch("{\"b\": null}"))]).await;

    let all = changes(&subject, device, Since::Version(0)).await;
    assert_eq!((all.version, versions(&all)), (7, vec![4, 5, 6, 7]));
    assert!(!all.is_whole());
    let some = changes(&subject, device, Since::Version(5)).await;
    assert!(some.is_whole());
    let told: Vec<_> = some.kept.iter().map(|(_, body)| body.clone()).collect();
    assert_eq!(
        told,
        ["{\"a\":5.0,\"$version\":6}", "{\"a\":6.0,\"$version\":7}"]
    );

    for since in [Since::Now, Since::Version(7), Since::LastTold] {
        let none = changes(&subject, device, since).await;
        assert_eq!((none.version, none.since, none.kept), (7, 7, vec![]));
    }
    let wanted = vec![
        (other, Since::Version(1)),
        (DeviceKey(i64::MAX), Since::Now),
        (device, Since::Version(6)),
    ];
    let found = subject.twins.find_changes(wanted).await.unwrap();
    assert_eq!(versions(found[0].as_ref().unwrap()), [2]);
    assert_eq!(found[1], None);
    assert_eq!(versions(found[2].as_ref().unwrap()), [7]);
}

#[doc(hidden)]
pub async fn a_large_change_of_desired_is_not_kept(subject: Subject) {
    let device = subject.register("dev-1").await.key;
    let large = "x".repeat(3_000);
    let large = format!("{{\"a\": \"{large}\", \"b\": \"{large}\"}}");
    update(&subject, vec![(device, patch(&large))]).await;
    update(&subject, vec![(device, patch("{\"a\": 1}"))]).await;
    let kept = changes(&subject, device, Since::Version(1)).await;
    assert_eq!((kept.version, versions(&kept)), (3, vec![3]));
    assert!(!kept.is_whole());
}

#[doc(hidden)]
pub async fn a_session_remembers_what_its_device_was_told(subject: Subject) {
    let device = subject.register("dev-1").await.key;
    let other = subject.register("dev-2").await.key;
    let session = || vec![(device, Some(Bytes::from_static(b"session")))];
    subject.sessions.save_sessions(session()).await.unwrap();
    for n in 1..=3 {
        update(&subject, vec![(device, patch(&format!("{{\"a\": {n}}}")))]).await;
    }
    let told = vec![(device, 3), (other, 2), (device, 2)];
    subject.sessions.note_told(told).await.unwrap();
    let missed = changes(&subject, device, Since::LastTold).await;
    assert_eq!((missed.since, versions(&missed)), (3, vec![4]));

    // It only rises, and another write of the session leaves it.
    subject.sessions.note_told(vec![(device, 2)]).await.unwrap();
    subject.sessions.save_sessions(session()).await.unwrap();
    let missed = changes(&subject, device, Since::LastTold).await;
    assert_eq!(missed.since, 3);
    assert_eq!(changes(&subject, other, Since::LastTold).await.since, 1);

    let removed = subject.sessions.save_sessions(vec![(device, None)]);
    removed.await.unwrap();
    subject.sessions.save_sessions(session()).await.unwrap();
    assert_eq!(changes(&subject, device, Since::LastTold).await.since, 4);
}
