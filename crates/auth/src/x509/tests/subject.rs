use proptest::prelude::*;
use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{CertificateParams, DnType, DnValue};

use super::super::{Certificate, CertificateError, verify_path};
use super::{Authority, NOW, chain, client_params, params, self_signed, tlv};

fn name_of(params: &CertificateParams) -> Result<String, CertificateError> {
    let der = self_signed(params);
    let read = Certificate::parse(&der).unwrap();
    read.common_name().map(ToOwned::to_owned)
}

#[test]
fn common_name_is_read_from_the_alphabets_with_one_meaning() {
    for value in [
        DnValue::Utf8String("dev-1".into()),
        DnValue::PrintableString(PrintableString::try_from("dev-1").unwrap()),
        DnValue::Ia5String(Ia5String::try_from("dev-1").unwrap()),
    ] {
        assert_eq!(name_of(&params(value)).as_deref(), Ok("dev-1"));
    }
    for value in [
        DnValue::TeletexString(TeletexString::try_from("dev-1").unwrap()),
        DnValue::BmpString(BmpString::try_from("dev-1").unwrap()),
        DnValue::UniversalString(UniversalString::try_from("dev-1").unwrap()),
    ] {
        assert_eq!(
            name_of(&params(value)),
            Err(CertificateError::CommonNameAlphabet)
        );
    }
}

#[test]
fn subject_must_have_one_common_name() {
    let mut none = CertificateParams::default();
    none.distinguished_name = rcgen::DistinguishedName::new();
    none.distinguished_name.push(DnType::OrganizationName, "d");
    assert_eq!(name_of(&none), Err(CertificateError::NoCommonName));
    let mut two = params("d");
    let again = DnType::CustomDnType(vec![2, 5, 4, 3]);
    two.distinguished_name.push(again, "other");
    assert_eq!(name_of(&two), Err(CertificateError::SeveralCommonNames));
    let mut with_more = params("d");
    with_more
        .distinguished_name
        .push(DnType::OrganizationName, "other");
    assert_eq!(name_of(&with_more).as_deref(), Ok("d"));
}

#[test]
fn identity_is_named_to_the_letter() {
    let root = Authority::root("root");
    let verify = |common_name: &str, identity| {
        let client = chain(&[&root.sign(&client_params(common_name))]);
        verify_path(&client, identity, &[root.trusted()], NOW).map(|_| ())
    };
    let device = ("Dev-1", None);
    assert_eq!(verify("Dev-1", device), Ok(()));
    assert_eq!(verify("Dev-1/m", ("Dev-1", Some("m"))), Ok(()));
    for (name, identity) in [
        ("dev-1", device),
        ("Dev-1 ", device),
        ("Dev-1\0", device),
        ("Dev-1\0.example", device),
        ("Dev-10", device),
        ("Dev-1/m", device),
        ("Dev-1", ("Dev-1", Some("m"))),
        ("Dev-1/M", ("Dev-1", Some("m"))),
        ("Dev-1/m/m", ("Dev-1", Some("m"))),
        ("m/Dev-1", ("Dev-1", Some("m"))),
        ("", device),
    ] {
        let refused = verify(name, identity);
        assert_eq!(refused, Err(CertificateError::OtherCommonName), "{name:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_common_name_is_it_names_itself_alone(
        name in "[ -~]{1,40}", other in "[ -~]{1,40}",
    ) {
        let der = self_signed(&params(&*name));
        let read = Certificate::parse(&der).unwrap();
        let device = read.check_common_name(&other, None).is_ok();
        prop_assert_eq!(device, name == other);
        prop_assert_eq!(read.common_name(), Ok(&*name));
    }
}

/// A certificate of version 1 whose subject is these attributes, each in a set of its own.
fn of_attributes(attributes: &[(u8, u8, Vec<u8>)]) -> Vec<u8> {
    let named = attributes.iter().map(|(kind, tag, value)| {
        let pair = [tlv(0x06, &[0x55, 0x04, *kind]), tlv(*tag, value)].concat();
        tlv(0x31, &tlv(0x30, &pair))
    });
    let subject: Vec<u8> = named.flatten().collect();
    let algorithm = tlv(0x30, &tlv(0x06, b"\x2a\x86\x48\xce\x3d\x04\x03\x02"));
    let dates = [tlv(0x17, b"260101000000Z"), tlv(0x17, b"360101000000Z")].concat();
    let key = [algorithm.clone(), tlv(0x03, &[0, 4])].concat();
    let body = [
        tlv(0x02, &[1]),
        algorithm.clone(),
        tlv(0x30, b""),
        tlv(0x30, &dates),
        tlv(0x30, &subject),
        tlv(0x30, &key),
    ];
    let whole = [tlv(0x30, &body.concat()), algorithm, tlv(0x03, &[0])];
    tlv(0x30, &whole.concat())
}

proptest! {
    #[test]
    fn common_name_is_the_only_one_there_is_in_any_subject(
        attributes in prop::collection::vec(
            // Common name and organisation; UTF-8, printable, T.61, IA5, BMP, octets.
            (
                prop::sample::select(&[3_u8, 10][..]),
                prop::sample::select(&[0x0c_u8, 0x13, 0x14, 0x16, 0x1e, 0x04][..]),
                prop::collection::vec(any::<u8>(), 0..200),
            ),
            0..4,
        ),
    ) {
        let der = of_attributes(&attributes);
        let names: Vec<_> = attributes.iter().filter(|(kind, ..)| *kind == 3).collect();
        let expected = match names[..] {
            [] => Err(CertificateError::NoCommonName),
            [(_, tag, value)] => match (tag, std::str::from_utf8(value)) {
                (0x0c | 0x13 | 0x16, Ok(text)) => Ok(text),
                _ => Err(CertificateError::CommonNameAlphabet),
            },
            _ => Err(CertificateError::SeveralCommonNames),
        };
        // What no reader takes for text may make the whole unreadable.
        if let Ok(read) = Certificate::parse(&der) {
            prop_assert_eq!(read.common_name(), expected);
        } else {
            let is_text = |(_, tag, value): &(u8, u8, Vec<u8>)| {
                *tag != 0x04 && value.is_ascii() && std::str::from_utf8(value).is_ok()
            };
            prop_assert!(!attributes.iter().all(is_text), "{:?}", attributes);
        }
    }
}
