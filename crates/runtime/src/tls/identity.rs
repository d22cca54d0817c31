//! A certificate and its key, from PEM.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

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
        PairText::read(certificate, key)?.parse(certificate, key)
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

    /// The pair, ready to sign handshakes.
    pub(super) fn certified(&self) -> Result<CertifiedKey, TlsError> {
        let provider = aws_lc_rs::default_provider();
        let (chain, key) = (self.chain.clone(), self.key.clone_key());
        Ok(CertifiedKey::from_der(chain, key, &provider)?)
    }
}

/// The text of a certificate's file and of its key's.
#[derive(PartialEq, Eq)]
pub(super) struct PairText {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl PairText {
    /// Reads both files.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read_pem(certificate)?,
            key: read_pem(key)?,
        })
    }

    /// Parses what was read from `certificate` and `key`.
    pub(super) fn parse(&self, certificate: &Path, key: &Path) -> Result<TlsIdentity, TlsError> {
        Ok(TlsIdentity {
            chain: parse_chain(&self.certificate, &certificate.display().to_string())?,
            key: parse_key(&self.key, &key.display().to_string())?,
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
