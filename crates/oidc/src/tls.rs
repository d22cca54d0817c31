//! Whom to trust at the addresses of issuers.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::options::{IssuerOptions, KeySource};

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// The given PEM text holds no certificate, or one that is none.
    #[error("the authorities are no pem certificates")]
    NotPem,
    /// One of the given certificates is no authority.
    #[error("a certificate is no authority")]
    NotAnAuthority(#[source] rustls::Error),
    /// None was given and the machine trusts none.
    #[error("this machine trusts no authority: name a file of them")]
    NoneOnThisMachine,
    /// TLS cannot be set up.
    #[error("tls cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// What speaks TLS to the issuer of `options`.
///
/// # Errors
/// [`AuthoritiesError`].
pub(crate) fn client(options: &IssuerOptions) -> Result<Arc<ClientConfig>, AuthoritiesError> {
    let mut roots = RootCertStore::empty();
    match &options.authorities {
        Some(pem) => {
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(|_| AuthoritiesError::NotPem)?;
            for certificate in certificates {
                roots
                    .add(certificate)
                    .map_err(AuthoritiesError::NotAnAuthority)?;
            }
            if roots.is_empty() {
                return Err(AuthoritiesError::NotPem);
            }
        }
        None if needs_tls(options) => {
            // Some of what a machine trusts may be unreadable or odd; the rest serves.
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(AuthoritiesError::NoneOnThisMachine);
            }
        }
        None => {}
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whether an address may have to be asked by TLS: an issuer on plain HTTP may name no other.
fn needs_tls(options: &IssuerOptions) -> bool {
    let is_https = |address: &str| address.starts_with("https:");
    match &options.keys {
        KeySource::File(_) => false,
        KeySource::Url(address) => is_https(address),
        KeySource::Discovery => is_https(&options.issuer),
    }
}
