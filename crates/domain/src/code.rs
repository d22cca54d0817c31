//! The closed catalogue of error codes (errors-limits.md §3), as far as the hub can answer them.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $status:literal;)*) => {
        /// One code of the catalogue. Each door owns one exhaustive match or asks these methods.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, for tests that walk them through every door.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The six-digit number.
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// The name that goes into the `iothub-errorcode` header.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The HTTP status.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// Anything malformed that has no code of its own.
    GenericBadRequest = 400_000, 400;
    /// `api-version` missing or unknown.
    InvalidProtocolVersion = 400_001, 400;
    /// Not allowed for the target, or an AMQP `to` that names none.
    InvalidOperation = 400_003, 400;
    /// A field outside its rules.
    ArgumentInvalid = 400_004, 400;
    /// A required field is missing.
    ArgumentNull = 400_005, 400;
    /// JSON that cannot be read.
    IotHubFormatError = 400_006, 400;
    /// File uploads, for which this hub has no storage.
    DefaultStorageEndpointNotConfigured = 400_014, 400;
    /// A newer connection took over while a call was in flight.
    ConnectionForcefullyClosedOnNewConnection = 400_027, 400;
    /// The policy lacks the permission.
    IotHubUnauthorizedAccess = 401_002, 401;
    /// No credential, or one that does not hold.
    IotHubUnauthorized = 401_003, 401;
    /// A bearer token that holds, without the right to do this.
    GenericForbidden = 403_000, 403;
    /// The hub has as many of something as it may.
    IotHubQuotaExceeded = 403_002, 403;
    /// The device's queue is full.
    DeviceMaximumQueueDepthExceeded = 403_004, 403;
    /// An expiry in the past or too far away.
    InvalidMessageExpiryTime = 403_009, 403;
    /// A capability that this hub does not offer.
    OperationNotAvailableInCurrentTier = 403_010, 403;
    /// The device is disabled.
    DeviceDisabled = 403_012, 403;
    /// Too many method calls in flight for one device.
    DeviceMaximumInflightMethodExceeded = 403_800, 403;
    /// No such path or thing.
    GenericNotFound = 404_000, 404;
    /// Not registered, or disabled where only enabled devices are served.
    DeviceNotFound = 404_001, 404;
    /// An AMQP link address that is none of ours.
    AmqpAddressNotFound = 404_006, 404;
    /// Not a registered module.
    ModuleNotFound = 404_010, 404;
    /// The target of a method is offline or answers none.
    DeviceNotOnline = 404_103, 404;
    /// The device's connection closed during a call.
    DeviceConnectionClosedRemotely = 404_104, 404;
    /// A method that the path does not have.
    GenericMethodNotAllowed = 405_000, 405;
    /// Something that exists already, with no code of its own.
    GenericConflict = 409_000, 409;
    /// The identity exists already.
    DeviceAlreadyExists = 409_001, 409;
    /// A stale or missing etag.
    PreconditionFailed = 412_001, 412;
    /// Settled after the lock was lost.
    DeviceMessageLockLost = 412_002, 412;
    /// A body above its limit.
    MessageTooLarge = 413_001, 413;
    /// A rate above its limit.
    ThrottlingException = 429_001, 429;
    /// One device too often.
    DeviceThrottlingLimitExceeded = 429_005, 429;
    /// A fault of the hub.
    ServerError = 500_001, 500;
    /// A device answered something unusable.
    GenericBadGateway = 502_000, 502;
    /// A service or a store cannot be reached, try again.
    ServiceUnavailable = 503_001, 503;
    /// The device did not answer in time.
    GatewayTimeout = 504_101, 504;
}

impl ErrorCode {
    /// The code with this number, `None` when it is not in the catalogue.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.number() == number)
    }

    /// Tells whether the same request may succeed when it is made again.
    pub const fn is_retryable(self) -> bool {
        matches!(self.http_status(), 429 | 500 | 503 | 504)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_begins_with_its_http_status() {
        for code in ErrorCode::ALL {
            assert_eq!(
                code.number() / 1000,
                u32::from(code.http_status()),
                "{code:?}"
            );
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        }
    }
}
