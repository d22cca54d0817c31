//! The closed sets of what doors can say.

macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// A condition of AMQP that the SDKs translate into an error of theirs (errors-limits.md §4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum AmqpCondition {
            $($(#[$doc])* $name,)*
        }

        impl AmqpCondition {
            /// The symbol on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

conditions! {
    /// An unknown device or address.
    NotFound = "amqp:not-found";
    /// A credential or a right that is missing.
    UnauthorizedAccess = "amqp:unauthorized-access";
    /// Not allowed in this place or state.
    NotAllowed = "amqp:not-allowed";
    /// Known, but not offered.
    NotImplemented = "amqp:not-implemented";
    /// The queue of a device is full.
    ResourceLimitExceeded = "amqp:resource-limit-exceeded";
    /// A message is too large.
    MessageSizeExceeded = "amqp:link:message-size-exceeded";
    /// A fault of the hub.
    InternalError = "amqp:internal-error";
    /// The hub detaches; clients attach again.
    DetachForced = "amqp:link:detach-forced";
    /// A stale etag, or another condition that does not hold.
    PreconditionFailed = "com.microsoft:precondition-failed";
    /// An argument outside its rules.
    ArgumentError = "com.microsoft:argument-error";
    /// The identity exists already.
    DeviceAlreadyExists = "com.microsoft:device-already-exists";
    /// The caller is throttled.
    DeviceContainerThrottled = "com.microsoft:device-container-throttled";
    /// A quota is used up.
    QuotaExceeded = "com.microsoft:quota-exceeded";
    /// Settled after the lock was lost.
    MessageLockLost = "com.microsoft:message-lock-lost";
    /// The hub is suspended.
    IotHubSuspended = "com.microsoft:iot-hub-suspended";
    /// No hub has this name.
    IotHubNotFound = "com.microsoft:iot-hub-not-found-error";
    /// No answer in time; clients try again.
    Timeout = "com.microsoft:timeout";
}

/// A status of gRPC that a failure can have (all but `OK`, `UNKNOWN`, `OUT_OF_RANGE` and `DATA_LOSS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GrpcStatus {
    /// `CANCELLED`: the caller went away.
    Cancelled,
    /// `INVALID_ARGUMENT`: wrong whatever the state.
    InvalidArgument,
    /// `DEADLINE_EXCEEDED`: not done in time, and what became of it may be unknown.
    DeadlineExceeded,
    /// `NOT_FOUND`.
    NotFound,
    /// `ALREADY_EXISTS`.
    AlreadyExists,
    /// `PERMISSION_DENIED`: known, without the right.
    PermissionDenied,
    /// `RESOURCE_EXHAUSTED`: a quota or a rate.
    ResourceExhausted,
    /// `FAILED_PRECONDITION`: not in this state.
    FailedPrecondition,
    /// `ABORTED`: something else came between.
    Aborted,
    /// `UNIMPLEMENTED`: not offered.
    Unimplemented,
    /// `INTERNAL`: a fault.
    Internal,
    /// `UNAVAILABLE`: try again.
    Unavailable,
    /// `UNAUTHENTICATED`: not known.
    Unauthenticated,
}

/// The return code of a CONNECT that is refused (mqtt.md §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Connack {
    /// 3: not now; every SDK tries again.
    ServerUnavailable,
    /// 5: the one refusal for credentials, identities and names.
    NotAuthorized,
}

/// Whether it is any use to make the same request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The same request fails the same way until somebody changes something.
    Never,
    /// The cause passes by itself.
    Later,
}
