//! Reads whatever is presented as a certificate in every place where one may stand: as a device's, above it, as an
//! authority, as a proof, as a text. Nothing signed it, so nothing may be proved by it.
#![no_main]

use downlink_auth::ClientChain;
use downlink_auth::x509::{
    AuthorityCertificate, Certificate, MAX_CERTIFICATE_BYTES, Thumbprints, TrustedAuthority, decode_certificate,
    prove_possession, verify_path, verify_thumbprint,
};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;

const NOW: i64 = 1_800_000_000;

/// Cuts the input into certificates: two bytes of length before each.
fn cut(mut input: &[u8]) -> Vec<CertificateDer<'_>> {
    let mut found = Vec::new();
    while let Some((length, rest)) = input.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (der, rest) = rest.split_at(length);
        found.push(CertificateDer::from(der));
        input = rest;
    }
    found
}

fuzz_target!(|input: &[u8]| {
    if let Ok(der) = decode_certificate(&String::from_utf8_lossy(input)) {
        assert!((1..=MAX_CERTIFICATE_BYTES).contains(&der.len()));
    }
    let certificates = cut(input);
    let Some(chain) = ClientChain::new(&certificates) else {
        return;
    };
    for der in &certificates {
        if let Ok(authority) = AuthorityCertificate::read(der) {
            assert!(authority.subject.len() <= 1024 && !authority.subject.contains(char::is_control));
            assert!(authority.not_before_seconds <= authority.not_after_seconds);
        }
    }
    let leaf = chain.leaf();
    let name = Certificate::parse(leaf).ok();
    let name = name.as_ref().and_then(|read| read.common_name().ok()).unwrap_or("device");
    let trusted: Vec<_> = certificates
        .iter()
        .map(|der| TrustedAuthority { certificate: der, not_after_seconds: i64::MAX })
        .collect();
    // The last is an authority; the fuzzer would have to sign for it.
    let path = verify_path(&chain, (name, None), &trusted[trusted.len() - 1..], NOW);
    assert!(path.is_err() || path.is_ok_and(|path| path.authority == 0));
    let _ = verify_path(&chain, (name, None), &trusted, NOW);
    let _ = prove_possession(&certificates[certificates.len() - 1], leaf, name, NOW);
    let registered = Thumbprints::of(leaf).sha1_hex();
    let is_readable = Certificate::parse(leaf).is_ok_and(|read| read.check_dates(NOW).is_ok());
    let by_thumbprint = verify_thumbprint(&chain, [Some(&registered), None], NOW);
    assert_eq!(by_thumbprint.is_ok(), is_readable);
});
