//! Conversions between the domain and the wire, one file per service.
//!
//! Going out cannot fail. Coming in, everything is checked: ids by their alphabets, lengths of
//! tokens and sections, numbers by their ranges, enums by their known values.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::id::{HubName, IdError, LockToken};
use downlink_domain::method::MethodError;
use downlink_domain::twin::{JsonError, Object, parse_json};
use downlink_domain::{ErrorCode, Timestamp};
use downlink_ports::PeerError;
use serde_json::Value;
use thiserror::Error;

pub(crate) mod access;
pub(crate) mod common;
pub(crate) mod connections;
pub(crate) mod fleet;
pub(crate) mod gateway;
pub(crate) mod limits;
pub(crate) mod method;
pub(crate) mod missed;
pub(crate) mod query;
pub(crate) mod queue;
pub(crate) mod registry;
#[cfg(test)]
mod tests;
pub(crate) mod twin;

/// Largest section or patch of a twin on the wire, in bytes: values and metadata together are a
/// few times the largest section.
const MAX_JSON_BYTES: usize = 1024 * 1024;

/// A value that has a wire form.
pub(crate) trait ToWire {
    /// The wire form.
    type Wire;

    /// Makes it.
    fn to_wire(self) -> Self::Wire;
}

/// A value read from its wire form.
pub(crate) trait FromWire<W>: Sized {
    /// Checks and reads it.
    fn from_wire(wire: W) -> Result<Self, WireError>;
}

/// A wire form that breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum WireError {
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An enum value that is unknown or unspecified.
    #[error("{0} has an unknown value")]
    Unknown(&'static str),
    /// A number outside its range, or text or bytes of a wrong length.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// A name outside its rules.
    #[error(transparent)]
    Id(#[from] IdError),
    /// A method's name or timeouts outside their rules.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// JSON that cannot be read.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// What a server answers to a request that breaks the contract.
impl From<WireError> for PeerError {
    fn from(error: WireError) -> Self {
        Self::refused(ErrorCode::ArgumentInvalid, &error)
    }
}

/// Reads items one by one, stopping at the first that breaks the contract.
pub(crate) fn read_all<T: FromWire<W>, W>(wire: Vec<W>) -> Result<Vec<T>, WireError> {
    if wire.len() > crate::mux::MAX_CALL_ITEMS {
        return Err(WireError::OutOfRange("number of items"));
    }
    wire.into_iter().map(T::from_wire).collect()
}

/// The field, or the error that names it.
pub(crate) fn present<W>(field: &'static str, wire: Option<W>) -> Result<W, WireError> {
    wire.ok_or(WireError::Missing(field))
}

/// Host name of a hub. Batches name the same hub again and again, so the last one is shared.
#[derive(Default)]
pub(crate) struct HubReader {
    last: Option<HubName>,
}

impl HubReader {
    pub(crate) fn read(&mut self, text: &str) -> Result<HubName, WireError> {
        match &self.last {
            Some(hub) if hub.as_str() == text => Ok(hub.clone()),
            _ => {
                let hub: HubName = text.parse()?;
                self.last = Some(hub.clone());
                Ok(hub)
            }
        }
    }
}

pub(crate) fn array16(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], WireError> {
    bytes.try_into().map_err(|_| WireError::OutOfRange(field))
}

pub(crate) fn token_to_wire(token: LockToken) -> Bytes {
    Bytes::copy_from_slice(&token.0)
}

pub(crate) fn token_from_wire(bytes: &[u8]) -> Result<LockToken, WireError> {
    array16("lock_token", bytes).map(LockToken)
}

/// The instant; out-of-range values are refused, not clamped, so that nothing changes silently.
pub(crate) fn instant(field: &'static str, millis: i64) -> Result<Timestamp, WireError> {
    let at = Timestamp::from_millis(millis);
    if at.as_millis() == millis {
        Ok(at)
    } else {
        Err(WireError::OutOfRange(field))
    }
}

/// Whole milliseconds, at most 49 days.
pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn object_to_wire(object: &Object) -> Bytes {
    serde_json::to_vec(object)
        .expect("a JSON object has string keys and writing to memory does not fail")
        .into()
}

pub(crate) fn object_from_wire(field: &'static str, text: &[u8]) -> Result<Object, WireError> {
    if text.len() > MAX_JSON_BYTES {
        return Err(WireError::OutOfRange(field));
    }
    match parse_json(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(WireError::OutOfRange(field)),
    }
}
