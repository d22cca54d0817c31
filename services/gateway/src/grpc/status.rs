//! From the catalogue of codes to statuses.

use axum::http::HeaderMap;
use downlink_domain::ErrorCode;
use downlink_proto::api::v1::Failure;
pub use downlink_rpc::{ERROR_CODE_KEY, grpc_code};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::https::error::{ApiError, CAUSE};

/// Longest text of a refusal, in bytes; the rest is cut off.
const MAX_TEXT_BYTES: usize = 4 * 1024;

fn with_number(mut status: Status, code: ErrorCode) -> Status {
    let number = MetadataValue::from(code.number());
    status.metadata_mut().insert(ERROR_CODE_KEY, number);
    status
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Self {
        let text = cut(error.text());
        let mut status = with_number(Self::new(grpc_code(error.code), text), error.code);
        if let Some(cause) = error.cause() {
            let cause = MetadataValue::from_static(cause);
            status.metadata_mut().insert(CAUSE, cause);
        }
        status
    }
}

/// The failure of one item of a call.
pub fn failure(error: &ApiError) -> Failure {
    Failure {
        code: error.code.number(),
        grpc_code: (grpc_code(error.code) as i32).cast_unsigned(),
        message: cut(error.text()).to_owned(),
    }
}

/// The caller's own deadline has passed.
pub fn deadline() -> Status {
    let text = "the deadline has passed and what became of the request is unknown";
    with_number(
        Status::deadline_exceeded(text),
        ErrorCode::ServiceUnavailable,
    )
}

/// The token of a stream has run out.
pub fn expired() -> Status {
    ApiError::new(ErrorCode::IotHubUnauthorized, "the token has expired").into()
}

/// What the token of a stream lives by is gone.
pub fn revoked() -> Status {
    let text = "the key of the token is gone, or its policy has changed";
    ApiError::new(ErrorCode::IotHubUnauthorized, text).into()
}

/// The node drains.
pub fn going_away() -> Status {
    ApiError::new(ErrorCode::ServiceUnavailable, "the node is going away").into()
}

/// What a request that the machinery could not read is answered with; other statuses stay.
pub fn of_unreadable(status: Status) -> Status {
    if status.metadata().contains_key(ERROR_CODE_KEY) {
        return status;
    }
    let code = match status.code() {
        // Longer than the service takes.
        Code::OutOfRange => ErrorCode::MessageTooLarge,
        // Not a message of the schema, or cut off.
        Code::Internal | Code::InvalidArgument => ErrorCode::GenericBadRequest,
        _ => return status,
    };
    ApiError::new(code, status.message()).into()
}

/// The code of an answer that is known from its head.
pub fn code_in(headers: &HeaderMap) -> Option<Code> {
    let value = headers.get("grpc-status")?;
    Some(Code::from_bytes(value.as_bytes()))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_status_and_carries_its_number() {
        for code in ErrorCode::ALL {
            let status = Status::from(ApiError::new(*code, "text"));
            assert!(!matches!(status.code(), Code::Ok | Code::Unknown));
            let number = status.metadata().get(ERROR_CODE_KEY).unwrap();
            assert_eq!(number.to_str().unwrap(), code.number().to_string());
            // A client library makes a call again by itself on this status alone.
            if status.code() == Code::Unavailable {
                assert!(code.is_retryable(), "{code:?}");
            }
        }
    }

    #[test]
    fn a_cause_stands_beside_the_number() {
        let error = downlink_domain::method::MethodError::NeverConnected;
        let status = Status::from(ApiError::from(error));
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.metadata().get(CAUSE).unwrap(), "never-connected");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = format!("x{}", "é".repeat(MAX_TEXT_BYTES));
        let failure = failure(&ApiError::invalid(&text));
        assert_eq!(failure.message.len(), MAX_TEXT_BYTES - 1);
        assert_eq!((failure.code, failure.grpc_code), (400_004, 3));
    }
}
