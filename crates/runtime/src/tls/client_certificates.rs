//! Certificates of clients: asked for, never demanded, and proved to be the client's own.
//!
//! Which identity a certificate stands for, whether it is trusted and whether it is valid today depend on the
//! registered identity, which the handshake does not know (auth.md §4). The handshake settles one question alone: that
//! the client holds the private key of the first certificate.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use x509_parser::asn1_rs::{Any, FromDer as _};
use x509_parser::certificate::X509Certificate;

/// Certificates in one chain; more are an alert. Real chains have two or three.
const MAX_CHAIN_CERTIFICATES: usize = 8;
/// Bytes of one chain. It is kept while the connection lives, and travels in the ticket that resumes the session.
const MAX_CHAIN_BYTES: usize = 32 * 1024;

/// Whether a listener asks its clients for a certificate; none is ever required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are asked, without a hint at whose: they send what they have.
    Requested,
    /// They are not asked, and send none.
    NotAsked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client's chain has {certificates} certificates of {bytes} bytes, which is too much")]
struct ChainTooLong {
    certificates: usize,
    bytes: usize,
}

/// Takes any chain within bounds whose key the client proves to hold.
#[derive(Debug)]
pub(super) struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyClient {
    /// Checks signatures with `algorithms`.
    pub(super) fn new(algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { algorithms }
    }
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let certificates = 1 + intermediates.len();
        let above: usize = intermediates.iter().map(|der| der.len()).sum();
        let bytes = end_entity.len() + above;
        if certificates > MAX_CHAIN_CERTIFICATES || bytes > MAX_CHAIN_BYTES {
            let too_long = ChainTooLong {
                certificates,
                bytes,
            };
            return Err(CertificateError::Other(OtherError(Arc::new(too_long))).into());
        }
        PublicKey::of(end_entity).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match PublicKey::of(certificate)? {
            PublicKey::InCertificate => {
                verify_tls12_signature(message, certificate, signed, &self.algorithms)
            }
            PublicKey::Raw(key) => {
                verify_tls12_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match PublicKey::of(certificate)? {
            PublicKey::InCertificate => {
                verify_tls13_signature(message, certificate, signed, &self.algorithms)
            }
            PublicKey::Raw(key) => {
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Where the key of a certificate is found.
enum PublicKey<'a> {
    /// The certificate is one that the TLS library reads.
    InCertificate,
    /// It is not: of X.509 version 1, say, or with an extension that is critical and unknown. Devices carry such
    /// certificates, and a thumbprint is all they are known by.
    Raw(SubjectPublicKeyInfoDer<'a>),
}

impl<'a> PublicKey<'a> {
    fn of(certificate: &'a CertificateDer<'_>) -> Result<Self, Error> {
        if ParsedCertificate::try_from(certificate).is_ok() {
            return Ok(Self::InCertificate);
        }
        let bad = || Error::from(CertificateError::BadEncoding);
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| bad())?;
        if !rest.is_empty() {
            return Err(bad());
        }
        let key = parsed.tbs_certificate.subject_pki.raw;
        Ok(Self::Raw(SubjectPublicKeyInfoDer::from(key)))
    }
}

/// As `verify_tls12_signature` of the TLS library, for a key without a certificate. A scheme of TLS 1.2 does not tell
/// the curve: the algorithm is the first of the scheme's whose kind of key this is.
fn verify_tls12_signature_with_raw_key(
    message: &[u8],
    key: &SubjectPublicKeyInfoDer<'_>,
    signed: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, Error> {
    let offered = algorithms.mapping.iter();
    let mut offered = offered.filter(|(scheme, _)| *scheme == signed.scheme);
    let Some((_, candidates)) = offered.next() else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    let (kind, bits) = split_key(key).ok_or(CertificateError::BadEncoding)?;
    let fitting = candidates
        .iter()
        .find(|algorithm| algorithm.public_key_alg_id().as_ref() == kind)
        .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    fitting
        .verify_signature(bits, message, signed.signature())
        .map_err(|_| CertificateError::BadSignature)?;
    Ok(HandshakeSignatureValid::assertion())
}

/// The content of the algorithm identifier, and the bits of the key (RFC 5280 4.1).
fn split_key<'a>(key: &'a SubjectPublicKeyInfoDer<'_>) -> Option<(&'a [u8], &'a [u8])> {
    let (_, key) = Any::from_der(key.as_ref()).ok()?;
    let (rest, kind) = Any::from_der(key.data).ok()?;
    let (_, bits) = Any::from_der(rest).ok()?;
    // Its first byte counts the unused bits of the last: none, in a key.
    let (0, bits) = bits.data.split_first()? else {
        return None;
    };
    Some((kind.data, bits))
}
