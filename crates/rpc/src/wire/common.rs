//! Identities, conditions, properties, verdicts, method outcomes.

use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::IdentityName;
use downlink_domain::message::Verdict;
use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_domain::presence::Protocol;
use downlink_proto::v1;
use downlink_proto::v1::if_match::Condition;
use downlink_proto::v1::method_outcome::Outcome;

use super::{FromWire, ToWire, WireError, present};

/// Longest etag, in bytes.
const MAX_ETAG_BYTES: usize = 256;
/// Longest parts of an actor, in bytes.
const MAX_CREDENTIAL_BYTES: usize = 512;
const MAX_ADDRESS_BYTES: usize = 64;
const MAX_DOOR_BYTES: usize = 16;

impl ToWire for IdentityName {
    type Wire = v1::IdentityName;

    fn to_wire(self) -> v1::IdentityName {
        v1::IdentityName {
            device_id: self.device.to_string(),
            module_id: self.module.map(|module| module.to_string()),
        }
    }
}

impl FromWire<Option<v1::IdentityName>> for IdentityName {
    fn from_wire(wire: Option<v1::IdentityName>) -> Result<Self, WireError> {
        let wire = present("name", wire)?;
        Ok(Self {
            device: wire.device_id.parse()?,
            module: wire.module_id.map(|module| module.parse()).transpose()?,
        })
    }
}

impl ToWire for IfMatch {
    type Wire = Option<v1::IfMatch>;

    fn to_wire(self) -> Option<v1::IfMatch> {
        let condition = match self {
            Self::Absent => return None,
            Self::Any => Condition::Any(true),
            Self::Etag(etag) => Condition::Etag(etag),
        };
        Some(v1::IfMatch {
            condition: Some(condition),
        })
    }
}

impl FromWire<Option<v1::IfMatch>> for IfMatch {
    fn from_wire(wire: Option<v1::IfMatch>) -> Result<Self, WireError> {
        let Some(wire) = wire else {
            return Ok(Self::Absent);
        };
        // A condition that this version does not know must not be taken for none.
        match present("condition", wire.condition)? {
            Condition::Any(_) => Ok(Self::Any),
            Condition::Etag(etag) if etag.len() <= MAX_ETAG_BYTES => Ok(Self::Etag(etag)),
            Condition::Etag(_) => Err(WireError::OutOfRange("etag")),
        }
    }
}

impl ToWire for Actor {
    type Wire = Option<v1::Actor>;

    fn to_wire(self) -> Option<v1::Actor> {
        // What is cut here would be refused there, and with it the write.
        let cut = |mut text: String, most| {
            text.truncate(text.floor_char_boundary(most));
            text
        };
        Some(v1::Actor {
            credential: cut(self.credential, MAX_CREDENTIAL_BYTES),
            address: cut(self.address, MAX_ADDRESS_BYTES),
            door: cut(self.door, MAX_DOOR_BYTES),
        })
    }
}

impl FromWire<Option<v1::Actor>> for Actor {
    fn from_wire(wire: Option<v1::Actor>) -> Result<Self, WireError> {
        let wire = present("by", wire)?;
        let is_bounded = wire.credential.len() <= MAX_CREDENTIAL_BYTES
            && wire.address.len() <= MAX_ADDRESS_BYTES
            && wire.door.len() <= MAX_DOOR_BYTES;
        if !is_bounded {
            return Err(WireError::OutOfRange("by"));
        }
        Ok(Self {
            credential: wire.credential,
            address: wire.address,
            door: wire.door,
        })
    }
}

/// Who asks for a write that older callers ask for without saying.
pub(crate) fn actor(wire: Option<v1::Actor>) -> Result<Actor, WireError> {
    match wire {
        None => Ok(Actor {
            credential: "unknown".to_owned(),
            address: String::new(),
            door: String::new(),
        }),
        said => Actor::from_wire(said),
    }
}

impl ToWire for Vec<(String, String)> {
    type Wire = Vec<v1::Property>;

    fn to_wire(self) -> Vec<v1::Property> {
        self.into_iter()
            .map(|(name, value)| v1::Property { name, value })
            .collect()
    }
}

/// Properties in their order; their size is what the frame allows.
pub(crate) fn properties_from_wire(wire: Vec<v1::Property>) -> Vec<(String, String)> {
    wire.into_iter()
        .map(|property| (property.name, property.value))
        .collect()
}

impl ToWire for Verdict {
    type Wire = v1::Verdict;

    fn to_wire(self) -> v1::Verdict {
        match self {
            Self::Complete => v1::Verdict::Complete,
            Self::Abandon => v1::Verdict::Abandon,
            Self::Reject => v1::Verdict::Reject,
            Self::ReleaseDelivered => v1::Verdict::ReleaseDelivered,
            Self::ReleaseUndelivered => v1::Verdict::ReleaseUndelivered,
        }
    }
}

impl FromWire<v1::Verdict> for Verdict {
    fn from_wire(wire: v1::Verdict) -> Result<Self, WireError> {
        match wire {
            v1::Verdict::Unspecified => Err(WireError::Unknown("verdict")),
            v1::Verdict::Complete => Ok(Self::Complete),
            v1::Verdict::Abandon => Ok(Self::Abandon),
            v1::Verdict::Reject => Ok(Self::Reject),
            v1::Verdict::ReleaseDelivered => Ok(Self::ReleaseDelivered),
            v1::Verdict::ReleaseUndelivered => Ok(Self::ReleaseUndelivered),
        }
    }
}

impl ToWire for Protocol {
    type Wire = v1::Protocol;

    fn to_wire(self) -> v1::Protocol {
        match self {
            Self::Mqtt => v1::Protocol::Mqtt,
            Self::MqttWs => v1::Protocol::MqttWs,
            Self::Amqp => v1::Protocol::Amqp,
            Self::AmqpWs => v1::Protocol::AmqpWs,
        }
    }
}

impl FromWire<v1::Protocol> for Protocol {
    fn from_wire(wire: v1::Protocol) -> Result<Self, WireError> {
        match wire {
            v1::Protocol::Unspecified => Err(WireError::Unknown("protocol")),
            v1::Protocol::Mqtt => Ok(Self::Mqtt),
            v1::Protocol::MqttWs => Ok(Self::MqttWs),
            v1::Protocol::Amqp => Ok(Self::Amqp),
            v1::Protocol::AmqpWs => Ok(Self::AmqpWs),
        }
    }
}

impl ToWire for Result<MethodAnswer, MethodError> {
    type Wire = v1::MethodOutcome;

    fn to_wire(self) -> v1::MethodOutcome {
        let outcome = match self {
            Ok(answer) => Outcome::Answer(v1::MethodAnswer {
                status: answer.status,
                payload: answer.payload,
            }),
            Err(error) => Outcome::Failure(error.to_wire().into()),
        };
        v1::MethodOutcome {
            outcome: Some(outcome),
        }
    }
}

/// An outcome that this version does not know is an unavailable service.
pub(crate) fn outcome_from_wire(wire: v1::MethodOutcome) -> Result<MethodAnswer, MethodError> {
    match wire.outcome {
        None => Err(MethodError::Unavailable),
        Some(Outcome::Answer(answer)) => Ok(MethodAnswer {
            status: answer.status,
            payload: answer.payload,
        }),
        Some(Outcome::Failure(failure)) => {
            let failure = v1::MethodFailure::try_from(failure).unwrap_or_default();
            Err(error_of(failure))
        }
    }
}

impl ToWire for MethodError {
    type Wire = v1::MethodFailure;

    fn to_wire(self) -> v1::MethodFailure {
        match self {
            Self::InvalidName => v1::MethodFailure::InvalidName,
            Self::InvalidTimeouts => v1::MethodFailure::InvalidTimeouts,
            Self::PayloadTooLarge => v1::MethodFailure::PayloadTooLarge,
            Self::DeviceNotFound => v1::MethodFailure::DeviceNotFound,
            Self::ModuleNotFound => v1::MethodFailure::ModuleNotFound,
            Self::Disabled => v1::MethodFailure::Disabled,
            Self::NotOnline => v1::MethodFailure::NotOnline,
            Self::NeverConnected => v1::MethodFailure::NeverConnected,
            Self::NotSubscribed => v1::MethodFailure::NotSubscribed,
            Self::Throttled => v1::MethodFailure::Throttled,
            Self::ConnectionLost => v1::MethodFailure::ConnectionLost,
            Self::Superseded => v1::MethodFailure::Superseded,
            Self::TimedOut => v1::MethodFailure::TimedOut,
            Self::BadAnswer => v1::MethodFailure::BadAnswer,
            Self::TooManyInFlight => v1::MethodFailure::TooManyInFlight,
            Self::Unavailable => v1::MethodFailure::Unavailable,
        }
    }
}

fn error_of(failure: v1::MethodFailure) -> MethodError {
    match failure {
        v1::MethodFailure::InvalidName => MethodError::InvalidName,
        v1::MethodFailure::InvalidTimeouts => MethodError::InvalidTimeouts,
        v1::MethodFailure::PayloadTooLarge => MethodError::PayloadTooLarge,
        v1::MethodFailure::DeviceNotFound => MethodError::DeviceNotFound,
        v1::MethodFailure::ModuleNotFound => MethodError::ModuleNotFound,
        v1::MethodFailure::Disabled => MethodError::Disabled,
        v1::MethodFailure::NotOnline => MethodError::NotOnline,
        v1::MethodFailure::NeverConnected => MethodError::NeverConnected,
        v1::MethodFailure::NotSubscribed => MethodError::NotSubscribed,
        v1::MethodFailure::Throttled => MethodError::Throttled,
        v1::MethodFailure::ConnectionLost => MethodError::ConnectionLost,
        v1::MethodFailure::Superseded => MethodError::Superseded,
        v1::MethodFailure::TimedOut => MethodError::TimedOut,
        v1::MethodFailure::BadAnswer => MethodError::BadAnswer,
        v1::MethodFailure::TooManyInFlight => MethodError::TooManyInFlight,
        v1::MethodFailure::Unspecified | v1::MethodFailure::Unavailable => MethodError::Unavailable,
    }
}
