//! Reads the keys of an issuer: by discovery, from an address, from a file.
//!
//! One request for each connection, HTTP/1.1, no redirects and no proxy: what a configured address
//! answers is read, and nothing else. All of it within one deadline.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::json::Object;
use crate::key::KeySet;
use crate::options::{IssuerOptions, KeySource};

/// The largest document, of discovery or of keys.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// The largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// Why the keys of an issuer could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// An address has no host, or a scheme that is not allowed.
    #[error("{0:?} is not an address that may be asked")]
    Address(String),
    /// The host cannot be reached or broke off.
    #[error("cannot reach {address}")]
    Unreachable {
        /// The address.
        address: String,
        /// What the network says.
        source: io::Error,
    },
    /// What answers does not speak HTTP.
    #[error("{address} does not answer in http")]
    Http {
        /// The address.
        address: String,
        /// What is wrong.
        source: hyper::Error,
    },
    /// The answer is not 200; redirects are not followed.
    #[error("{address} answers {status}")]
    Status {
        /// The address.
        address: String,
        /// The answer.
        status: StatusCode,
    },
    /// The file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A document has more than 256 KiB.
    #[error("the document of {0} has more than 256 KiB")]
    TooLarge(String),
    /// The discovery document is none, or that of another issuer.
    #[error("{0} is not the discovery document of the issuer")]
    Discovery(String),
    /// The keys are none, more than 64, or none of them can be used.
    #[error("{0} is not a set of up to 64 keys with a usable one")]
    Keys(String),
    /// It took too long.
    #[error("no answer within the deadline")]
    Deadline,
}

/// Reads the keys of one issuer.
pub(crate) struct Fetcher {
    options: Arc<IssuerOptions>,
    tls: TlsConnector,
}

impl Fetcher {
    /// Makes what reads the keys of the issuer of `options`, trusting what `tls` trusts.
    pub(crate) fn new(options: Arc<IssuerOptions>, tls: Arc<ClientConfig>) -> Self {
        Self {
            options,
            tls: TlsConnector::from(tls),
        }
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// [`FetchError`].
    ///
    /// # Cancellation
    /// Safe: connections are dropped.
    pub(crate) async fn fetch(&self) -> Result<KeySet, FetchError> {
        let reading = timeout(self.options.fetch_timeout, self.read());
        reading.await.map_err(|_| FetchError::Deadline)?
    }

    async fn read(&self) -> Result<KeySet, FetchError> {
        let (origin, document) = match &self.options.keys {
            KeySource::File(path) => (path.display().to_string(), read_file(path).await?),
            KeySource::Url(address) => (address.clone(), self.get(address).await?),
            KeySource::Discovery => {
                let address = self.discover().await?;
                let document = self.get(&address).await?;
                (address, document)
            }
        };
        KeySet::parse(&document).ok_or(FetchError::Keys(origin))
    }

    /// Asks the issuer where its keys are. The document must be its own (`OpenID` Connect Discovery
    /// 1.0 §4.3).
    async fn discover(&self) -> Result<String, FetchError> {
        let issuer = &self.options.issuer;
        let address = format!("{}{DISCOVERY_PATH}", issuer.trim_end_matches('/'));
        let text = self.get(&address).await?;
        let found = Object::parse(&text).and_then(|document| {
            let is_own = document.text("issuer")? == *issuer;
            is_own.then(|| document.text("jwks_uri"))?
        });
        found.ok_or(FetchError::Discovery(address))
    }

    async fn get(&self, address: &str) -> Result<String, FetchError> {
        let target = Target::parse(address, self.options.allow_http)
            .ok_or_else(|| FetchError::Address(address.chars().take(512).collect()))?;
        let unreachable = |source| FetchError::Unreachable {
            address: address.to_owned(),
            source,
        };
        let place = (target.host.as_str(), target.port);
        let tcp = TcpStream::connect(place).await.map_err(unreachable)?;
        match target.name.clone() {
            None => ask(tcp, &target, address).await,
            Some(name) => {
                let tls = self.tls.connect(name, tcp).await.map_err(unreachable)?;
                ask(tls, &target, address).await
            }
        }
    }
}

/// One address, taken apart.
struct Target {
    host: String,
    port: u16,
    /// Whom the certificate must name; `None` for plain HTTP.
    name: Option<ServerName<'static>>,
    authority: String,
    path: String,
}

impl Target {
    fn parse(address: &str, allow_http: bool) -> Option<Self> {
        let uri: Uri = address.parse().ok()?;
        let authority = uri.authority()?.as_str();
        if authority.contains('@') {
            return None;
        }
        let host = uri.host()?;
        let host = host.strip_prefix('[').unwrap_or(host);
        let host = host.strip_suffix(']').unwrap_or(host).to_owned();
        let (name, default_port) = match uri.scheme_str()? {
            "https" => (Some(ServerName::try_from(host.clone()).ok()?), 443),
            "http" if allow_http => (None, 80),
            _ => return None,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Self {
            port: uri.port_u16().unwrap_or(default_port),
            host,
            name,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }
}

/// Asks for one document over `stream`.
async fn ask<S>(stream: S, target: &Target, address: &str) -> Result<String, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |source| FetchError::Http {
        address: address.to_owned(),
        source,
    };
    let request = Request::get(&target.path)
        .header(HOST, &target.authority)
        .header(USER_AGENT, "downlink")
        .header(ACCEPT, "application/json")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Address(address.to_owned()))?;
    let mut builder = http1::Builder::new();
    let handshake = builder
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(failed)?;
    let exchange = async move {
        let answer = sender.send_request(request).await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status {
                address: address.to_owned(),
                status: answer.status(),
            });
        }
        let body = Limited::new(answer.into_body(), MAX_DOCUMENT_BYTES).collect();
        let body = body.await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                return FetchError::TooLarge(address.to_owned());
            }
            FetchError::Unreachable {
                address: address.to_owned(),
                source: io::Error::other(error),
            }
        })?;
        text_of(body.to_bytes().into(), address)
    };
    // The connection ends by itself once nobody asks of it: the exchange holds its only sender.
    let (answer, _) = join(exchange, connection).await;
    answer
}

async fn read_file(path: &Path) -> Result<String, FetchError> {
    let unreadable = |source| FetchError::File {
        path: path.display().to_string(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Vec::new();
    let mut bounded = file.take(MAX_DOCUMENT_BYTES as u64 + 1);
    bounded.read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(FetchError::TooLarge(path.display().to_string()));
    }
    text_of(bytes, &path.display().to_string())
}

fn text_of(bytes: Vec<u8>, origin: &str) -> Result<String, FetchError> {
    String::from_utf8(bytes).map_err(|_| FetchError::Keys(origin.to_owned()))
}
