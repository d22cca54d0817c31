//! Certificates of devices, made as their owners would make them.

use downlink_tests::wire::tls::ClientIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest as _, Sha256};

/// An authority and its key.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate with this common name.
    pub(crate) fn issue(&self, name: &str) -> Leaf {
        self.issue_with(&params(name))
    }

    /// One whose time is over.
    pub(crate) fn issue_expired(&self, name: &str) -> Leaf {
        let mut params = params(name);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.issue_with(&params)
    }

    fn issue_with(&self, params: &CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Leaf::new(&certificate, &key)
    }
}

/// A certificate with its key.
pub(crate) struct Leaf {
    pub(crate) identity: ClientIdentity,
    pub(crate) pem: String,
}

impl Leaf {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self {
            pem: certificate.pem(),
            identity: ClientIdentity {
                chain: vec![certificate.der().clone()],
                key,
            },
        }
    }

    pub(crate) fn self_signed(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name).self_signed(&key).unwrap();
        Self::new(&certificate, &key)
    }

    /// SHA-256 of the certificate.
    pub(crate) fn thumbprint(&self) -> String {
        let digest = Sha256::digest(&self.identity.chain[0]);
        let digits: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        digits.concat()
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}
