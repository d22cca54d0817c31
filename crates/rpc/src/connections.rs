//! What gateways tell and ask of connections, over gRPC, at the nodes of the twin service.

mod client;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use server::ConnectionServer;
