use super::super::{CertificateError, Thumbprints, verify_thumbprint};
use super::{
    Authority, BORN, DIES, NOW, ca_params, chain, client_params, key, params, self_signed,
    version_1,
};

#[test]
fn both_thumbprints_of_a_known_certificate_have_the_digits_of_their_digests() {
    // SHA-1 and SHA-256 of "abc" (FIPS 180-2, appendices A.1 and B.1).
    let thumbprints = Thumbprints::of(b"abc");
    let sha1 = "A9993E364706816ABA3E25717850C26C9CD0D89D";
    let sha256 = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
    assert_eq!(thumbprints.sha1_hex(), sha1);
    assert_eq!(thumbprints.sha256_hex(), sha256);
    for registered in [
        sha1.to_owned(),
        sha1.to_lowercase(),
        sha256.to_lowercase(),
        "a9 99 3e 36 47 06 81 6a ba 3e 25 71 78 50 c2 6c 9c d0 d8 9d".to_owned(),
        "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D".to_owned(),
    ] {
        assert!(thumbprints.match_registered(&registered), "{registered}");
    }
    let mut other = sha1.to_owned();
    other.replace_range(39.., "C");
    for registered in ["", &sha1[1..], &sha256[..40], &sha256[..63], &other, "zz"] {
        assert!(!thumbprints.match_registered(registered), "{registered}");
    }
    let not_hex = "G".repeat(40);
    assert!(!thumbprints.match_registered(&not_hex));
}

#[test]
fn primary_and_secondary_thumbprint_in_either_digest_open_the_identity() {
    let der = self_signed(&client_params("anything"));
    let (client, thumbprints) = (chain(&[&der]), Thumbprints::of(&der));
    for registered in [thumbprints.sha1_hex(), thumbprints.sha256_hex()] {
        for places in [[Some(&*registered), None], [None, Some(&*registered)]] {
            assert_eq!(verify_thumbprint(&client, places, NOW), Ok(DIES));
        }
    }
    let other = Thumbprints::of(b"other").sha256_hex();
    for places in [[None, None], [Some(&*other), Some(&*other)]] {
        let refused = verify_thumbprint(&client, places, NOW);
        assert_eq!(refused, Err(CertificateError::Thumbprint));
    }
}

#[test]
fn registered_certificate_counts_between_its_dates_alone() {
    let der = self_signed(&params("d"));
    let registered = Thumbprints::of(&der).sha1_hex();
    let at = |now| verify_thumbprint(&chain(&[&der]), [Some(&registered), None], now);
    assert_eq!(at(BORN - 1), Err(CertificateError::NotYetValid));
    assert_eq!(at(BORN), Ok(DIES));
    assert_eq!(at(DIES), Ok(DIES));
    assert_eq!(at(DIES + 1), Err(CertificateError::Expired));
}

#[test]
fn authorities_and_old_versions_are_as_good_as_others_by_thumbprint() {
    let own_key = key();
    let like = client_params("d").self_signed(&own_key).unwrap();
    let old = version_1(like.der(), &own_key);
    let authority = self_signed(&ca_params("made by a tool that sets CA:TRUE"));
    let signed = Authority::root("ca").sign(&params("d"));
    for der in [old, authority, signed] {
        let registered = Thumbprints::of(&der).sha256_hex();
        let outcome = verify_thumbprint(&chain(&[&der]), [None, Some(&registered)], NOW);
        assert_eq!(outcome, Ok(DIES));
    }
}

#[test]
fn registered_certificate_higher_up_the_chain_opens_nothing() {
    let (own, registered) = (self_signed(&params("a")), self_signed(&params("b")));
    let thumbprint = Thumbprints::of(&registered).sha256_hex();
    let client = chain(&[&own, &registered]);
    let refused = verify_thumbprint(&client, [Some(&thumbprint), None], NOW);
    assert_eq!(refused, Err(CertificateError::Thumbprint));
}
