use serde_json::json;

use super::*;

fn object(value: Value) -> Object {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

fn noon() -> Timestamp {
    Timestamp::from_millis(1_767_614_400_000)
}

fn a_spec(kind: JobKind, work: Value) -> JobSpec {
    JobSpec {
        id: "job-1".parse().unwrap(),
        kind,
        condition: "*".to_owned(),
        work: object(work),
        start_at: noon(),
        max_execution: Duration::from_mins(1),
    }
}

#[test]
fn an_id_has_lower_case_letters_digits_hyphens_and_apostrophes() {
    for good in ["a", "job-1", "it's", &"a".repeat(64)] {
        assert!(good.parse::<JobId>().is_ok(), "{good}");
    }
    for bad in ["", "Job", "a b", "a_b", "a.b", "\u{e9}", &"a".repeat(65)] {
        assert!(bad.parse::<JobId>().is_err(), "{bad}");
    }
}

#[test]
fn names_are_read_in_any_case() {
    assert_eq!(
        JobKind::parse("ScheduleDeviceMethod"),
        Some(JobKind::DeviceMethod)
    );
    assert_eq!(JobState::parse("COMPLETED"), Some(JobState::Completed));
    assert_eq!(JobState::parse("canceled"), None);
}

#[test]
fn an_update_takes_tags_desired_and_its_condition() {
    let work = json!({ "etag": "\"AAA=\"", "tags": { "ring": 2 },
        "properties": { "desired": { "rate": 10, "old": null }, "reported": { "x": 1 } } });
    let order = a_spec(JobKind::UpdateTwin, work).check(noon()).unwrap();
    let expected = TwinChange::Patch {
        tags: Some(object(json!({ "ring": 2 }))),
        desired: Some(object(json!({ "rate": 10, "old": null }))),
        if_match: IfMatch::Etag("AAA=".to_owned()),
    };
    assert_eq!(order, JobOrder::UpdateTwin(expected));
    for (work, is_any) in [
        (json!({ "etag": "*" }), true),
        (json!({ "etag": "\"*\"" }), true),
        (json!({}), true),
        (json!({ "etag": "x" }), false),
    ] {
        let order = JobOrder::read(JobKind::UpdateTwin, &object(work)).unwrap();
        let JobOrder::UpdateTwin(TwinChange::Patch { if_match, .. }) = order else {
            panic!("{order:?}");
        };
        assert_eq!(if_match == IfMatch::Any, is_any);
    }
}

#[test]
fn a_call_keeps_the_digits_of_its_payload_and_null_is_one() {
    let payload = |work: &str| {
        let work = object(crate::twin::parse_json(work.as_bytes()).unwrap());
        match JobOrder::read(JobKind::DeviceMethod, &work).unwrap() {
            JobOrder::Invoke { payload, .. } => payload,
            other @ JobOrder::UpdateTwin(_) => panic!("{other:?}"),
        }
    };
    assert_eq!(payload(r#"{"methodName":"m"}"#), "");
    assert_eq!(payload(r#"{"methodName":"m","payload":null}"#), "null");
    assert_eq!(
        payload(r#"{"methodName":"m","payload":{"a":1.50}}"#),
        r#"{"a":1.50}"#
    );
}

#[test]
fn what_is_outside_its_rules_is_refused() {
    let call = json!({ "methodName": "m" });
    let late = JobSpec {
        start_at: noon() + caps::MAX_JOB_DELAY + Duration::from_secs(1),
        ..a_spec(JobKind::DeviceMethod, call.clone())
    };
    let endless = JobSpec {
        max_execution: caps::MAX_JOB_EXECUTION + Duration::from_secs(1),
        ..a_spec(JobKind::DeviceMethod, call.clone())
    };
    let wordy = JobSpec {
        condition: "x".repeat(caps::MAX_CONDITION_CHARS + 1),
        ..a_spec(JobKind::DeviceMethod, call)
    };
    let mut wrong = vec![late, endless, wordy];
    for work in [
        json!({}),
        json!({ "methodName": "a b" }),
        json!({ "methodName": "m", "responseTimeoutInSeconds": 4 }),
        json!({ "methodName": "m", "responseTimeoutInSeconds": "5" }),
        json!({ "methodName": "m", "connectTimeoutInSeconds": 31 }),
        json!({ "methodName": "m", "payload": "x".repeat(caps::MAX_METHOD_BYTES) }),
    ] {
        wrong.push(a_spec(JobKind::DeviceMethod, work));
    }
    for work in [
        json!({ "tags": 1 }),
        json!({ "properties": [] }),
        json!({ "properties": { "desired": "x" } }),
        json!({ "etag": 7 }),
    ] {
        wrong.push(a_spec(JobKind::UpdateTwin, work));
    }
    for spec in wrong {
        let refused = spec.check(noon()).unwrap_err();
        assert!(matches!(refused, JobError::Invalid(_)), "{spec:?}");
    }
}

#[test]
fn a_job_is_scheduled_when_its_start_is_ahead() {
    let spec = a_spec(JobKind::UpdateTwin, json!({}));
    assert_eq!(spec.first_state(noon()), JobState::Queued);
    let earlier = noon() - Duration::from_millis(1);
    assert_eq!(spec.first_state(earlier), JobState::Scheduled);
}
