//! Reported properties as a device sends them, and refusals of its twin requests: alike whatever
//! door they come through (mqtt.md §11, amqp.md §7.3).

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::caps::MAX_REPORTED_BYTES;
use downlink_domain::twin::{TwinChange, parse_json};
use downlink_ports::PeerError;
use serde_json::{Value, json};

use crate::tracking::Tracking;

/// A patch with this many bytes of text cannot fit its section however it is written, and is not parsed.
pub const MAX_PATCH_BYTES: usize = 4 * MAX_REPORTED_BYTES;

/// A request that was refused before anybody was asked, or by whom it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwinRefusal {
    code: ErrorCode,
    message: String,
}

impl TwinRefusal {
    /// Refuses with `code` of the catalogue and a text for the device.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// Why.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The body of the answer, a JSON object; one SDK reads the code from it alone (mqtt.md §11.3).
    ///
    /// Its tracking id leads to the line of the log that this writes.
    pub(crate) fn body(&self, tracking: &Tracking) -> Bytes {
        let (code, status) = (self.code.name(), self.code.http_status());
        if status >= 500 {
            let error = self.message.as_str();
            tracing::warn!(tracking.id, code, status, error, "a twin request failed");
        } else {
            tracing::info!(tracking.id, code, status, "a twin request was refused");
        }
        let body = json!({
            "errorCode": self.code.number(),
            "trackingId": tracking.to_string(),
            "message": self.message,
            "timestampUtc": tracking.at.to_string(),
        });
        body.to_string().into()
    }
}

impl From<PeerError> for TwinRefusal {
    fn from(error: PeerError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Reads a reported patch that is meant for version `expected_version`, if for any one.
///
/// # Errors
/// [`TwinRefusal`] with 400 or 413; twin errors end no connection.
pub fn read_report(body: &[u8], expected_version: Option<u64>) -> Result<TwinChange, TwinRefusal> {
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
            error.to_string(),
        )),
    }
}

/// The refusal of a patch whose expected version is no number.
pub fn unreadable_version() -> TwinRefusal {
    TwinRefusal::new(ErrorCode::ArgumentInvalid, "$version is not a number")
}

#[cfg(test)]
mod tests {
    use downlink_testkit::{CountingIds, noon};

    use super::*;

    #[track_caller]
    fn refused(body: &[u8]) -> ErrorCode {
        read_report(body, None).unwrap_err().code()
    }

    #[test]
    fn a_refusal_names_its_code_when_and_under_which_id() {
        let refusal = read_report(b"{", None).unwrap_err();
        let tracking = Tracking::made(&CountingIds::default(), 0, noon());
        let body = refusal.body(&tracking);
        let body: Value = serde_json::from_slice(&body).unwrap();
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
    fn a_patch_that_is_no_object_or_too_large_is_refused() {
        for body in [&b""[..], b" ", b"[]", b"1", b"{\"a\":", b"\xff"] {
            assert_eq!(refused(body), ErrorCode::ArgumentInvalid);
        }
        let large = vec![b' '; MAX_PATCH_BYTES + 1];
        assert_eq!(refused(&large), ErrorCode::MessageTooLarge);
    }

    #[test]
    fn a_patch_carries_the_version_it_is_meant_for() {
        let change = read_report(br#"{"a":null}"#, Some(7)).unwrap();
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
}
