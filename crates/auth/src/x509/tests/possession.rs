use rcgen::KeyPair;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::super::{CertificateError, prove_possession};
use super::{
    Authority, NOW, algorithms, at, ca_params, client_params, key, params, version_1, with,
};

const CODE: &str = "0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF";

#[test]
fn certificate_with_the_code_proves_the_key_of_its_signer_whatever_the_key_is() {
    for algorithm in algorithms() {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let root = Authority::root_of(ca_params("root"), key);
        for proof in [params(CODE), client_params(CODE), ca_params(CODE)] {
            let proof = root.sign(&proof);
            assert_eq!(prove_possession(&root.der, &proof, CODE, NOW), Ok(()));
        }
    }
    let root = Authority::root("root");
    let lower = root.below(ca_params("lower"));
    let proof = lower.sign(&params(CODE));
    assert_eq!(prove_possession(&lower.der, &proof, CODE, NOW), Ok(()));
}

#[test]
fn version_1_proves_as_well() {
    let root_key = key();
    let signer = KeyPair::from_pem(&root_key.serialize_pem()).unwrap();
    let root = Authority::root_of(ca_params("root"), root_key);
    let like = root.sign(&params(CODE));
    let old = version_1(&like, &signer);
    assert_eq!(prove_possession(&root.der, &old, CODE, NOW), Ok(()));
    let forged = version_1(&like, &key());
    let refused = prove_possession(&root.der, &forged, CODE, NOW);
    assert_eq!(refused, Err(CertificateError::Signature));
}

#[test]
fn nothing_else_proves_it() {
    let (root, impostor) = (Authority::root("root"), Authority::root("root"));
    let lower = root.below(ca_params("lower"));
    let other = Authority::root("other");
    let prove = |proof: &[u8]| prove_possession(&root.der, proof, CODE, NOW);
    let lowercase = root.sign(&params(CODE.to_lowercase()));
    assert_eq!(prove(&lowercase), Err(CertificateError::OtherCommonName));
    assert_eq!(prove(&root.der), Err(CertificateError::OtherCommonName));
    let by_impostor = impostor.sign(&params(CODE));
    assert_eq!(prove(&by_impostor), Err(CertificateError::Signature));
    for signer in [&lower, &other] {
        let refused = prove(&signer.sign(&params(CODE)));
        assert_eq!(refused, Err(CertificateError::UnknownAuthority));
    }
    let expired = root.sign(&with(params(CODE), |p| p.not_after = at(NOW - 1)));
    assert_eq!(prove(&expired), Err(CertificateError::Expired));
    let good = root.sign(&params(CODE));
    // What stands behind the signed part is not signed: forms of the algorithm's name may differ.
    let (_, read) = X509Certificate::from_der(&good).unwrap();
    let signed = read.tbs_certificate.as_ref().len();
    for changed in 0..signed {
        let mut bent = good.to_vec();
        bent[changed] ^= 1;
        assert!(prove(&bent).is_err(), "byte {changed} of {signed}");
    }
    assert_eq!(prove(&good), Ok(()));
    assert_eq!(prove(b""), Err(CertificateError::Unreadable));
}
