//! From the catalogue of codes to AMQP conditions (amqp.md §8.3, §9).

use downlink_amqp::performative::AmqpError;
use downlink_amqp::types::{Symbol, Value};
use downlink_domain::ErrorCode;
use downlink_ports::PeerError;

/// Longest text of an error: it fits a frame of any client, the smallest of which are 512 bytes.
const MAX_TEXT_BYTES: usize = 256;
const ERROR_CODE: Symbol = Symbol::from_static("com.microsoft:error-code");

/// Returns the condition that the SDKs translate into the error of `code`.
pub(super) fn condition_of(code: ErrorCode) -> Symbol {
    Symbol::from_static(code.amqp().as_str())
}

/// Returns the error a client gets for `code`; the text reaches the users of the SDKs. It is cut at
/// [`MAX_TEXT_BYTES`], since some texts name what the client sent.
pub(super) fn error_of(code: ErrorCode, text: impl Into<String>) -> AmqpError {
    let mut text = text.into();
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    let number = i32::try_from(code.number()).unwrap_or(i32::MAX);
    AmqpError {
        condition: condition_of(code),
        description: Some(text),
        info: vec![(ERROR_CODE, Value::Int(number))],
    }
}

/// Returns the error a client gets when a service did not give its ordinary answer.
pub(super) fn error_of_peer(error: &PeerError) -> AmqpError {
    error_of(error.code(), error.to_string())
}

#[cfg(test)]
mod tests {
    use downlink_ports::EnqueueError;

    use super::*;

    #[test]
    fn every_code_has_a_condition_and_carries_its_number() {
        for code in ErrorCode::ALL {
            let error = error_of(*code, "text");
            let name = error.condition.as_str();
            assert!(
                name.starts_with("amqp:") || name.starts_with("com.microsoft:"),
                "{code:?}"
            );
            let number = i32::try_from(code.number()).unwrap();
            assert_eq!(error.info, [(ERROR_CODE, Value::Int(number))]);
        }
    }

    #[test]
    fn text_that_names_what_the_client_sent_fits_the_smallest_frame() {
        let told = error_of(ErrorCode::ArgumentInvalid, "é".repeat(100_000));
        assert_eq!(told.description.unwrap().len(), MAX_TEXT_BYTES);
        let told = error_of(ErrorCode::ArgumentInvalid, format!("x{}", "é".repeat(200)));
        assert_eq!(told.description.unwrap().len(), MAX_TEXT_BYTES - 1);
    }

    #[test]
    fn every_outcome_of_a_send_has_its_condition_and_its_number() {
        let device = || "dev-1".parse().unwrap();
        for (error, condition, number) in [
            (
                EnqueueError::DeviceNotFound(device()),
                "amqp:not-found",
                404_001,
            ),
            (
                EnqueueError::QueueFull {
                    device: device(),
                    max_depth: 50,
                },
                "amqp:resource-limit-exceeded",
                403_004,
            ),
            (
                EnqueueError::TooLarge {
                    bytes: 65_537,
                    max_bytes: 65_536,
                },
                "amqp:link:message-size-exceeded",
                413_001,
            ),
            (EnqueueError::InvalidExpiry, "amqp:not-allowed", 403_009),
            (
                EnqueueError::InvalidProperty("text".to_owned()),
                "com.microsoft:argument-error",
                400_004,
            ),
            (EnqueueError::Unavailable, "com.microsoft:timeout", 503_001),
        ] {
            let told = error_of(error.code(), error.to_string());
            assert_eq!(told.condition.as_str(), condition, "{error}");
            assert_eq!(told.info, [(ERROR_CODE, Value::Int(number))], "{error}");
        }
    }

    #[test]
    fn refusals_of_a_send_have_the_conditions_of_the_contract() {
        for (code, condition) in [
            (ErrorCode::DeviceNotFound, "amqp:not-found"),
            (ErrorCode::ModuleNotFound, "amqp:not-found"),
            (
                ErrorCode::DeviceMaximumQueueDepthExceeded,
                "amqp:resource-limit-exceeded",
            ),
            (
                ErrorCode::MessageTooLarge,
                "amqp:link:message-size-exceeded",
            ),
            (ErrorCode::InvalidOperation, "amqp:not-allowed"),
            (ErrorCode::InvalidMessageExpiryTime, "amqp:not-allowed"),
            (ErrorCode::ArgumentInvalid, "com.microsoft:argument-error"),
            (
                ErrorCode::ThrottlingException,
                "com.microsoft:device-container-throttled",
            ),
            (ErrorCode::ServerError, "amqp:internal-error"),
            (ErrorCode::ServiceUnavailable, "com.microsoft:timeout"),
            (
                ErrorCode::IotHubUnauthorizedAccess,
                "amqp:unauthorized-access",
            ),
            (
                ErrorCode::DeviceMessageLockLost,
                "com.microsoft:message-lock-lost",
            ),
        ] {
            assert_eq!(condition_of(code).as_str(), condition, "{code:?}");
        }
    }
}
