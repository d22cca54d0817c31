//! Why a port could not be had, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// A port that could not be had. Its text is one line that names address, port and cure.
#[derive(Debug)]
pub enum BindError {
    /// Another process listens there.
    Taken {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that moves the port.
        port_flag: &'static str,
    },
    /// The port is below 1024 and the process may not open it.
    NotPermitted {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that moves the port.
        port_flag: &'static str,
    },
    /// No interface of this machine has the address.
    NoSuchAddress {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Anything else the operating system may answer.
    Other {
        /// What was asked for.
        address: SocketAddr,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl BindError {
    pub(super) fn new(address: SocketAddr, port_flag: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { address, port_flag },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address, port_flag },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { address },
            _ => Self::Other { address, source },
        }
    }

    /// Returns the address that was asked for.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Taken { address, .. }
            | Self::NotPermitted { address, .. }
            | Self::NoSuchAddress { address }
            | Self::Other { address, .. } => *address,
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ip, port) = (self.address().ip(), self.address().port());
        match self {
            Self::Taken { port_flag, .. } => write!(
                f,
                "port {port} on {ip} is taken by another process: stop it or set {port_flag}"
            ),
            Self::NotPermitted { port_flag, .. } => write!(
                f,
                "port {port} on {ip} is not permitted: grant cap_net_bind_service \
                 (setcap cap_net_bind_service=+ep on the binary) or choose a port above 1023 with {port_flag}"
            ),
            Self::NoSuchAddress { .. } => write!(
                f,
                "port {port} cannot be opened on {ip}: no interface of this machine has that address, \
                 listen on one that exists or on 0.0.0.0"
            ),
            Self::Other { .. } => write!(f, "port {port} on {ip} cannot be opened"),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Other { source, .. } => Some(source),
            Self::Taken { .. } | Self::NotPermitted { .. } | Self::NoSuchAddress { .. } => None,
        }
    }
}
