use rcgen::ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls_pki_types::CertificateDer;

use super::super::{Anchored, CertificateError, TrustedAuthority, verify_path};
use super::{
    Authority, DIES, NOW, algorithms, at, ca_params, chain, client_params, key, params,
    self_signed, version_1, with,
};

fn verify(
    certificates: &[&CertificateDer<'static>],
    trusted: &[TrustedAuthority<'_>],
) -> Result<Anchored, CertificateError> {
    verify_path(&chain(certificates), ("d", None), trusted, NOW)
}

const BY_THE_FIRST: Result<Anchored, CertificateError> = Ok(Anchored {
    authority: 0,
    not_after_seconds: DIES,
});

#[test]
fn device_of_an_authority_is_believed_whatever_the_keys_are() {
    for of_authority in algorithms() {
        let key = KeyPair::generate_for(of_authority).unwrap();
        let root = Authority::root_of(ca_params("root"), key);
        for of_device in algorithms() {
            let key = KeyPair::generate_for(of_device).unwrap();
            let signed = client_params("d").signed_by(&key, &root.issuer).unwrap();
            assert_eq!(verify(&[signed.der()], &[root.trusted()]), BY_THE_FIRST);
        }
    }
}

#[test]
fn usage_is_for_clients_or_for_anything() {
    let root = Authority::root("root");
    let with = |usages: &[ExtendedKeyUsagePurpose]| {
        let params = with(params("d"), |p| p.extended_key_usages = usages.to_vec());
        verify(&[&root.sign(&params)], &[root.trusted()])
    };
    assert_eq!(with(&[]), BY_THE_FIRST);
    assert_eq!(with(&[ServerAuth, ClientAuth]), BY_THE_FIRST);
    assert_eq!(with(&[ServerAuth]), Err(CertificateError::Usage));
}

#[test]
fn intermediates_are_found_in_any_order_and_the_root_may_come_along() {
    let root = Authority::root("root");
    let upper = root.below(ca_params("upper"));
    let lower = upper.below(ca_params("lower"));
    let leaf = lower.sign(&client_params("d"));
    let trusted = [root.trusted()];
    for certificates in [
        &[&leaf, &lower.der, &upper.der][..],
        &[&leaf, &upper.der, &lower.der],
        &[&leaf, &lower.der, &upper.der, &root.der],
    ] {
        assert_eq!(verify(certificates, &trusted), BY_THE_FIRST);
    }
    let refused = verify(&[&leaf, &upper.der], &trusted);
    assert_eq!(refused, Err(CertificateError::UnknownAuthority));
    // An intermediate may be registered itself, with or without the root.
    assert_eq!(verify(&[&leaf], &[lower.trusted()]), BY_THE_FIRST);
    let below_upper = verify(&[&leaf, &lower.der], &[upper.trusted()]);
    assert_eq!(below_upper, BY_THE_FIRST);
}

#[test]
fn answer_names_the_authority_and_the_first_end_of_life() {
    let (other, root) = (Authority::root("other"), Authority::root("root"));
    let lower = root.below(with(ca_params("lower"), |p| p.not_after = at(NOW + 50)));
    let leaf = lower.sign(&with(client_params("d"), |p| p.not_after = at(NOW + 70)));
    let ends = |root_ends| {
        let root = TrustedAuthority {
            not_after_seconds: root_ends,
            ..root.trusted()
        };
        let found = verify(&[&leaf, &lower.der], &[other.trusted(), root]).unwrap();
        assert_eq!(found.authority, 1);
        found.not_after_seconds
    };
    assert_eq!((ends(NOW + 60), ends(NOW + 40)), (NOW + 50, NOW + 40));
}

#[test]
fn dates_count_along_the_whole_path() {
    let root = Authority::root("root");
    let expired = |params| with(params, |p| p.not_after = at(NOW - 1));
    let unborn = |params| with(params, |p| p.not_before = at(NOW + 1));
    let of_leaf = |params| verify(&[&root.sign(&params)], &[root.trusted()]);
    let expired_leaf = of_leaf(expired(client_params("d")));
    assert_eq!(expired_leaf, Err(CertificateError::Expired));
    let unborn_leaf = of_leaf(unborn(client_params("d")));
    assert_eq!(unborn_leaf, Err(CertificateError::NotYetValid));
    for lower in [expired(ca_params("lower")), unborn(ca_params("lower"))] {
        let lower = root.below(lower);
        let leaf = lower.sign(&client_params("d"));
        let refused = verify(&[&leaf, &lower.der], &[root.trusted()]);
        assert_eq!(refused, Err(CertificateError::PathDates));
    }
}

#[test]
fn name_of_an_authority_is_not_its_key() {
    let (root, impostor) = (Authority::root("root"), Authority::root("root"));
    let leaf = impostor.sign(&client_params("d"));
    let refused = verify(&[&leaf], &[root.trusted()]);
    assert_eq!(refused, Err(CertificateError::Signature));
    let refused = verify(&[&leaf, &impostor.der], &[root.trusted()]);
    assert_eq!(refused, Err(CertificateError::Signature));
    // Both registered, each speaks for its own.
    let both = [root.trusted(), impostor.trusted()];
    assert_eq!(verify(&[&leaf], &both).unwrap().authority, 1);
    let leaf = root.sign(&client_params("d"));
    assert_eq!(verify(&[&leaf], &both).unwrap().authority, 0);
}

#[test]
fn renewed_authority_counts_where_its_older_certificate_does_too() {
    let root_key = key();
    let pem = root_key.serialize_pem();
    let older = Authority::root_of(ca_params("root"), root_key);
    let params = with(ca_params("root"), |p| p.not_after = at(DIES + 500));
    let newer = Authority::root_of(params, KeyPair::from_pem(&pem).unwrap());
    let newer = TrustedAuthority {
        not_after_seconds: DIES + 500,
        ..newer.trusted()
    };
    let leaf = older.sign(&client_params("d"));
    let found = verify(&[&leaf], &[older.trusted(), newer]).unwrap();
    assert_eq!((found.authority, found.not_after_seconds), (1, DIES));
}

#[test]
fn nobody_signs_for_an_authority_without_being_one() {
    let root = Authority::root("root");
    let trusted = [root.trusted()];
    let self_made = self_signed(&client_params("d"));
    let refused = verify(&[&self_made], &trusted);
    assert_eq!(refused, Err(CertificateError::UnknownAuthority));
    // A device's certificate above another.
    let device = root.below(client_params("device"));
    let leaf = device.sign(&client_params("d"));
    let refused = verify(&[&leaf, &device.der], &trusted);
    assert_eq!(refused, Err(CertificateError::NotAnAuthority));
    // An authority's certificate without the usage.
    let lower = root.below(with(ca_params("lower"), |p| {
        p.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    }));
    let leaf = lower.sign(&client_params("d"));
    let refused = verify(&[&leaf, &lower.der], &trusted);
    assert_eq!(refused, Err(CertificateError::NotAnAuthority));
    // An authority's certificate in the place of a device's.
    let refused = verify(&[&root.sign(&ca_params("d"))], &trusted);
    assert_eq!(refused, Err(CertificateError::AuthorityAsDevice));
    assert_eq!(
        verify(&[&root.sign(&client_params("d"))], &[]),
        Err(CertificateError::UnknownAuthority)
    );
}

#[test]
fn length_of_a_path_is_bounded_by_its_authorities() {
    let limited = |most| {
        with(ca_params("limited"), |p| {
            p.is_ca = IsCa::Ca(BasicConstraints::Constrained(most));
        })
    };
    let beyond =
        |limited: &Authority, trusted: &Authority, between: &[&CertificateDer<'static>]| {
            let lower = limited.below(ca_params("lower"));
            let leaf = lower.sign(&client_params("d"));
            let certificates = [&[&leaf, &lower.der][..], between].concat();
            verify(&certificates, &[trusted.trusted()])
        };
    // Registered with the bound.
    let root = Authority::root_of(limited(0), key());
    assert_eq!(beyond(&root, &root, &[]), Err(CertificateError::PathLength));
    assert_eq!(
        verify(&[&root.sign(&client_params("d"))], &[root.trusted()]),
        BY_THE_FIRST
    );
    let root = Authority::root_of(limited(1), key());
    assert_eq!(beyond(&root, &root, &[]), BY_THE_FIRST);
    // The bound further down.
    let root = Authority::root("root");
    let upper = root.below(limited(0));
    let refused = beyond(&upper, &root, &[&upper.der]);
    assert_eq!(refused, Err(CertificateError::PathLength));
}

#[test]
fn six_intermediates_are_a_path_and_seven_are_none() {
    let root = Authority::root("root");
    let mut line = vec![root.below(ca_params("0"))];
    for level in 1..8 {
        let next = line.last().unwrap().below(ca_params(&level.to_string()));
        line.push(next);
    }
    let through = |count: usize| {
        let leaf = line[count - 1].sign(&client_params("d"));
        let above = line[..count].iter().rev().map(|authority| &authority.der);
        let certificates: Vec<_> = std::iter::once(&leaf).chain(above).collect();
        verify(&certificates, &[root.trusted()])
    };
    assert_eq!(through(6), BY_THE_FIRST);
    assert_eq!(through(7), Err(CertificateError::PathLength));
    assert!(through(8).is_err());
}

#[test]
fn version_1_builds_no_path() {
    let (root_key, root) = (key(), ca_params("root"));
    let pem = root_key.serialize_pem();
    let like = client_params("d");
    let issuer = Issuer::new(root.clone(), KeyPair::from_pem(&pem).unwrap());
    let like = like.signed_by(&key(), &issuer).unwrap();
    let old = version_1(like.der(), &KeyPair::from_pem(&pem).unwrap());
    let root = Authority::root_of(root, root_key);
    assert_eq!(
        verify(&[&old], &[root.trusted()]),
        Err(CertificateError::Form)
    );
    assert_eq!(verify(&[like.der()], &[root.trusted()]), BY_THE_FIRST);
}

#[test]
fn unknown_critical_extension_builds_no_path() {
    let root = Authority::root("root");
    let mut unknown = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    unknown.set_criticality(true);
    let params = with(client_params("d"), |p| p.custom_extensions = vec![unknown]);
    let refused = verify(&[&root.sign(&params)], &[root.trusted()]);
    assert_eq!(refused, Err(CertificateError::Form));
}
