//! How trouble inside the service reads to its callers.

use downlink_ports::{PeerError, StoreError};
use downlink_runtime::SubmitError;

/// The name under which callers know this service.
pub(crate) const SERVICE: &str = "queue";

/// A batch that gave no answer: not taken because the service drains, or lost with its lane.
pub(crate) fn no_answer(error: SubmitError) -> PeerError {
    match error {
        SubmitError::Closed | SubmitError::Lost => PeerError::Unavailable { service: SERVICE },
    }
}

/// A store that failed: logged here, where it is handled, and told as a code.
pub(crate) fn store_failed(operation: &'static str, error: StoreError) -> PeerError {
    match &error {
        StoreError::Unavailable(_) | StoreError::Overloaded => {
            tracing::warn!(operation, %error, "store call failed");
        }
        StoreError::Corrupt { .. } => {
            tracing::error!(operation, %error, "store holds an unreadable row");
        }
    }
    error.into()
}
