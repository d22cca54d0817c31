//! Errors shared by the ports.

use downlink_domain::ErrorCode;
use thiserror::Error;

/// A store that could not do its part.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The outcome is unknown or nothing was done; making the same call again is safe.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store's own queue is full; nothing was done.
    #[error("the store is overloaded")]
    Overloaded,
    /// A row that cannot be decoded.
    #[error("row {row} of {table} has an undecodable {column}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Its key.
        row: String,
    },
}

/// A call to a peer service that did not give its ordinary answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    /// The peer cannot be reached, or its answer was lost: the outcome is unknown.
    #[error("the {service} service is unavailable")]
    Unavailable {
        /// Which service.
        service: &'static str,
    },
    /// No answer before the deadline: the outcome is unknown.
    #[error("the {service} service did not answer in time")]
    DeadlineExceeded {
        /// Which service.
        service: &'static str,
    },
    /// More calls are waiting than the carrier holds; nothing was done.
    #[error("too many calls to the {service} service are waiting")]
    Overloaded {
        /// Which service.
        service: &'static str,
    },
    /// The peer refused with a code of the catalogue.
    #[error("{message}")]
    Refused {
        /// The code.
        code: ErrorCode,
        /// Text for the caller.
        message: String,
    },
}

impl PeerError {
    /// The code that a door answers.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable { .. } | Self::DeadlineExceeded { .. } => {
                ErrorCode::ServiceUnavailable
            }
            Self::Overloaded { .. } => ErrorCode::ThrottlingException,
            Self::Refused { code, .. } => *code,
        }
    }

    /// A refusal with `code`, its text made from `error`.
    pub fn refused(code: ErrorCode, error: &dyn std::fmt::Display) -> Self {
        Self::Refused {
            code,
            message: error.to_string(),
        }
    }
}

impl From<StoreError> for PeerError {
    /// Store trouble crosses the wire as a code; its detail stays in the log of the peer.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Refused {
                code: ErrorCode::ServiceUnavailable,
                message: "the store is unavailable, try again".to_owned(),
            },
            StoreError::Overloaded => Self::Refused {
                code: ErrorCode::ThrottlingException,
                message: "the store is overloaded, try again later".to_owned(),
            },
            StoreError::Corrupt { .. } => Self::Refused {
                code: ErrorCode::ServerError,
                message: "a stored record cannot be read".to_owned(),
            },
        }
    }
}
