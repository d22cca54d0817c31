//! Certificates of every make, good and hostile.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SignatureAlgorithm, SigningKey as _,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::TrustedAuthority;
use crate::chain::ClientChain;

mod authority;
mod hostile;
mod path;
mod possession;
mod subject;
mod thumbprint;

/// The time of the tests, in January 2027.
pub(super) const NOW: i64 = 1_800_000_000;
/// Ordinary certificates live from 2026 to 2036.
pub(super) const BORN: i64 = 1_767_225_600;
pub(super) const DIES: i64 = 2_082_758_400;

fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

/// What a certificate is to say; no extensions but those that are asked for.
pub(super) fn params(common_name: impl Into<DnValue>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = at(BORN);
    params.not_after = at(DIES);
    params
}

/// Changes what a certificate is to say.
pub(super) fn with(
    mut params: CertificateParams,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateParams {
    change(&mut params);
    params
}

pub(super) fn ca_params(common_name: &str) -> CertificateParams {
    with(params(common_name), |p| {
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    })
}

pub(super) fn client_params(common_name: &str) -> CertificateParams {
    with(params(common_name), |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    })
}

pub(super) fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

/// An authority that can sign.
pub(super) struct Authority {
    pub(super) der: CertificateDer<'static>,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn root(common_name: &str) -> Self {
        Self::root_of(ca_params(common_name), key())
    }

    pub(super) fn root_of(params: CertificateParams, key: KeyPair) -> Self {
        let der = params.self_signed(&key).unwrap().der().clone();
        Self {
            der,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn below(&self, params: CertificateParams) -> Self {
        let key = key();
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self {
            der,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn sign(&self, params: &CertificateParams) -> CertificateDer<'static> {
        params
            .signed_by(&key(), &self.issuer)
            .unwrap()
            .der()
            .clone()
    }

    pub(super) fn trusted(&self) -> TrustedAuthority<'_> {
        TrustedAuthority {
            certificate: &self.der,
            not_after_seconds: DIES,
        }
    }
}

pub(super) fn self_signed(params: &CertificateParams) -> CertificateDer<'static> {
    params.self_signed(&key()).unwrap().der().clone()
}

pub(super) fn chain(certificates: &[&CertificateDer<'static>]) -> ClientChain {
    let certificates: Vec<_> = certificates.iter().map(|der| (*der).clone()).collect();
    ClientChain::new(&certificates).unwrap()
}

/// Makes what old tools make: a certificate of version 1, without extensions.
pub(super) fn version_1(like: &CertificateDer<'_>, by: &KeyPair) -> CertificateDer<'static> {
    let (_, read) = X509Certificate::from_der(like).unwrap();
    let algorithm = tlv(0x30, &tlv(0x06, b"\x2a\x86\x48\xce\x3d\x04\x03\x02"));
    let dates = [tlv(0x17, b"260101000000Z"), tlv(0x17, b"360101000000Z")].concat();
    let signed = [
        tlv(0x02, &[1]),
        algorithm.clone(),
        read.issuer().as_raw().to_vec(),
        tlv(0x30, &dates),
        read.subject().as_raw().to_vec(),
        read.public_key().raw.to_vec(),
    ];
    let signed = tlv(0x30, &signed.concat());
    let signature = [&[0][..], &by.sign(&signed).unwrap()].concat();
    let whole = [signed, algorithm, tlv(0x03, &signature)].concat();
    CertificateDer::from(tlv(0x30, &whole))
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let head = match length {
        0..128 => vec![tag, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head[..], content].concat()
}

/// Algorithms of keys that devices and authorities are found with.
pub(super) fn algorithms() -> [&'static SignatureAlgorithm; 4] {
    [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ]
}
