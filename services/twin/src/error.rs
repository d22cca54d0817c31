//! Refusals, each with the text that a door shows (errors-limits.md §1).

use downlink_domain::ErrorCode;
use downlink_domain::id::IdentityName;
use downlink_domain::twin::TwinError;
use downlink_ports::{PeerError, RegistryError};
use downlink_runtime::SubmitError;

const SERVICE: &str = "twin";

pub(crate) fn refused(code: ErrorCode, message: impl Into<String>) -> PeerError {
    PeerError::Refused {
        code,
        message: message.into(),
    }
}

/// The refusal of a call about the twin of an identity that is not there: a module that is
/// missing is answered as its device would be (twins.md §6).
pub(crate) fn not_found(name: &IdentityName) -> PeerError {
    let error = RegistryError::NotFound(name.clone());
    PeerError::refused(ErrorCode::DeviceNotFound, &error)
}

pub(crate) fn of_registry(error: &RegistryError) -> PeerError {
    match error {
        // The recorded text of the contract (registry.md §2.3).
        RegistryError::PreconditionFailed(_) => refused(error.code(), "PreconditionFailed"),
        RegistryError::NotFound(_)
        | RegistryError::AlreadyExists(_)
        | RegistryError::Invalid(_)
        | RegistryError::Scope(_)
        | RegistryError::NamedTwice(_)
        | RegistryError::SystemModule(_)
        | RegistryError::NoKeys(_)
        | RegistryError::TooManyModules(_)
        | RegistryError::QuotaExceeded(_) => PeerError::refused(error.code(), error),
    }
}

/// The refusal of a write of the twin of `name`.
pub(crate) fn of_twin(error: &TwinError, name: &IdentityName) -> PeerError {
    match error {
        TwinError::Invalid(_) => PeerError::refused(error.code(), error),
        TwinError::PreconditionFailed => refused(
            error.code(),
            format!("ETag mismatch for device ID '{name}'"),
        ),
    }
}

/// The refusal of a device's own write.
pub(crate) fn of_report(error: &TwinError) -> PeerError {
    match error {
        TwinError::Invalid(_) => PeerError::refused(error.code(), error),
        TwinError::PreconditionFailed => refused(
            error.code(),
            "the version is not that of the reported properties",
        ),
    }
}

/// A batch that gave no reply: the service is going away.
pub(crate) fn of_submit(error: SubmitError) -> PeerError {
    match error {
        SubmitError::Closed | SubmitError::Lost => PeerError::Unavailable { service: SERVICE },
    }
}
