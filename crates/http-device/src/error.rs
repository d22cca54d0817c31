//! What cannot be taken from a device.

use thiserror::Error;

/// A request that breaks the contract. Every one is answered 400, but for [`Malformed::TooLarge`] and
/// [`Malformed::TooMany`], which are answered 413.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// An application property without a name.
    #[error("an application property has no name")]
    Nameless,
    /// A name of a property in other characters than it may have.
    #[error("the name of property {0:?} has characters that are not allowed")]
    Name(String),
    /// A value of a property in other characters than it may have.
    #[error("the value of property {0:?} has characters that are not allowed")]
    Value(String),
    /// A batch that is no JSON array of messages.
    #[error("the batch cannot be read: {0}")]
    Batch(String),
    /// A body that says to be base64 and is not.
    #[error("the body of message {0} of the batch is not base64")]
    Base64(usize),
    /// A batch without a message.
    #[error("the batch has no message")]
    Empty,
    /// A batch of more messages than may be.
    #[error("a batch may hold {0} messages")]
    TooMany(usize),
    /// A message of more bytes than may be, properties counted.
    #[error("a message may have {0} bytes")]
    TooLarge(usize),
    /// A lock timeout outside its range.
    #[error("the lock timeout must be 5 to 300 seconds")]
    LockTimeout,
    /// `api-version` is missing or has not the form of one.
    #[error("the query must name an api-version")]
    Version,
}
