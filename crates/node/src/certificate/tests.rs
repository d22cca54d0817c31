use std::fs;
use std::path::Path;

use downlink_config::sections::FurtherHub;

use super::*;

#[test]
fn a_certificate_that_cannot_be_read_is_told_with_its_settings() {
    let mut config = Config::default();
    config.tls.certificate_file = Some("/nowhere/chain.pem".into());
    config.tls.key_file = Some("/nowhere/key.pem".into());
    let refused = Certificates::load(&config, Path::new("/nowhere"), 0);
    let told = format!("{:#}", refused.unwrap_err());
    assert!(told.starts_with("tls.certificate_file"), "{told}");
    assert!(
        told.contains("/nowhere/chain.pem") && told.lines().count() == 1,
        "{told}"
    );
}

#[test]
fn a_further_hub_is_told_with_its_own_settings() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    // One with the common certificate, one with its own, which is not there.
    for label in ["a", "b"] {
        let mut hub = FurtherHub {
            host_name: format!("{label}.example"),
            ..FurtherHub::default()
        };
        if label == "b" {
            hub.certificate_file = Some("/nowhere/b.pem".into());
            hub.key_file = Some("/nowhere/b.key".into());
        }
        config.hub.further.insert(label.to_owned(), hub);
    }
    let refused = Certificates::load(&config, folder.path(), 1_800_000_000);
    let told = format!("{:#}", refused.unwrap_err());
    assert!(told.starts_with("hub.further.b.certificate_file"), "{told}");
    assert!(told.contains("/nowhere/b.pem"), "{told}");
}

#[test]
fn the_development_certificate_holds_the_names_of_every_hub() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    let hub = FurtherHub {
        host_name: "north.example".to_owned(),
        ..FurtherHub::default()
    };
    config.hub.further.insert("north".to_owned(), hub);
    let made = Certificate::find(&config, folder.path(), 1_800_000_000).unwrap();
    let pem = fs::read(made.chain).unwrap();
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(&pem);
    let der: rustls_pki_types::CertificateDer<'_> = der.unwrap();
    let name = b"north.example";
    assert!(der.windows(name.len()).any(|part| part == name));
}
