//! Direct methods: one call to a connected device, one outcome.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::caps;
use crate::code::ErrorCode;
use crate::id::{DeviceKey, HubName, IdentityName};

/// A method name: printable US-ASCII without blanks, 1–128 characters (methods.md §1.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MethodName(String);

impl MethodName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MethodName {
    type Err = MethodError;

    fn from_str(text: &str) -> Result<Self, MethodError> {
        let is_sized = (1..=caps::MAX_METHOD_NAME_CHARS).contains(&text.len());
        if !is_sized || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(MethodError::InvalidName);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The two timeouts of a call; the connect wait is part of the response timeout
/// (methods.md §1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodTimeouts {
    connect: Duration,
    response: Duration,
}

impl MethodTimeouts {
    /// Checks the ranges: response 5–300 s, connect 0–300 s and not above response.
    ///
    /// # Errors
    /// [`MethodError::InvalidTimeouts`] when one is out of range.
    pub fn new(connect: Duration, response: Duration) -> Result<Self, MethodError> {
        let is_valid = caps::RESPONSE_TIMEOUT.contains(&response)
            && connect <= caps::MAX_CONNECT_TIMEOUT
            && connect <= response;
        if is_valid {
            Ok(Self { connect, response })
        } else {
            Err(MethodError::InvalidTimeouts)
        }
    }

    /// How long to wait for the device to be there.
    pub fn connect(self) -> Duration {
        self.connect
    }

    /// The whole budget of the call.
    pub fn response(self) -> Duration {
        self.response
    }
}

/// A call on its way to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodCall {
    /// The tenant.
    pub hub: HubName,
    /// Whom it is for.
    pub target: IdentityName,
    /// The internal key of the target.
    pub device: DeviceKey,
    /// Which method.
    pub name: MethodName,
    /// The JSON payload, empty when the caller sent none.
    pub payload: Bytes,
    /// Both timeouts.
    pub timeouts: MethodTimeouts,
}

/// What the device answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodAnswer {
    /// Any integer the device chose (methods.md §1.3).
    pub status: i32,
    /// JSON text, empty when the device sent none.
    pub payload: Bytes,
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MethodError {
    /// The name is empty, too long or not US-ASCII.
    #[error("the method name must have 1 to 128 printable US-ASCII characters")]
    InvalidName,
    /// A timeout is out of range, or connect exceeds response.
    #[error(
        "the response timeout must be 5 to 300 seconds and the connect timeout 0 to 300 seconds \
         and not above the response timeout"
    )]
    InvalidTimeouts,
    /// A payload is above the limit.
    #[error("the method payload is larger than the limit")]
    PayloadTooLarge,
    /// The device is not registered.
    #[error("the device is not registered or is disabled")]
    DeviceNotFound,
    /// The module is not registered.
    #[error("the module is not registered")]
    ModuleNotFound,
    /// The target may not connect; the contract has no code of its own for it.
    #[error("the device is not registered or is disabled")]
    Disabled,
    /// Nobody there until the connect timeout.
    #[error("the operation failed because the requested device isn't online")]
    NotOnline,
    /// Nobody there until the connect timeout, and never before in this life of the identity.
    #[error(
        "the operation failed because the requested device isn't online: it has never connected"
    )]
    NeverConnected,
    /// Somebody there who takes no method calls until the connect timeout.
    #[error(
        "the operation failed because the requested device isn't online for methods: it is \
         connected and takes none"
    )]
    NotSubscribed,
    /// The connection broke after the call was handed to it.
    #[error("the connection to the device was closed before it answered")]
    ConnectionLost,
    /// A newer connection took over after the call was handed over.
    #[error("the connection to the device was closed by a newer connection of the same device")]
    Superseded,
    /// No answer within the response timeout.
    #[error("timed out waiting for the response from the device")]
    TimedOut,
    /// The answer is not JSON or too large.
    #[error("the device answered with a payload that is not valid")]
    BadAnswer,
    /// More calls in flight for this device than allowed.
    #[error("too many method calls are in flight for this device")]
    TooManyInFlight,
    /// More calls than the rates of the hub or the device allow.
    #[error("method calls are throttled, try again later")]
    Throttled,
    /// A service on the way cannot be reached.
    #[error("the service is unavailable, try again")]
    Unavailable,
}

impl MethodError {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::InvalidName,
        Self::InvalidTimeouts,
        Self::PayloadTooLarge,
        Self::DeviceNotFound,
        Self::ModuleNotFound,
        Self::Disabled,
        Self::NotOnline,
        Self::NeverConnected,
        Self::NotSubscribed,
        Self::ConnectionLost,
        Self::Superseded,
        Self::TimedOut,
        Self::BadAnswer,
        Self::TooManyInFlight,
        Self::Throttled,
        Self::Unavailable,
    ];

    /// What stands beside the code where callers can tell causes apart that share one: a word for
    /// each, stable, in the alphabet of header values and metric labels.
    pub fn cause(self) -> &'static str {
        match self {
            Self::InvalidName => "invalid-name",
            Self::InvalidTimeouts => "invalid-timeouts",
            Self::PayloadTooLarge => "payload-too-large",
            Self::DeviceNotFound => "unknown-device",
            Self::ModuleNotFound => "unknown-module",
            Self::Disabled => "disabled",
            Self::NotOnline => "offline",
            Self::NeverConnected => "never-connected",
            Self::NotSubscribed => "not-subscribed",
            Self::ConnectionLost => "connection-lost",
            Self::Superseded => "superseded",
            Self::TimedOut => "timed-out",
            Self::BadAnswer => "bad-answer",
            Self::TooManyInFlight => "too-many-in-flight",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
        }
    }

    /// The code of the catalogue (methods.md §2.1).
    pub fn code(self) -> ErrorCode {
        match self {
            Self::InvalidName | Self::InvalidTimeouts => ErrorCode::ArgumentInvalid,
            Self::PayloadTooLarge => ErrorCode::MessageTooLarge,
            Self::DeviceNotFound | Self::Disabled => ErrorCode::DeviceNotFound,
            Self::ModuleNotFound => ErrorCode::ModuleNotFound,
            Self::NotOnline | Self::NeverConnected | Self::NotSubscribed => {
                ErrorCode::DeviceNotOnline
            }
            Self::ConnectionLost => ErrorCode::DeviceConnectionClosedRemotely,
            Self::Superseded => ErrorCode::ConnectionForcefullyClosedOnNewConnection,
            Self::TimedOut => ErrorCode::GatewayTimeout,
            Self::BadAnswer => ErrorCode::GenericBadGateway,
            Self::TooManyInFlight => ErrorCode::DeviceMaximumInflightMethodExceeded,
            Self::Throttled => ErrorCode::ThrottlingException,
            Self::Unavailable => ErrorCode::ServiceUnavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_name_is_printable_ascii() {
        assert!("reboot".parse::<MethodName>().is_ok());
        for bad in ["", "a b", "é", "a\n"] {
            assert_eq!(
                bad.parse::<MethodName>(),
                Err(MethodError::InvalidName),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn every_cause_has_a_word_of_its_own() {
        let words: std::collections::HashSet<_> =
            MethodError::ALL.iter().map(|error| error.cause()).collect();
        assert_eq!(words.len(), MethodError::ALL.len());
        let is_plain = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(words.iter().all(|word| is_plain(word)), "{words:?}");
    }

    #[test]
    fn the_connect_timeout_is_part_of_the_response_timeout() {
        let seconds = Duration::from_secs;
        assert!(MethodTimeouts::new(seconds(0), seconds(5)).is_ok());
        assert!(MethodTimeouts::new(seconds(300), seconds(300)).is_ok());
        for (connect, response) in [(10, 9), (0, 4), (0, 301), (301, 301)] {
            let made = MethodTimeouts::new(seconds(connect), seconds(response));
            assert_eq!(
                made,
                Err(MethodError::InvalidTimeouts),
                "{connect} {response}"
            );
        }
    }
}
