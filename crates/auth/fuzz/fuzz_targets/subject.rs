//! Puts any bytes where a certificate has its subject: what is read as a common name stands in them, once, and names
//! nothing but itself.
#![no_main]

use downlink_auth::x509::Certificate;
use libfuzzer_sys::fuzz_target;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("inputs are short").to_be_bytes();
    [&[tag, 0x82, high, low], content].concat()
}

/// A certificate of version 1 with that subject.
fn with_subject(subject: &[u8]) -> Vec<u8> {
    let algorithm = tlv(0x30, &tlv(0x06, b"\x2a\x86\x48\xce\x3d\x04\x03\x02"));
    let dates = [tlv(0x17, b"260101000000Z"), tlv(0x17, b"360101000000Z")].concat();
    let key = [algorithm.clone(), tlv(0x03, &[0, 4])].concat();
    let signed = [
        tlv(0x02, &[1]),
        algorithm.clone(),
        tlv(0x30, b""),
        tlv(0x30, &dates),
        tlv(0x30, subject),
        tlv(0x30, &key),
    ];
    tlv(0x30, &[tlv(0x30, &signed.concat()), algorithm, tlv(0x03, &[0])].concat())
}

fuzz_target!(|subject: &[u8]| {
    if subject.len() > 8192 {
        return;
    }
    let der = with_subject(subject);
    let Ok(certificate) = Certificate::parse(&der) else {
        return;
    };
    let Ok(name) = certificate.common_name() else {
        assert!(certificate.check_common_name("device", None).is_err());
        return;
    };
    assert!(name.is_empty() || subject.windows(name.len()).any(|window| window == name.as_bytes()));
    assert!(certificate.check_common_name(name, None).is_ok());
    assert!(certificate.check_common_name(&format!("{name} "), None).is_err());
    if let Some((device, module)) = name.split_once('/') {
        assert!(certificate.check_common_name(device, Some(module)).is_ok());
        assert!(certificate.check_common_name(device, None).is_err());
    }
});
