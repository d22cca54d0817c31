//! TLS to a gateway, with nothing trusted but the hub's own authority.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a connect may take, handshake included.
const PATIENCE: Duration = Duration::from_secs(5);

/// A certificate authority.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: Arc<RootCertStore>,
}

impl Trust {
    /// Trusts the certificates of a PEM file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn in_file(ca: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
        Ok(Self {
            roots: Arc::new(roots),
        })
    }

    /// Connects to `address` as to `host`, offering `protocol`.
    ///
    /// # Errors
    /// There is no connection within five seconds.
    pub async fn connect(
        &self,
        address: SocketAddr,
        host: &str,
        protocol: Option<&[u8]>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(None, address, host, protocol).await
    }

    /// The same, presenting a certificate.
    ///
    /// # Errors
    /// There is no connection within five seconds.
    pub async fn connect_as(
        &self,
        identity: Option<&ClientIdentity>,
        address: SocketAddr,
        host: &str,
        protocol: Option<&[u8]>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(std::io::Error::other)?
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => config
                .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
                .map_err(std::io::Error::other)?,
        };
        config.alpn_protocols = protocol.map(<[u8]>::to_vec).into_iter().collect();
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let connecting = async {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            TlsConnector::from(Arc::new(config))
                .connect(name, tcp)
                .await
        };
        tokio::time::timeout(PATIENCE, connecting)
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }
}

/// What a device presents: its chain, its own certificate first, and the key of that.
#[derive(Debug)]
pub struct ClientIdentity {
    /// The chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// Reads a key of a connection string.
///
/// # Errors
/// It is not base64.
pub fn decode_key(text: &str) -> anyhow::Result<Vec<u8>> {
    STANDARD.decode(text).context("a key is base64")
}
