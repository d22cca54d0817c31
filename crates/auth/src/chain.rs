//! The certificates that a client presented in its TLS handshake.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

/// What a client presented: its own certificate first, then those above it, as it sent them.
///
/// That the client holds the key of the first was proved by the handshake; nothing else was
/// checked. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientChain(Arc<[CertificateDer<'static>]>);

impl ClientChain {
    /// Keeps a chain; `None` when the client presented nothing.
    pub fn new(certificates: &[CertificateDer<'_>]) -> Option<Self> {
        let kept = certificates.iter().map(|der| der.clone().into_owned());
        let kept: Arc<[_]> = kept.collect();
        (!kept.is_empty()).then_some(Self(kept))
    }

    /// The client's own certificate.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.0[0]
    }

    /// The certificates above its own.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.0[1..]
    }
}
