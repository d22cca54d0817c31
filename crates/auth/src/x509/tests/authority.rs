use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{DnType, KeyUsagePurpose};

use super::super::{
    AuthorityCertificate, CertificateError, MAX_CERTIFICATE_BYTES, Thumbprints, decode_certificate,
};
use super::{Authority, BORN, DIES, ca_params, key, params, self_signed, version_1, with};

#[test]
fn authority_is_read_with_what_it_says() {
    let mut params = ca_params("Plant 7");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "A\nB\0C");
    let root = Authority::root_of(params, key());
    let read = AuthorityCertificate::read(&root.der).unwrap();
    assert_eq!(read.der, root.der.as_ref());
    assert_eq!(read.thumbprint, Thumbprints::of(&root.der).sha256_hex());
    assert_eq!(
        (read.not_before_seconds, read.not_after_seconds),
        (BORN, DIES)
    );
    assert!(read.subject.contains("CN=Plant 7"), "{}", read.subject);
    assert!(!read.subject.contains(char::is_control), "{}", read.subject);
    let lower = root.below(ca_params("below"));
    assert!(AuthorityCertificate::read(&lower.der).is_ok());
}

#[test]
fn who_may_not_sign_is_no_authority() {
    let device = self_signed(&params("d"));
    let no_usage = self_signed(&with(ca_params("ca"), |p| {
        p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    }));
    let own_key = key();
    let like = ca_params("ca").self_signed(&own_key).unwrap();
    let old = version_1(like.der(), &own_key);
    for der in [device, no_usage, old] {
        let refused = AuthorityCertificate::read(&der);
        assert_eq!(refused, Err(CertificateError::NotAnAuthority));
    }
}

#[test]
fn certificate_is_taken_from_pem_from_base64_and_from_both() {
    let key = key();
    let certificate = ca_params("ca").self_signed(&key).unwrap();
    let (der, pem) = (certificate.der().to_vec(), certificate.pem());
    let base64 = STANDARD.encode(&der);
    let (first, rest) = base64.split_at(64);
    let wrapped = format!("{first}\r\n{rest}\r\n");
    for text in [
        pem.clone(),
        format!("subject=CN = ca\n{pem}\n"),
        STANDARD.encode(&der),
        wrapped,
        STANDARD.encode(&pem),
    ] {
        assert_eq!(decode_certificate(&text).as_ref(), Ok(&der), "{text}");
    }
    for text in [
        String::new(),
        "certificate".to_owned(),
        format!("{pem}{pem}"),
        key.serialize_pem(),
        pem.replace("-----END", "-----AND"),
        STANDARD.encode(&der)[1..].to_owned(),
    ] {
        assert_eq!(
            decode_certificate(&text),
            Err(CertificateError::Text),
            "{text}"
        );
    }
}

#[test]
fn large_certificates_are_not_read() {
    let bytes = vec![0x30; MAX_CERTIFICATE_BYTES + 1];
    assert_eq!(
        AuthorityCertificate::read(&bytes),
        Err(CertificateError::TooLarge)
    );
    let text = STANDARD.encode(&bytes);
    assert_eq!(decode_certificate(&text), Err(CertificateError::TooLarge));
    let endless = "A".repeat(1 << 20);
    assert_eq!(
        decode_certificate(&endless),
        Err(CertificateError::TooLarge)
    );
}
