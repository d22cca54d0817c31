use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::pem::Pem;

use super::{DevCertificateError, Issued, ensure};

/// 2026-01-01.
const NOW: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Checks the stored server certificate as a client that trusts only the stored authority would.
fn verify(folder: &Path, name: &str, at: i64) -> Result<(), rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap())
        .unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let verifier =
        rustls::client::WebPkiServerVerifier::builder_with_provider(roots.into(), provider.into())
            .build()
            .unwrap();
    let leaf = CertificateDer::from_pem_file(folder.join("server.pem")).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.try_into().unwrap()));
    rustls::client::danger::ServerCertVerifier::verify_server_cert(
        &*verifier,
        &leaf,
        &[],
        &name,
        &[],
        at,
    )
    .map(|_| ())
}

fn text(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap()
}

#[test]
fn first_certificate_verifies_for_every_name_under_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let made = ensure(
        folder.path(),
        &names(&["Hub.Downlink.Test", "10.1.2.3"]),
        NOW,
    )
    .unwrap();
    assert_eq!(made.issued, Issued::AuthorityAndServer);
    assert_eq!(made.ca_file, folder.path().join("ca.pem"));
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "hub.downlink.test",
        "10.1.2.3",
    ] {
        verify(folder.path(), name, NOW).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    verify(folder.path(), "localhost", NOW + 364 * DAY).unwrap();
    verify(folder.path(), "localhost", NOW + 366 * DAY).unwrap_err();
    verify(folder.path(), "other.test", NOW).unwrap_err();
}

#[test]
fn extensions_are_those_strict_verifiers_ask_for() {
    let folder = tempfile::tempdir().unwrap();
    ensure(folder.path(), &[], NOW).unwrap();
    let parse = |file| {
        let bytes = fs::read(folder.path().join(file)).unwrap();
        Pem::iter_from_buffer(&bytes).next().unwrap().unwrap()
    };
    let (ca, server) = (parse("ca.pem"), parse("server.pem"));
    let (ca, server) = (ca.parse_x509().unwrap(), server.parse_x509().unwrap());

    let constraints = ca.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = ca.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert_eq!(ca.validity().not_after.timestamp(), NOW + 3_650 * DAY);

    assert!(!server.basic_constraints().unwrap().unwrap().value.ca);
    let usage = server.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && !usage.value.key_cert_sign());
    assert!(
        server
            .extended_key_usage()
            .unwrap()
            .unwrap()
            .value
            .server_auth
    );
    let identifiers: BTreeSet<String> = server
        .extensions()
        .iter()
        .map(|extension| extension.oid.to_id_string())
        .collect();
    for oid in ["2.5.29.14", "2.5.29.17", "2.5.29.35"] {
        assert!(identifiers.contains(oid), "{oid} is missing");
    }
}

#[test]
fn second_start_keeps_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["ca.pem", "ca.key", "server.pem", "server.key"];
    ensure(folder.path(), &names(&["hub.test"]), NOW).unwrap();
    let before = files.map(|file| text(folder.path(), file));
    let again = ensure(folder.path(), &names(&["hub.test"]), NOW + 100 * DAY).unwrap();
    assert_eq!(again.issued, Issued::Nothing);
    let fewer = ensure(folder.path(), &[], NOW + 100 * DAY).unwrap();
    assert_eq!(
        fewer.issued,
        Issued::Nothing,
        "more names than asked for do no harm"
    );
    assert_eq!(files.map(|file| text(folder.path(), file)), before);
}

#[test]
fn added_name_is_signed_by_the_same_authority_and_old_names_stay() {
    let folder = tempfile::tempdir().unwrap();
    ensure(folder.path(), &names(&["first.test"]), NOW).unwrap();
    let authority = text(folder.path(), "ca.pem");
    let made = ensure(folder.path(), &names(&["second.test"]), NOW).unwrap();
    assert_eq!(made.issued, Issued::Server);
    assert_eq!(text(folder.path(), "ca.pem"), authority);
    for name in ["first.test", "second.test", "::1"] {
        verify(folder.path(), name, NOW).unwrap();
    }
}

#[test]
fn server_certificate_is_renewed_before_its_end_with_its_names() {
    let folder = tempfile::tempdir().unwrap();
    ensure(folder.path(), &names(&["hub.test"]), NOW).unwrap();
    let later = NOW + 340 * DAY;
    assert_eq!(
        ensure(folder.path(), &[], later).unwrap().issued,
        Issued::Server
    );
    verify(folder.path(), "hub.test", later + 300 * DAY).unwrap();
}

#[test]
fn authority_near_its_end_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    ensure(folder.path(), &[], NOW).unwrap();
    let later = NOW + 3_640 * DAY;
    assert_eq!(
        ensure(folder.path(), &[], later).unwrap().issued,
        Issued::AuthorityAndServer
    );
    verify(folder.path(), "localhost", later).unwrap();
}

#[test]
fn damaged_or_foreign_files_are_replaced() {
    for (file, issued) in [
        ("ca.pem", Issued::AuthorityAndServer),
        ("server.pem", Issued::Server),
        ("server.key", Issued::Server),
    ] {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path(), &[], NOW).unwrap();
        fs::write(folder.path().join(file), "not pem").unwrap();
        assert_eq!(
            ensure(folder.path(), &[], NOW).unwrap().issued,
            issued,
            "{file}"
        );
        verify(folder.path(), "localhost", NOW).unwrap();

        let other = tempfile::tempdir().unwrap();
        ensure(other.path(), &[], NOW).unwrap();
        fs::copy(other.path().join(file), folder.path().join(file)).unwrap();
        ensure(folder.path(), &[], NOW).unwrap();
        verify(folder.path(), "localhost", NOW).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

#[test]
fn authority_without_its_key_serves_until_it_must_sign() {
    let folder = tempfile::tempdir().unwrap();
    ensure(folder.path(), &[], NOW).unwrap();
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    assert_eq!(
        ensure(folder.path(), &[], NOW).unwrap().issued,
        Issued::Nothing
    );
    let made = ensure(folder.path(), &names(&["new.test"]), NOW).unwrap();
    assert_eq!(made.issued, Issued::AuthorityAndServer);
    verify(folder.path(), "new.test", NOW).unwrap();
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    ensure(&folder.path().join("made/on/demand"), &[], NOW).unwrap();
    for file in ["ca.key", "server.key"] {
        let metadata = fs::metadata(folder.path().join("made/on/demand").join(file)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{file}");
    }
}

#[test]
fn names_that_cannot_be_in_a_certificate_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let long = "a".repeat(64);
    for name in ["", "a b", "-a", "a..b", "höb.test", "a/b", "a.*.b", &long] {
        let error = ensure(folder.path(), &names(&[name]), NOW).unwrap_err();
        assert!(
            matches!(error, DevCertificateError::BadName { .. }),
            "{name}: {error}"
        );
    }
    let many: Vec<String> = (0..100).map(|index| format!("h{index}.test")).collect();
    let error = ensure(folder.path(), &many, NOW).unwrap_err();
    assert!(matches!(
        error,
        DevCertificateError::TooManyNames { count: 103 }
    ));
    assert!(
        fs::read_dir(folder.path()).unwrap().next().is_none(),
        "nothing was written"
    );
}
