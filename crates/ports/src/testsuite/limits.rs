//! Limits that administrators state.

use downlink_domain::device::IfMatch;
use downlink_domain::event::EventKind;
use downlink_domain::id::HubName;
use downlink_domain::limits::{
    DeviceOperation, HubOperation, Limit, LimitKey, LimitOverrides, LimitsChange, LimitsError,
    LimitsSnapshot, MAX_LIMITED_DEVICES, Replaces,
};

use super::Subject;
use super::given::{a_hub, an_owner, noon, somebody};

async fn hub(subject: &Subject) {
    let ensured = subject
        .policies
        .ensure_hub(a_hub(), vec![an_owner()], noon());
    ensured.await.unwrap();
}

fn stated(key: LimitKey, limit: &str) -> LimitsChange {
    LimitsChange {
        replaces: Replaces::Nothing,
        entries: vec![(key, Some(limit.parse().unwrap()))],
    }
}

fn telemetry() -> LimitKey {
    LimitKey::Hub(HubOperation::Telemetry)
}

async fn change(
    subject: &Subject,
    change: LimitsChange,
    if_match: IfMatch,
) -> Result<LimitsSnapshot, LimitsError> {
    let store = &subject.limits;
    let changed = store.change_limits(a_hub(), change, if_match, somebody(), noon());
    changed.await.unwrap()
}

async fn limits(subject: &Subject, known: Option<u64>) -> Option<LimitsSnapshot> {
    subject.limits.limits(a_hub(), known).await.unwrap()
}

#[doc(hidden)]
pub async fn a_hub_of_which_nothing_is_stated_has_version_zero(subject: Subject) {
    let nothing = Some(LimitsSnapshot::default());
    assert_eq!(limits(&subject, None).await, nothing, "no hub at all");
    hub(&subject).await;
    assert_eq!(limits(&subject, None).await, nothing);
    assert_eq!(limits(&subject, Some(0)).await, None);
}

#[doc(hidden)]
pub async fn stated_limits_read_back_under_a_version_that_rises(subject: Subject) {
    hub(&subject).await;
    let own = LimitKey::Device("boiler-7".parse().unwrap(), DeviceOperation::Connect);
    let first = change(
        &subject,
        stated(telemetry(), "100/s burst 300"),
        IfMatch::Absent,
    );
    let first = first.await.unwrap();
    assert_eq!(first.version, 1);
    let second = change(&subject, stated(own.clone(), "unlimited"), IfMatch::Any);
    let second = second.await.unwrap();
    let expected = [
        (telemetry(), "100/s burst 300".parse().unwrap()),
        (own, Limit::Unlimited),
    ];
    assert_eq!(
        second,
        LimitsSnapshot {
            version: 2,
            overrides: LimitOverrides::of(expected).unwrap(),
        }
    );
    assert_eq!(limits(&subject, None).await.as_ref(), Some(&second));
    assert_eq!(limits(&subject, Some(1)).await.as_ref(), Some(&second));
    assert_eq!(limits(&subject, Some(2)).await, None);
}

#[doc(hidden)]
pub async fn a_change_under_another_version_changes_nothing(subject: Subject) {
    hub(&subject).await;
    let first = change(
        &subject,
        stated(telemetry(), "1/s"),
        IfMatch::Etag("0".to_owned()),
    );
    let first = first.await.unwrap();
    for stale in ["0", "2", "1 "] {
        let if_match = IfMatch::Etag(stale.to_owned());
        let refused = change(&subject, stated(telemetry(), "9/s"), if_match).await;
        assert_eq!(refused, Err(LimitsError::PreconditionFailed), "{stale:?}");
    }
    assert_eq!(limits(&subject, None).await, Some(first));
    let current = IfMatch::Etag("1".to_owned());
    let second = change(&subject, stated(telemetry(), "9/s"), current).await;
    assert_eq!(second.unwrap().version, 2);
}

#[doc(hidden)]
pub async fn limits_of_a_hub_that_does_not_exist_are_not_changed(subject: Subject) {
    let refused = change(&subject, stated(telemetry(), "1/s"), IfMatch::Absent).await;
    assert_eq!(refused, Err(LimitsError::NoHub));
}

#[doc(hidden)]
pub async fn hubs_have_limits_of_their_own(subject: Subject) {
    hub(&subject).await;
    let other: HubName = "other.example".parse().unwrap();
    let made = subject
        .policies
        .ensure_hub(other.clone(), vec![an_owner()], noon());
    made.await.unwrap();
    change(&subject, stated(telemetry(), "1/s"), IfMatch::Absent)
        .await
        .unwrap();
    let of_other = subject.limits.limits(other, None).await.unwrap();
    assert_eq!(of_other, Some(LimitsSnapshot::default()));
}

#[doc(hidden)]
pub async fn as_many_devices_as_may_have_limits_of_their_own_read_back(subject: Subject) {
    hub(&subject).await;
    let entries = (0..MAX_LIMITED_DEVICES).map(|number| {
        let device = format!("device-{number}").parse().unwrap();
        let key = LimitKey::Device(device, DeviceOperation::Telemetry);
        (key, Some("5/s".parse().unwrap()))
    });
    let all = LimitsChange {
        replaces: Replaces::General,
        entries: entries.collect(),
    };
    let changed = change(&subject, all, IfMatch::Absent).await.unwrap();
    assert_eq!(changed.overrides.iter().count(), MAX_LIMITED_DEVICES);
    assert_eq!(limits(&subject, None).await, Some(changed));
    let device = "one-more".parse().unwrap();
    let one_more = stated(LimitKey::Device(device, DeviceOperation::Connect), "1/s");
    let refused = change(&subject, one_more, IfMatch::Absent).await;
    assert_eq!(refused, Err(LimitsError::TooManyDevices));
}

#[doc(hidden)]
pub async fn a_change_of_limits_is_audited_and_a_refused_one_is_not(subject: Subject) {
    hub(&subject).await;
    change(&subject, stated(telemetry(), "7/s"), IfMatch::Absent)
        .await
        .unwrap();
    let stale = IfMatch::Etag("7".to_owned());
    let refused = change(&subject, stated(telemetry(), "8/s"), stale).await;
    assert!(refused.is_err());
    let events = subject.outbox.read_after(0, 100).await.unwrap();
    let audit: Vec<_> = events
        .iter()
        .filter(|(_, event)| event.kind == EventKind::Audit)
        .map(|(_, event)| String::from_utf8_lossy(&event.body).into_owned())
        .collect();
    assert_eq!(audit.len(), 1, "{audit:?}");
    for part in ["changeLimits", "hub telemetry 7/s", &somebody().credential] {
        assert!(audit[0].contains(part), "{part} in {}", audit[0]);
    }
}
