//! The query service over gRPC, at the nodes of the twin service.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use server::QueryServer;
