//! Why a call has no reply, told apart by what may be done about it.

use downlink_ports::PeerError;

/// Why a call has no reply.
#[derive(Debug)]
pub(crate) enum Lost<C> {
    /// Nothing of it left this process; here it is again, and it may be made elsewhere.
    NotSent(Box<C>),
    /// It may have been carried out.
    Unknown,
    /// An answer all the same, of the peer or of this side's own bounds: making the call again
    /// would change nothing.
    Failed(PeerError),
}

impl<C> Lost<C> {
    /// What the caller is told when nothing more is tried.
    pub(crate) fn to_error(&self, service: &'static str) -> PeerError {
        match self {
            Self::NotSent(_) | Self::Unknown => PeerError::Unavailable { service },
            Self::Failed(error) => error.clone(),
        }
    }

    /// Whether another node may still give an answer.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::NotSent(_) | Self::Unknown => true,
            Self::Failed(error) => match error {
                PeerError::Overloaded { .. } | PeerError::DeadlineExceeded { .. } => true,
                PeerError::Unavailable { .. } | PeerError::Refused { .. } => false,
            },
        }
    }
}
