//! Which certificate a client is shown, by name and by time.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client};

use super::{soon, tcp_pair};
use crate::tls::{
    CertificateFiles, ClientCertificates, HandshakeLimit, ServerCertificates, TlsAcceptor,
    TlsStream, fold_host_name,
};

/// Whom the server is, is what these tests ask; they believe it.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn connector(version: &'static SupportedProtocolVersion) -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(8);
    TlsConnector::from(Arc::new(config))
}

/// A folder with the files of certificates.
struct Folder(TempDir);

/// A certificate that was made.
struct Made {
    der: CertificateDer<'static>,
    pem: String,
    key_pem: String,
}

fn made() -> Made {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    Made {
        der: certificate.der().clone(),
        pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    }
}

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a new certificate over the files called `name`.
    fn renew(&self, name: &str) -> CertificateDer<'static> {
        let made = made();
        fs::write(self.path(&format!("{name}.pem")), made.pem).unwrap();
        fs::write(self.path(&format!("{name}.key")), made.key_pem).unwrap();
        made.der
    }

    fn files(&self, name: &str, host_names: &[&str]) -> CertificateFiles {
        CertificateFiles {
            host_names: host_names.iter().map(|&name| name.to_owned()).collect(),
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }
}

fn acceptor(certificates: &Arc<ServerCertificates>) -> TlsAcceptor {
    let limit = HandshakeLimit::default();
    TlsAcceptor::over(certificates, &[], ClientCertificates::Requested, limit).unwrap()
}

/// Both ends of a connection for `name`, over which a byte went each way.
async fn connect(
    acceptor: &TlsAcceptor,
    connector: &TlsConnector,
    name: &'static str,
) -> (client::TlsStream<TcpStream>, TlsStream<TcpStream>) {
    let (near, far) = tcp_pair().await;
    let name = ServerName::try_from(name).unwrap();
    let (near, far) = tokio::join!(connector.connect(name, near), acceptor.accept(far, soon()));
    let (mut near, mut far) = (near.unwrap(), far.unwrap());
    exchange(&mut near, &mut far).await;
    (near, far)
}

async fn exchange(near: &mut client::TlsStream<TcpStream>, far: &mut TlsStream<TcpStream>) {
    near.write_all(&[1]).await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), 1);
    far.write_all(&[2]).await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), 2);
}

/// The certificate a new client is shown for `name`.
async fn shown(acceptor: &TlsAcceptor, name: &'static str) -> CertificateDer<'static> {
    let (near, _far) = connect(acceptor, &connector(&TLS13), name).await;
    near.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let folder = Folder::new();
    let (first, north, south) = (folder.renew("first"), folder.renew("n"), folder.renew("s"));
    let certificates = ServerCertificates::load(
        &folder.files("first", &["hub.example", "shared.example"]),
        &[
            folder.files("n", &["North.Example", "n.example."]),
            folder.files("s", &["south.example", "n.example", "shared.example"]),
        ],
    );
    let acceptor = acceptor(&Arc::new(certificates.unwrap()));
    for (name, expected) in [
        ("hub.example", &first),
        ("north.example", &north),
        ("NORTH.example", &north),
        ("n.example", &north),
        ("south.example", &south),
        ("shared.example", &first),
        ("unknown.example", &first),
        ("127.0.0.1", &first),
    ] {
        assert_eq!(&shown(&acceptor, name).await, expected, "{name}");
    }
}

#[tokio::test]
async fn the_dot_that_ends_a_whole_name_changes_nothing() {
    assert_eq!(fold_host_name("North.Example."), "north.example");
    assert_eq!(fold_host_name("north.example"), "north.example");
    let folder = Folder::new();
    folder.renew("first");
    let north = folder.renew("n");
    let further = [folder.files("n", &["north.example"])];
    let certificates = ServerCertificates::load(&folder.files("first", &[]), &further);
    let acceptor = acceptor(&Arc::new(certificates.unwrap()));
    // The client at hand leaves the dot away, so it is put there for it; what the server answers is in the clear.
    let config = Arc::clone(connector(&TLS12).config());
    let name = ServerName::try_from("north.example_").unwrap();
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let at = hello.windows(14).position(|part| part == b"north.example_");
    hello[at.unwrap() + 13] = b'.';
    let (mut near, far) = tcp_pair().await;
    near.write_all(&hello).await.unwrap();
    let reading = async {
        let mut answer = Vec::new();
        while !contains(&answer, &north) {
            assert_ne!(near.read_buf(&mut answer).await.unwrap(), 0, "not shown");
        }
    };
    tokio::select! {
        () = reading => {}
        ended = acceptor.accept(far, soon()) => panic!("{ended:?}"),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn new_files_serve_new_handshakes_and_old_connections_and_tickets_go_on() {
    for version in [&TLS12, &TLS13] {
        let folder = Folder::new();
        let old = folder.renew("first");
        let certificates = ServerCertificates::load(&folder.files("first", &[]), &[]).unwrap();
        let certificates = Arc::new(certificates);
        let acceptor = acceptor(&certificates);
        let returning = connector(version);
        let (mut near, mut far) = connect(&acceptor, &returning, "hub.example").await;
        assert!(certificates.look_again().is_empty(), "nothing has changed");

        let new = folder.renew("first");
        assert_eq!(shown(&acceptor, "hub.example").await, old, "not looked yet");
        let looks = certificates.look_again();
        assert_eq!(looks.len(), 1);
        assert_eq!(looks[0].certificate, folder.path("first.pem"));
        looks[0].outcome.as_ref().unwrap();
        assert!(certificates.look_again().is_empty(), "told once");

        assert_eq!(shown(&acceptor, "hub.example").await, new);
        exchange(&mut near, &mut far).await;
        let (near, _far) = connect(&acceptor, &returning, "hub.example").await;
        let kind = near.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?}");
    }
}

#[tokio::test]
async fn a_pair_that_does_not_fit_leaves_the_old_one_and_is_told_once() {
    let folder = Folder::new();
    let old = folder.renew("first");
    let certificates = ServerCertificates::load(&folder.files("first", &[]), &[]).unwrap();
    let certificates = Arc::new(certificates);
    let acceptor = acceptor(&certificates);
    let new = made();
    let (chain, key) = (folder.path("first.pem"), folder.path("first.key"));
    let refusals: [&dyn Fn(); 4] = [
        &|| fs::write(&chain, &new.pem).unwrap(),
        &|| fs::write(&chain, "no certificate").unwrap(),
        &|| fs::write(&chain, vec![b'x'; 2 * 1024 * 1024]).unwrap(),
        &|| fs::remove_file(&key).unwrap(),
    ];
    for (index, spoil) in refusals.iter().enumerate() {
        spoil();
        let looks = certificates.look_again();
        // The last two are one trouble: the files cannot be read.
        assert_eq!(looks.len(), usize::from(index != 3), "{index}");
        assert!(looks.iter().all(|look| look.outcome.is_err()), "{index}");
        assert!(certificates.look_again().is_empty(), "{index}: told once");
        assert_eq!(shown(&acceptor, "hub.example").await, old, "{index}");
    }
    fs::write(&chain, &new.pem).unwrap();
    fs::write(&key, &new.key_pem).unwrap();
    let looks = certificates.look_again();
    assert!(looks.len() == 1 && looks[0].outcome.is_ok(), "{looks:?}");
    assert_eq!(shown(&acceptor, "hub.example").await, new.der);
}

#[cfg(unix)]
#[tokio::test]
async fn links_that_are_exchanged_as_a_whole_are_seen() {
    use std::os::unix::fs::symlink;

    // As an orchestrator mounts secrets: files link into `..data`, which links to a folder of one version.
    let folder = Folder::new();
    let write = |version: &str| {
        fs::create_dir(folder.path(version)).unwrap();
        folder.renew(&format!("{version}/first"))
    };
    let old = write("v1");
    symlink("v1", folder.path("..data")).unwrap();
    for name in ["first.pem", "first.key"] {
        symlink(format!("..data/{name}"), folder.path(name)).unwrap();
    }
    let certificates = ServerCertificates::load(&folder.files("first", &[]), &[]).unwrap();
    let certificates = Arc::new(certificates);
    let acceptor = acceptor(&certificates);
    assert_eq!(shown(&acceptor, "hub.example").await, old);
    let new = write("v2");
    symlink("v2", folder.path("..data_new")).unwrap();
    fs::rename(folder.path("..data_new"), folder.path("..data")).unwrap();
    assert_eq!(certificates.look_again().len(), 1);
    assert_eq!(shown(&acceptor, "hub.example").await, new);
}

#[test]
fn a_certificate_that_cannot_be_loaded_is_named_by_its_place() {
    let folder = Folder::new();
    folder.renew("first");
    let missing = folder.files("missing", &["north.example"]);
    let first = folder.files("first", &[]);
    let refused = ServerCertificates::load(&first, &[first.clone(), missing.clone()]);
    assert_eq!(refused.unwrap_err().0, 2);
    assert_eq!(ServerCertificates::load(&missing, &[]).unwrap_err().0, 0);
}

#[test]
fn the_first_end_of_all_certificates_is_known() {
    let folder = Folder::new();
    let write = |name: &str, year| {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(folder.path(&format!("{name}.pem")), pem).unwrap();
        fs::write(folder.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    write("first", 2040);
    write("n", 2035);
    let certificates = ServerCertificates::load(
        &folder.files("first", &[]),
        &[folder.files("n", &["north.example"])],
    );
    let certificates = certificates.unwrap();
    assert_eq!(certificates.first_end(), Some(2_051_222_400));
    write("n", 2050);
    assert_eq!(certificates.look_again().len(), 1);
    assert_eq!(certificates.first_end(), Some(2_208_988_800));
}
