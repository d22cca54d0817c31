use crate::types::{
    Decode, DecodeError, Encode, Fields, ListWriter, Reader, Symbol, Value, decode_descriptor,
};

/// Error conditions of the standard (AMQP 1.0 2.8.15 to 2.8.18) and of the hub (amqp.md §9).
pub mod condition {
    use crate::types::Symbol;

    macro_rules! conditions {
        ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
            $($(#[$doc])* pub const $name: Symbol = Symbol::from_static($text);)*
        };
    }

    conditions! {
        /// A fault of the hub itself.
        INTERNAL_ERROR = "amqp:internal-error";
        /// The address, device or delivery does not exist.
        NOT_FOUND = "amqp:not-found";
        /// The credential does not grant this.
        UNAUTHORIZED_ACCESS = "amqp:unauthorized-access";
        /// Bytes could not be decoded.
        DECODE_ERROR = "amqp:decode-error";
        /// A limit of resources is reached.
        RESOURCE_LIMIT_EXCEEDED = "amqp:resource-limit-exceeded";
        /// The request is not permitted in this state or form.
        NOT_ALLOWED = "amqp:not-allowed";
        /// A field has an invalid value.
        INVALID_FIELD = "amqp:invalid-field";
        /// The request is known but not offered.
        NOT_IMPLEMENTED = "amqp:not-implemented";
        /// The frame came in a state that does not permit it.
        ILLEGAL_STATE = "amqp:illegal-state";
        /// The peer's frame size is too small for what must be sent.
        FRAME_SIZE_TOO_SMALL = "amqp:frame-size-too-small";
        /// The hub closes for its own reasons; the client should connect again.
        CONNECTION_FORCED = "amqp:connection:forced";
        /// A frame is malformed.
        FRAMING_ERROR = "amqp:connection:framing-error";
        /// More transfers came than the session window allows.
        WINDOW_VIOLATION = "amqp:session:window-violation";
        /// A frame came for a link that is gone for this reason.
        ERRANT_LINK = "amqp:session:errant-link";
        /// An attach uses a handle that is in use.
        HANDLE_IN_USE = "amqp:session:handle-in-use";
        /// A frame names a handle that no link has.
        UNATTACHED_HANDLE = "amqp:session:unattached-handle";
        /// The hub detaches the link; the client should attach again.
        DETACH_FORCED = "amqp:link:detach-forced";
        /// More transfers came than the link credit allows.
        TRANSFER_LIMIT_EXCEEDED = "amqp:link:transfer-limit-exceeded";
        /// A message is larger than the link allows.
        MESSAGE_SIZE_EXCEEDED = "amqp:link:message-size-exceeded";
        /// Another attach has taken the link over.
        LINK_STOLEN = "amqp:link:stolen";
        /// The lock of a message has lapsed.
        MESSAGE_LOCK_LOST = "com.microsoft:message-lock-lost";
        /// An argument is invalid.
        ARGUMENT_ERROR = "com.microsoft:argument-error";
        /// The caller is throttled.
        DEVICE_CONTAINER_THROTTLED = "com.microsoft:device-container-throttled";
        /// A quota of the hub is used up.
        QUOTA_EXCEEDED = "com.microsoft:quota-exceeded";
        /// The hub did not answer in time.
        TIMEOUT = "com.microsoft:timeout";
    }
}

/// Why a peer rejected, detached, ended or closed (AMQP 1.0 2.8.14).
#[derive(Clone, Debug, PartialEq)]
pub struct AmqpError {
    /// The symbolic condition.
    pub condition: Symbol,
    /// Text for people; it reaches the users of the SDKs.
    pub description: Option<String>,
    /// Further facts, such as `com.microsoft:tracking-id`.
    pub info: Vec<(Symbol, Value)>,
}

impl AmqpError {
    /// Returns an error of `condition` with a description and no further facts.
    pub fn new(condition: Symbol, description: impl Into<String>) -> Self {
        Self {
            condition,
            description: Some(description.into()),
            info: Vec::new(),
        }
    }
}

impl Decode for AmqpError {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if code != 0 {
            return Err(DecodeError::UnexpectedCode {
                code,
                expected: "error",
            });
        }
        let descriptor = decode_descriptor(reader)?;
        if descriptor != 0x1d {
            return Err(DecodeError::UnexpectedDescriptor(descriptor));
        }
        let mut fields = Fields::open(reader)?;
        Ok(Self {
            condition: fields.required("condition")?,
            description: fields.optional()?,
            info: fields.or_default()?,
        })
    }
}

impl Encode for AmqpError {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut list = ListWriter::new(out, 0x1d);
        list.put(&self.condition)
            .put_option(self.description.as_deref());
        if !self.info.is_empty() {
            list.put(self.info.as_slice());
        }
        list.finish();
    }
}
