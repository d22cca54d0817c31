//! TLS for incoming connections: TLS 1.2 and 1.3, resumption by tickets, handshakes with a deadline and a bound.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::Acceptor;
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
pub use tokio_rustls::server::TlsStream;

pub use self::certificates::{CertificateFiles, Look, ServerCertificates, fold_host_name};
use self::client_certificates::AnyClient;
pub use self::client_certificates::ClientCertificates;
pub use self::identity::{TlsError, TlsIdentity};

mod certificates;
mod client_certificates;
mod identity;
#[cfg(test)]
mod tests;

/// The bound on handshakes under way, shared by every listener that holds a clone.
///
/// Full: a connection waits its turn, first come first served, until its own deadline.
#[derive(Clone, Debug)]
pub struct HandshakeLimit {
    permits: Arc<Semaphore>,
    answer_timeout: Duration,
}

impl HandshakeLimit {
    /// Allows `concurrent` handshakes, each of which may hold its place for `answer_timeout`.
    pub fn new(concurrent: usize, answer_timeout: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(concurrent.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            permits,
            answer_timeout,
        }
    }
}

impl Default for HandshakeLimit {
    /// 1024 at a time, 5 s each: the round trips of far devices fit, a peer that falls silent does not.
    fn default() -> Self {
        Self::new(1_024, Duration::from_secs(5))
    }
}

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer did not finish in time, or its turn did not come in time.
    #[error("handshake did not finish in time")]
    TimedOut,
    /// The peer does not speak TLS, shares no parameters with us, or went away.
    #[error("handshake failed")]
    Failed(#[source] io::Error),
}

/// Turns accepted TCP connections into TLS connections; clones share everything.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    limit: HandshakeLimit,
}

impl TlsAcceptor {
    /// Makes an acceptor for one listener that has one certificate for good; see [`Self::over`].
    ///
    /// # Errors
    /// [`TlsError::Unusable`] if the key does not fit the certificate.
    pub fn new(
        identity: &TlsIdentity,
        alpn: &[&[u8]],
        clients: ClientCertificates,
        limit: HandshakeLimit,
    ) -> Result<Self, TlsError> {
        let certificates = Arc::new(ServerCertificates::of(identity)?);
        Self::over(&certificates, alpn, clients, limit)
    }

    /// Makes an acceptor for one listener, which presents what `certificates` hold at the time of each handshake.
    ///
    /// `alpn` lists the protocols offered, best first. Empty: the peer's wishes are ignored. Not empty: a peer that
    /// offers protocols must share one, and a peer that offers none is accepted.
    ///
    /// `clients` are asked for a certificate or not; what they presented is found with
    /// [`peer_certificates`](rustls::CommonState::peer_certificates), in a resumed session too.
    ///
    /// Tickets outlive the certificate they were given under, and serve for this listener alone: what a client did not
    /// present here cannot come from a session with another.
    ///
    /// # Errors
    /// [`TlsError::Unusable`] if there is no randomness for the keys of the tickets.
    pub fn over(
        certificates: &Arc<ServerCertificates>,
        alpn: &[&[u8]],
        clients: ClientCertificates,
        limit: HandshakeLimit,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?;
        let builder = match clients {
            ClientCertificates::Requested => {
                builder.with_client_cert_verifier(Arc::new(AnyClient::new(algorithms)))
            }
            ClientCertificates::NotAsked => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(certificates) as _);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Tickets keep the session with the client: resumption costs no memory here.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        // A device opens one connection at a time; one ticket is enough and halves the bytes after the handshake.
        config.send_tls13_tickets = 1;
        Ok(Self {
            config: Arc::new(config),
            limit,
        })
    }

    /// Performs the handshake, to be finished by `deadline`.
    ///
    /// A place under the [`HandshakeLimit`] is taken only once the peer's first message is complete, so that
    /// connections that send nothing cost no one else anything, and is held for at most the limit's answer time.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is closed.
    ///
    /// # Cancellation
    /// Dropping the future closes the connection.
    pub async fn accept(
        &self,
        stream: TcpStream,
        deadline: Instant,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let hello = within(deadline, hello)
            .await?
            .map_err(HandshakeError::Failed)?;
        let permit = within(deadline, self.limit.permits.acquire()).await?;
        let deadline = deadline.min(Instant::now() + self.limit.answer_timeout);
        let handshake = hello.into_stream(Arc::clone(&self.config));
        let stream = within(deadline, handshake)
            .await?
            .map_err(HandshakeError::Failed);
        drop(permit);
        stream
    }
}

async fn within<F: Future>(deadline: Instant, future: F) -> Result<F::Output, HandshakeError> {
    timeout_at(deadline, future)
        .await
        .map_err(|_| HandshakeError::TimedOut)
}
