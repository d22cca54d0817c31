//! Failures on the wire: one place for streams and statuses.

use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_domain::code::GrpcStatus;
use downlink_domain::method::MethodError;
use downlink_ports::PeerError;
use downlink_proto::v1::{CallFailure, FailureKind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tracing::warn;

use crate::wire::WireError;

/// Metadata entry of a status that carries the number of the catalogue, six ASCII digits.
pub const ERROR_CODE_KEY: &str = "downlink-error-code";

/// Longest text of a refusal, in bytes; the rest is cut off.
const MAX_MESSAGE_BYTES: usize = 4 * 1024;

/// The gRPC code of each code of the catalogue.
pub fn grpc_code(code: ErrorCode) -> Code {
    match code.grpc() {
        GrpcStatus::Cancelled => Code::Cancelled,
        GrpcStatus::InvalidArgument => Code::InvalidArgument,
        GrpcStatus::DeadlineExceeded => Code::DeadlineExceeded,
        GrpcStatus::NotFound => Code::NotFound,
        GrpcStatus::AlreadyExists => Code::AlreadyExists,
        GrpcStatus::PermissionDenied => Code::PermissionDenied,
        GrpcStatus::ResourceExhausted => Code::ResourceExhausted,
        GrpcStatus::FailedPrecondition => Code::FailedPrecondition,
        GrpcStatus::Aborted => Code::Aborted,
        GrpcStatus::Unimplemented => Code::Unimplemented,
        GrpcStatus::Internal => Code::Internal,
        GrpcStatus::Unavailable => Code::Unavailable,
        GrpcStatus::Unauthenticated => Code::Unauthenticated,
    }
}

/// The status of a call that failed.
pub fn to_status(error: PeerError) -> Status {
    match error {
        PeerError::Unavailable { .. } => Status::unavailable(error.to_string()),
        PeerError::DeadlineExceeded { .. } => Status::deadline_exceeded(error.to_string()),
        PeerError::Overloaded { .. } => Status::resource_exhausted(error.to_string()),
        PeerError::Refused { code, message } => {
            let mut status = Status::new(grpc_code(code), cut(message));
            let number = MetadataValue::from(code.number());
            status.metadata_mut().insert(ERROR_CODE_KEY, number);
            status
        }
    }
}

/// What a status of `service` means to the caller.
pub fn from_status(service: &'static str, status: &Status) -> PeerError {
    let number = status.metadata().get(ERROR_CODE_KEY);
    let code = number
        .and_then(|number| number.to_str().ok()?.parse().ok())
        .and_then(ErrorCode::from_number);
    if let Some(code) = code {
        return PeerError::Refused {
            code,
            message: status.message().to_owned(),
        };
    }
    match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => PeerError::DeadlineExceeded { service },
        Code::ResourceExhausted => PeerError::Overloaded { service },
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => PeerError::Unavailable { service },
    }
}

/// The failure of a call over a stream.
pub(crate) fn to_failure(error: PeerError) -> CallFailure {
    let kind = match &error {
        PeerError::Unavailable { .. } => FailureKind::Unavailable,
        PeerError::DeadlineExceeded { .. } => FailureKind::DeadlineExceeded,
        PeerError::Overloaded { .. } => FailureKind::Overloaded,
        PeerError::Refused { .. } => FailureKind::Refused,
    };
    let (code, message) = match error {
        PeerError::Refused { code, message } => (code.number(), cut(message)),
        PeerError::Unavailable { .. }
        | PeerError::DeadlineExceeded { .. }
        | PeerError::Overloaded { .. } => (0, String::new()),
    };
    CallFailure {
        kind: kind.into(),
        code,
        message,
    }
}

/// What a failure of a call to `service` means to the caller.
pub(crate) fn from_failure(service: &'static str, failure: CallFailure) -> PeerError {
    match failure.kind() {
        FailureKind::Unspecified | FailureKind::Unavailable => PeerError::Unavailable { service },
        FailureKind::DeadlineExceeded => PeerError::DeadlineExceeded { service },
        FailureKind::Overloaded => PeerError::Overloaded { service },
        FailureKind::Refused => PeerError::Refused {
            // A code of a newer version: what it means to the caller is unknown.
            code: ErrorCode::from_number(failure.code).unwrap_or(ErrorCode::ServerError),
            message: failure.message,
        },
    }
}

/// The error for an answer that breaks the contract.
pub(crate) fn unreadable(service: &'static str) -> PeerError {
    warn!(service, "an answer breaks the contract");
    PeerError::Refused {
        code: ErrorCode::ServerError,
        message: format!("the answer of the {service} service cannot be read"),
    }
}

/// The status of a request that breaks the contract.
pub(crate) fn refuse(error: impl Into<WireError>) -> Status {
    to_status(error.into().into())
}

/// Time that a method call's carrier allows beyond the call's own budget: the peer's "timed out"
/// must arrive before the carrier gives the call up.
pub(crate) const METHOD_MARGIN: Duration = Duration::from_secs(2);

/// The outcome of a method call whose carrier failed.
pub(crate) fn to_method_error(error: &PeerError) -> MethodError {
    match error {
        PeerError::DeadlineExceeded { .. } => MethodError::TimedOut,
        PeerError::Unavailable { .. }
        | PeerError::Overloaded { .. }
        | PeerError::Refused { .. } => MethodError::Unavailable,
    }
}

fn cut(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "queue";

    fn every_error() -> Vec<PeerError> {
        let refused = |code: &ErrorCode| PeerError::Refused {
            code: *code,
            message: format!("refused with {}", code.name()),
        };
        let mut errors: Vec<_> = ErrorCode::ALL.iter().map(refused).collect();
        errors.extend([
            PeerError::Unavailable { service: SERVICE },
            PeerError::DeadlineExceeded { service: SERVICE },
            PeerError::Overloaded { service: SERVICE },
        ]);
        errors
    }

    #[test]
    fn every_error_survives_the_way_as_a_status() {
        for error in every_error() {
            let status = to_status(error.clone());
            assert_eq!(from_status(SERVICE, &status), error);
        }
    }

    #[test]
    fn every_error_survives_the_way_as_a_failure_of_a_stream() {
        for error in every_error() {
            let failure = to_failure(error.clone());
            assert_eq!(from_failure(SERVICE, failure), error);
        }
    }

    #[test]
    fn every_code_has_a_status_that_is_retried_only_when_the_code_may_be() {
        for code in ErrorCode::ALL {
            let grpc = grpc_code(*code);
            assert!(!matches!(grpc, Code::Ok | Code::Unknown), "{code:?}");
            if grpc == Code::Unavailable {
                assert!(code.is_retryable(), "{code:?}");
            }
        }
    }

    #[test]
    fn a_foreign_status_is_an_unavailable_service() {
        let status = Status::internal("a proxy said so");
        let error = PeerError::Unavailable { service: SERVICE };
        assert_eq!(from_status(SERVICE, &status), error);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let message = "é".repeat(MAX_MESSAGE_BYTES);
        let error = PeerError::Refused {
            code: ErrorCode::ArgumentInvalid,
            message: format!("x{message}"),
        };
        let failure = to_failure(error);
        assert_eq!(failure.message.len(), MAX_MESSAGE_BYTES - 1);
    }
}
