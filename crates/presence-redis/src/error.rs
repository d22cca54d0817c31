//! Why Redis could not do its part.

use downlink_ports::StoreError;
use redis::RedisError;
use thiserror::Error;

use crate::address::Address;

/// Why presence could not be opened. Each prints as one line that names the cure.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The options break their rules: each fault.
    #[error("the options of presence.redis are wrong: {}", .0.join("; "))]
    Options(Vec<String>),
    /// No server could be reached in time, or one refused.
    #[error("cannot use redis at {servers}: {reason}; check presence.redis.urls")]
    Unreachable {
        /// The servers that were named.
        servers: String,
        /// What went wrong last.
        reason: String,
    },
    /// A server is too old.
    #[error("redis at {server} is version {found}, but presence needs 7.0 or later")]
    Version {
        /// The server.
        server: String,
        /// What it says it is.
        found: String,
    },
}

/// Why a server, or all of them, cannot be used now.
#[derive(Clone, Debug, Error)]
pub(crate) enum LinkError {
    #[error("{at}: {error}")]
    Refused { at: Address, error: RedisError },
    #[error("{at} did not answer in time")]
    TimedOut { at: Address },
    #[error("{at} is no master but a {role}")]
    NotMaster { at: Address, role: String },
    #[error("version {found}")]
    Version { at: Address, found: String },
    #[error("{at} answered {what} with something else")]
    Answer { at: Address, what: &'static str },
    #[error("no sentinel knows the master {master}")]
    NoMaster { master: String },
    #[error("{at} says that the cluster is not whole")]
    NotWhole { at: Address },
    #[error("no server could be asked")]
    Nobody,
    #[error("not every master can be reached")]
    Partial,
    #[error("no answer in time")]
    Silent,
}

impl LinkError {
    /// Tells whether trying again soon may help: a wrong password stays wrong.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Version { .. } => false,
            Self::Refused { error, .. } => {
                !matches!(
                    error.kind(),
                    redis::ErrorKind::AuthenticationFailed
                        | redis::ErrorKind::InvalidClientConfig
                        | redis::ErrorKind::RESP3NotSupported
                ) && !matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
            }
            Self::TimedOut { .. }
            | Self::NotMaster { .. }
            | Self::Answer { .. }
            | Self::NoMaster { .. }
            | Self::NotWhole { .. }
            | Self::Nobody
            | Self::Partial
            | Self::Silent => true,
        }
    }
}

impl From<LinkError> for StoreError {
    fn from(error: LinkError) -> Self {
        unavailable(&error)
    }
}

/// The error of a call whose outcome is unknown, or which was not made.
pub(crate) fn unavailable(reason: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("redis: {reason}"))
}
