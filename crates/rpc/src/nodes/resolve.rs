//! From names to addresses.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

/// Longest look-up of one name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks names up.
#[async_trait]
pub(crate) trait Resolve: Send + Sync + 'static {
    /// Every address of `name`, `host:port`.
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the operating system.
pub(crate) struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(name)).await {
            Ok(addresses) => Ok(addresses?.collect()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
