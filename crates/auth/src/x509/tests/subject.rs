use proptest::prelude::*;
use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{CertificateParams, DnType, DnValue};

use super::super::{Certificate, CertificateError, verify_path};
use super::{Authority, NOW, chain, client_params, params, self_signed};

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
