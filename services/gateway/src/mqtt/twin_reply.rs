//! Answers to twin requests (mqtt.md §11).

use bytes::Bytes;
use downlink_domain::caps::MAX_REPORTED_BYTES;
use downlink_domain::twin::{Twin, TwinChange, parse_json};
use downlink_domain::{ErrorCode, Timestamp};
use downlink_mqtt::topic::{ExpectedVersion, twin_response};
use downlink_ports::{IdSource, PeerError};
use serde_json::{Value, json};

/// A patch with this many bytes of text cannot fit its section however it is written, and is not parsed.
const MAX_PATCH_BYTES: usize = 4 * MAX_REPORTED_BYTES;

/// A publish to `$iothub/twin/res/…`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TwinReply {
    /// Where it goes.
    pub(super) topic: String,
    /// JSON text, or nothing.
    pub(super) body: Bytes,
}

/// A request that was refused before anybody was asked, or by whom it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TwinRefusal {
    code: ErrorCode,
    message: String,
}

impl TwinRefusal {
    fn new(code: ErrorCode, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
        }
    }

    /// The answer with the catalogue's code; one SDK reads the code from the body alone (§11.3).
    pub(super) fn into_reply(self, rid: &str, ids: &dyn IdSource, now: Timestamp) -> TwinReply {
        let body = json!({
            "errorCode": self.code.number(),
            "trackingId": tracking_id(ids, now),
            "message": self.message,
            "timestampUtc": now.to_string(),
        });
        TwinReply {
            topic: twin_response(self.code.http_status(), rid, None),
            body: body.to_string().into(),
        }
    }
}

impl From<PeerError> for TwinRefusal {
    fn from(error: PeerError) -> Self {
        Self {
            code: error.code(),
            message: error.to_string(),
        }
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
        ExpectedVersion::Unreadable => {
            return Err(TwinRefusal::new(
                ErrorCode::ArgumentInvalid,
                "$version is not a number",
            ));
        }
    };
    if body.len() > MAX_PATCH_BYTES {
        let message = "the reported properties are larger than allowed";
        return Err(TwinRefusal::new(ErrorCode::MessageTooLarge, message));
    }
    match parse_json(body) {
        Ok(Value::Object(patch)) => Ok(TwinChange::Report {
            patch,
            expected_version,
        }),
        Ok(_) => {
            let message = "the reported properties must be a JSON object";
            Err(TwinRefusal::new(ErrorCode::ArgumentInvalid, message))
        }
        Err(error) => Err(TwinRefusal::new(
            ErrorCode::ArgumentInvalid,
            &error.to_string(),
        )),
    }
}

/// A tracking id as the service writes it (errors-limits.md §1).
fn tracking_id(ids: &dyn IdSource, now: Timestamp) -> String {
    let text = now.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let (year, day) = date.split_once('-').unwrap_or((date, ""));
    let (month, day) = day.split_once('-').unwrap_or((day, ""));
    let time = time.split('.').next().unwrap_or_default();
    let id = u128::from_be_bytes(ids.record_id(now));
    format!("{id:032x}-G:0-TimeStamp:{month}/{day}/{year} {time}")
}

#[cfg(test)]
mod tests {
    use downlink_testkit::{CountingIds, noon};

    use super::*;

    #[track_caller]
    fn refused(body: &[u8], version: ExpectedVersion) -> ErrorCode {
        read_report(body, version).unwrap_err().code
    }

    #[test]
    fn an_error_names_its_status_in_the_topic_and_its_code_in_the_body() {
        let refusal = read_report(b"{", ExpectedVersion::Any).unwrap_err();
        let reply = refusal.into_reply("a-1", &CountingIds::default(), noon());
        assert_eq!(reply.topic, "$iothub/twin/res/400/?$rid=a-1");
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["errorCode"], 400_004);
        assert_eq!(body["timestampUtc"], "2026-01-05T12:00:00.0000000Z");
        let tracking_id = body["trackingId"].as_str().unwrap();
        assert!(
            tracking_id.ends_with("-G:0-TimeStamp:01/05/2026 12:00:00"),
            "{tracking_id}"
        );
        assert_eq!(tracking_id.find('-'), Some(32));
        assert!(body["message"].is_string());
    }

    #[test]
    fn every_code_of_the_catalogue_becomes_a_status() {
        for code in ErrorCode::ALL {
            let refusal = TwinRefusal::new(*code, "no");
            let reply = refusal.into_reply("1", &CountingIds::default(), noon());
            let status = format!("$iothub/twin/res/{}/?$rid=1", code.http_status());
            assert_eq!(reply.topic, status);
        }
    }

    #[test]
    fn a_patch_that_is_no_object_or_too_large_is_refused() {
        for body in [&b""[..], b" ", b"[]", b"1", b"{\"a\":", b"\xff"] {
            assert_eq!(
                refused(body, ExpectedVersion::Any),
                ErrorCode::ArgumentInvalid
            );
        }
        let large = vec![b' '; MAX_PATCH_BYTES + 1];
        assert_eq!(
            refused(&large, ExpectedVersion::Any),
            ErrorCode::MessageTooLarge
        );
        assert_eq!(
            refused(b"{}", ExpectedVersion::Unreadable),
            ErrorCode::ArgumentInvalid
        );
    }

    #[test]
    fn a_patch_carries_the_version_it_is_meant_for() {
        let change = read_report(br#"{"a":null}"#, ExpectedVersion::Exactly(7)).unwrap();
        let TwinChange::Report {
            patch,
            expected_version,
        } = change
        else {
            panic!("a report is a report");
        };
        assert_eq!(
            (patch["a"].clone(), expected_version),
            (Value::Null, Some(7))
        );
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
