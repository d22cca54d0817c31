use std::time::Instant;

use proptest::prelude::*;
use rustls_pki_types::CertificateDer;

use super::super::{
    AuthorityCertificate, Certificate, CertificateError, TrustedAuthority, decode_certificate,
    prove_possession, verify_path,
};
use super::{Authority, DIES, NOW, ca_params, chain, client_params};

#[test]
fn chains_that_could_be_ordered_in_thousands_of_ways_are_given_up_early() {
    let root = Authority::root("same");
    let impostors: Vec<_> = (0..7).map(|_| Authority::root("same")).collect();
    let leaf = impostors[0].sign(&client_params("d"));
    let above = impostors.iter().map(|authority| &authority.der);
    let certificates: Vec<_> = std::iter::once(&leaf).chain(above).collect();
    let client = chain(&certificates);
    let trusted = [root.trusted(); 25];
    let started = Instant::now();
    let rounds = 20;
    for _ in 0..rounds {
        let refused = verify_path(&client, ("d", None), &trusted, NOW);
        assert!(matches!(
            refused,
            Err(CertificateError::Signature | CertificateError::TooMuchWork)
        ));
    }
    let each = started.elapsed() / rounds;
    // A hundred signatures of P-256, unoptimised and on a busy machine.
    assert!(each.as_millis() < 1000, "{each:?}");
}

#[test]
fn more_than_seven_above_the_own_are_not_looked_at() {
    let root = Authority::root("root");
    let lower = root.below(ca_params("lower"));
    let others: Vec<_> = (0..7).map(|n| Authority::root(&n.to_string())).collect();
    let leaf = lower.sign(&client_params("d"));
    let mut certificates = vec![&leaf];
    certificates.extend(others.iter().map(|authority| &authority.der));
    certificates.push(&lower.der);
    let at_the_end = verify_path(&chain(&certificates), ("d", None), &[root.trusted()], NOW);
    assert_eq!(at_the_end, Err(CertificateError::UnknownAuthority));
    certificates.swap(7, 8);
    let in_reach = verify_path(&chain(&certificates), ("d", None), &[root.trusted()], NOW);
    assert!(in_reach.is_ok());
}

/// Judges one certificate in every way there is; nothing but the answers counts.
fn judge(bytes: &[u8], root: &Authority) -> bool {
    let der = CertificateDer::from(bytes.to_vec());
    let client = chain(&[&der, &der]);
    let as_authority = TrustedAuthority {
        certificate: bytes,
        not_after_seconds: DIES,
    };
    let trusted = [as_authority, root.trusted()];
    if let Ok(read) = Certificate::parse(bytes) {
        let _ = (read.common_name(), read.check_dates(NOW));
    }
    let _ = AuthorityCertificate::read(bytes);
    let _ = prove_possession(bytes, bytes, "d", NOW);
    let _ = decode_certificate(&String::from_utf8_lossy(bytes));
    verify_path(&client, ("d", None), &trusted[1..], NOW).is_ok()
        || verify_path(&client, ("d", None), &trusted, NOW).is_ok()
}

#[test]
fn no_changed_byte_of_a_believed_certificate_is_believed() {
    let root = Authority::root("root");
    let good = root.sign(&client_params("d"));
    assert!(judge(&good, &root));
    for at in 0..good.len() {
        for bit in [0, 7] {
            let mut bent = good.to_vec();
            bent[at] ^= 1 << bit;
            assert!(!judge(&bent, &root), "bit {bit} of byte {at}");
        }
        assert!(!judge(&good[..at], &root), "{at} bytes of it");
    }
}

proptest! {
    #[test]
    fn no_bytes_are_believed(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(!judge(&bytes, &Authority::root("root")));
    }
}
