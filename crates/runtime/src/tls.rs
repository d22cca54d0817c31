//! TLS for incoming connections: TLS 1.2 and 1.3, resumption by tickets, handshakes with a deadline and a bound.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::Acceptor;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
pub use tokio_rustls::server::TlsStream;

use self::client_certificates::AnyClient;
pub use self::client_certificates::ClientCertificates;

mod client_certificates;
#[cfg(test)]
mod tests;

/// A PEM file larger than this is not a certificate chain or a key.
const MAX_PEM_BYTES: u64 = 1024 * 1024;

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// There is no certificate in the PEM text.
    #[error("no usable certificate in {origin}")]
    NoCertificate {
        /// The file, or what else the text came from.
        origin: String,
    },
    /// There is no private key in the PEM text.
    #[error("no usable private key in {origin}")]
    NoPrivateKey {
        /// The file, or what else the text came from.
        origin: String,
    },
    /// The key does not belong to the certificate, or its kind is not supported.
    #[error("certificate and private key cannot be used together")]
    Unusable(#[from] rustls::Error),
}

/// A certificate chain, leaf first, and its private key.
#[derive(Debug)]
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl TlsIdentity {
    /// Reads a chain and a key (PKCS #8, SEC1 or PKCS #1) from PEM files of at most 1 MiB each.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            chain: parse_chain(&read_pem(certificate)?, &certificate.display().to_string())?,
            key: parse_key(&read_pem(key)?, &key.display().to_string())?,
        })
    }

    /// Parses a chain and a key from PEM text.
    ///
    /// # Errors
    /// [`TlsError::NoCertificate`] or [`TlsError::NoPrivateKey`].
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            chain: parse_chain(certificate, "certificate text")?,
            key: parse_key(key, "key text")?,
        })
    }
}

fn read_pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_PEM_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_PEM_BYTES {
        return Err(unreadable(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    Ok(text)
}

fn parse_chain(pem: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let no_certificate = || TlsError::NoCertificate {
        origin: origin.to_owned(),
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| no_certificate())?;
    if chain.is_empty() {
        Err(no_certificate())
    } else {
        Ok(chain)
    }
}

fn parse_key(pem: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::NoPrivateKey {
        origin: origin.to_owned(),
    })
}

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
    /// Makes an acceptor for one listener.
    ///
    /// `alpn` lists the protocols offered, best first. Empty: the peer's wishes are ignored. Not empty: a peer that
    /// offers protocols must share one, and a peer that offers none is accepted.
    ///
    /// `clients` are asked for a certificate or not; what they presented is found with
    /// [`peer_certificates`](rustls::CommonState::peer_certificates), in a resumed session too.
    ///
    /// # Errors
    /// [`TlsError::Unusable`] if the key does not fit the certificate.
    pub fn new(
        identity: &TlsIdentity,
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
        let mut config =
            builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
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
