//! The jobs of the twin service over gRPC: rare calls, over the connections of its other calls.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use server::FleetServer;

/// Most jobs, or identities of jobs, that a caller may list.
pub(crate) const MAX_LISTED: u32 = 1000;
