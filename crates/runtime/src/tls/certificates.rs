//! The certificates of a server: one for each name it has one for, read again when their files change.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;

use super::identity::{PairText, TlsError, TlsIdentity};

/// A certificate for some host names, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The names for which clients are shown it.
    pub host_names: Vec<String>,
    /// PEM file of the chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// What was found in files whose content had changed.
#[derive(Debug)]
pub struct Look {
    /// The file of the certificate.
    pub certificate: PathBuf,
    /// A failure leaves the former certificate in use.
    pub outcome: Result<(), TlsError>,
}

/// The certificates of a server, chosen by the name that the client asks for (RFC 6066 3).
///
/// A client that asks for none, or for a name that is not known, is shown the first.
pub struct ServerCertificates {
    first: Pair,
    further: Vec<Pair>,
    /// Which of the further ones a name has; names that are not here have the first.
    by_name: HashMap<String, usize>,
}

/// A certificate in use.
struct Pair {
    files: Option<(PathBuf, PathBuf)>,
    /// What the files held at the last look; `None` when they could not be read.
    seen: Mutex<Option<PairText>>,
    current: RwLock<Current>,
}

struct Current {
    key: Arc<CertifiedKey>,
    ends_at: Option<i64>,
}

impl ServerCertificates {
    /// One certificate for every name, for good.
    ///
    /// # Errors
    /// [`TlsError::Unusable`] if the key does not fit the certificate.
    pub fn of(identity: &TlsIdentity) -> Result<Self, TlsError> {
        Ok(Self {
            first: Pair::of(identity)?,
            further: Vec::new(),
            by_name: HashMap::new(),
        })
    }

    /// Loads certificates. The names of `first` need not be given: what is not known has it. A name that several of
    /// `further` give belongs to the first of them.
    ///
    /// # Errors
    /// [`TlsError`] of the first that cannot be used, with its place among all.
    pub fn load(
        first: &CertificateFiles,
        further: &[CertificateFiles],
    ) -> Result<Self, (usize, TlsError)> {
        let mut by_name = HashMap::new();
        let mut pairs = Vec::with_capacity(further.len());
        for (index, files) in further.iter().enumerate() {
            pairs.push(Pair::load(files).map_err(|error| (index + 1, error))?);
            for name in &files.host_names {
                let name = fold_host_name(name).into_owned();
                by_name.entry(name).or_insert(index);
            }
        }
        for name in &first.host_names {
            by_name.remove(fold_host_name(name).as_ref());
        }
        Ok(Self {
            first: Pair::load(first).map_err(|error| (0, error))?,
            further: pairs,
            by_name,
        })
    }

    /// Reads the files once more and puts to use what has changed and holds; tells of what has changed. It blocks
    /// while it reads.
    ///
    /// Content decides, and not times or names: links may be exchanged and files written in place. Two files that do
    /// not fit, as between two writes, are looked at again when either changes.
    pub fn look_again(&self) -> Vec<Look> {
        let pairs = std::iter::once(&self.first).chain(&self.further);
        pairs.filter_map(Pair::look_again).collect()
    }

    /// When the first of the certificates in use ends, in seconds since the Unix epoch; `None` if no date can be read.
    pub fn first_end(&self) -> Option<i64> {
        let pairs = std::iter::once(&self.first).chain(&self.further);
        pairs.filter_map(|pair| pair.current.read().ends_at).min()
    }

    fn find(&self, name: Option<&str>) -> &Pair {
        name.and_then(|name| self.by_name.get(fold_host_name(name).as_ref()))
            .and_then(|index| self.further.get(*index))
            .unwrap_or(&self.first)
    }
}

impl fmt::Debug for ServerCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificates")
            .field("first", &self.first.files)
            .field("by_name", &self.by_name)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.find(hello.server_name());
        Some(Arc::clone(&pair.current.read().key))
    }
}

/// The one spelling of a host name by which names are compared: lower case, without the dot that says it is whole.
pub fn fold_host_name(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

impl Pair {
    fn of(identity: &TlsIdentity) -> Result<Self, TlsError> {
        Ok(Self {
            files: None,
            seen: Mutex::default(),
            current: RwLock::new(Current::of(identity)?),
        })
    }

    fn load(files: &CertificateFiles) -> Result<Self, TlsError> {
        let (certificate, key) = (files.certificate.clone(), files.key.clone());
        let text = PairText::read(&certificate, &key)?;
        let current = Current::of(&text.parse(&certificate, &key)?)?;
        Ok(Self {
            files: Some((certificate, key)),
            seen: Mutex::new(Some(text)),
            current: RwLock::new(current),
        })
    }

    fn look_again(&self) -> Option<Look> {
        let (certificate, key) = self.files.as_ref()?;
        Some(Look {
            certificate: certificate.clone(),
            outcome: self.read_again(certificate, key)?,
        })
    }

    fn read_again(&self, certificate: &Path, key: &Path) -> Option<Result<(), TlsError>> {
        let mut seen = self.seen.lock();
        let text = match PairText::read(certificate, key) {
            Ok(text) if seen.as_ref() == Some(&text) => return None,
            Ok(text) => text,
            // Told once, until they can be read again.
            Err(error) => return seen.take().map(|_| Err(error)),
        };
        let made = text.parse(certificate, key);
        let made = made.and_then(|identity| Current::of(&identity));
        *seen = Some(text);
        Some(made.map(|current| *self.current.write() = current))
    }
}

impl Current {
    fn of(identity: &TlsIdentity) -> Result<Self, TlsError> {
        let key = identity.certified()?;
        let leaf = key.cert.first();
        let leaf = leaf.and_then(|der| X509Certificate::from_der(der).ok());
        Ok(Self {
            ends_at: leaf.map(|(_, leaf)| leaf.validity().not_after.timestamp()),
            key: Arc::new(key),
        })
    }
}
