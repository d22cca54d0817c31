//! Answers to twin requests (mqtt.md §11).

use bytes::Bytes;
use downlink_domain::twin::{Twin, TwinChange};
use downlink_mqtt::topic::{ExpectedVersion, twin_response};
use serde_json::Value;

use crate::device::{TwinRefusal, reported};
use crate::tracking::Tracking;

/// A publish to `$iothub/twin/res/…`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TwinReply {
    /// Where it goes.
    pub(super) topic: String,
    /// JSON text, or nothing.
    pub(super) body: Bytes,
}

/// The answer with the catalogue's code (§11.3).
pub(super) fn of_refusal(rid: &str, refusal: &TwinRefusal, tracking: &Tracking) -> TwinReply {
    TwinReply {
        topic: twin_response(refusal.code().http_status(), rid, None),
        body: refusal.body(tracking),
    }
}

/// The answer to a successful GET.
pub(super) fn of_twin(rid: &str, twin: &Twin) -> TwinReply {
    let body = Value::Object(twin.device_view()).to_string();
    TwinReply {
        topic: twin_response(200, rid, None),
        body: body.into(),
    }
}

/// The answer to a successful PATCH.
pub(super) fn of_report(rid: &str, version: u64) -> TwinReply {
    TwinReply {
        topic: twin_response(204, rid, Some(version)),
        body: Bytes::new(),
    }
}

/// Reads a reported patch.
///
/// # Errors
/// [`TwinRefusal`] with 400 or 413; twin errors do not close the connection (§5).
pub(super) fn read_report(
    body: &[u8],
    version: ExpectedVersion,
) -> Result<TwinChange, TwinRefusal> {
    let expected_version = match version {
        ExpectedVersion::Any => None,
        ExpectedVersion::Exactly(version) => Some(version),
        ExpectedVersion::Unreadable => return Err(reported::unreadable_version()),
    };
    reported::read_report(body, expected_version)
}

#[cfg(test)]
mod tests {
    use downlink_domain::ErrorCode;
    use downlink_testkit::{CountingIds, noon};

    use super::*;

    fn tracking() -> Tracking {
        Tracking::made(&CountingIds::default(), 0, noon())
    }

    #[test]
    fn an_error_names_its_status_in_the_topic_and_its_code_in_the_body() {
        let refusal = read_report(b"{", ExpectedVersion::Any).unwrap_err();
        let reply = of_refusal("a-1", &refusal, &tracking());
        assert_eq!(reply.topic, "$iothub/twin/res/400/?$rid=a-1");
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["errorCode"], 400_004);
    }

    #[test]
    fn every_code_of_the_catalogue_becomes_a_status() {
        for code in ErrorCode::ALL {
            let refusal = TwinRefusal::new(*code, "no");
            let reply = of_refusal("1", &refusal, &tracking());
            let status = format!("$iothub/twin/res/{}/?$rid=1", code.http_status());
            assert_eq!(reply.topic, status);
        }
    }

    #[test]
    fn a_patch_is_for_any_version_or_for_one_that_can_be_read() {
        let expected = |version| match read_report(b"{}", version) {
            Ok(TwinChange::Report {
                expected_version, ..
            }) => Ok(expected_version),
            Ok(_) => panic!("a report is a report"),
            Err(refusal) => Err(refusal.code()),
        };
        assert_eq!(expected(ExpectedVersion::Any), Ok(None));
        assert_eq!(expected(ExpectedVersion::Exactly(7)), Ok(Some(7)));
        let unreadable = expected(ExpectedVersion::Unreadable);
        assert_eq!(unreadable, Err(ErrorCode::ArgumentInvalid));
    }

    #[test]
    fn successes_have_their_own_statuses() {
        let twin = Twin::new(noon());
        let reply = of_twin("r", &twin);
        assert_eq!(reply.topic, "$iothub/twin/res/200/?$rid=r");
        assert_eq!(
            reply.body,
            r#"{"desired":{"$version":1},"reported":{"$version":1}}"#
        );
        let reply = of_report("r", 12);
        assert_eq!(reply.topic, "$iothub/twin/res/204/?$rid=r&$version=12");
        assert!(reply.body.is_empty());
    }
}
