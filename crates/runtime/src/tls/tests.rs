use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{
    ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::{
    ClientCertificates, HandshakeError, HandshakeLimit, TlsAcceptor, TlsError, TlsIdentity,
};
use crate::dev_certificate;

mod certificates;
mod client_certificates;

struct Site {
    folder: TempDir,
    identity: TlsIdentity,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = rustls_pki_types::UnixTime::now()
            .as_secs()
            .try_into()
            .unwrap();
        let files = dev_certificate::ensure(folder.path(), &[], now).unwrap();
        let identity =
            TlsIdentity::from_pem_files(&files.certificate_file, &files.key_file).unwrap();
        Self { folder, identity }
    }

    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.folder.path().join("ca.pem")).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(8);
        TlsConnector::from(Arc::new(config))
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

type Facts = (
    Option<ProtocolVersion>,
    Option<Vec<u8>>,
    Option<HandshakeKind>,
);

/// Connects, echoes one byte both ways, and reports version, protocol and kind of handshake as the client saw them.
async fn round_trip(
    acceptor: &TlsAcceptor,
    client: &TlsConnector,
) -> std::io::Result<(
    Option<ProtocolVersion>,
    Option<Vec<u8>>,
    Option<HandshakeKind>,
)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let tcp = TcpStream::connect(listener.local_addr()?).await?;
    let server = async {
        let (tcp, _) = listener.accept().await?;
        let mut stream = acceptor
            .accept(tcp, soon())
            .await
            .map_err(std::io::Error::other)?;
        let byte = stream.read_u8().await?;
        stream.write_all(&[byte]).await?;
        stream.shutdown().await
    };
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = client.connect(name, tcp).await?;
        stream.write_all(&[42]).await?;
        assert_eq!(stream.read_u8().await?, 42);
        let (_, connection) = stream.get_ref();
        Ok::<Facts, std::io::Error>((
            connection.protocol_version(),
            connection.alpn_protocol().map(<[u8]>::to_vec),
            connection.handshake_kind(),
        ))
    };
    let (server, client) = tokio::join!(server, client);
    let facts = client?;
    server?;
    Ok(facts)
}

#[tokio::test]
async fn both_versions_are_spoken_and_sessions_resume() {
    let site = Site::new();
    let acceptor = TlsAcceptor::new(
        &site.identity,
        &[],
        ClientCertificates::Requested,
        HandshakeLimit::default(),
    )
    .unwrap();
    for (version, number) in [
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
    ] {
        let client = site.client(&[version], &[]);
        let (spoken, _, kind) = round_trip(&acceptor, &client).await.unwrap();
        assert_eq!(spoken, Some(number));
        assert_ne!(kind, Some(HandshakeKind::Resumed));
        let (_, _, kind) = round_trip(&acceptor, &client).await.unwrap();
        assert_eq!(kind, Some(HandshakeKind::Resumed), "{number:?}");
    }
}

/// Acceptor, what the client offers, what is agreed.
type AlpnCase<'a> = (&'a TlsAcceptor, &'a [&'a [u8]], Option<&'a [u8]>);

#[tokio::test]
async fn alpn_is_agreed_per_listener() {
    let site = Site::new();
    let https = TlsAcceptor::new(
        &site.identity,
        &[b"h2", b"http/1.1"],
        ClientCertificates::Requested,
        HandshakeLimit::default(),
    )
    .unwrap();
    let mqtts = TlsAcceptor::new(
        &site.identity,
        &[],
        ClientCertificates::Requested,
        HandshakeLimit::default(),
    )
    .unwrap();
    let versions: &[_] = &[&rustls::version::TLS13];
    let cases: [AlpnCase<'_>; 4] = [
        (&https, &[b"http/1.1"], Some(b"http/1.1")),
        (&https, &[b"http/1.1", b"h2"], Some(b"h2")),
        (&https, &[], None),
        (&mqtts, &[b"mqtt"], None),
    ];
    for (acceptor, offered, agreed) in cases {
        let (_, alpn, _) = round_trip(acceptor, &site.client(versions, offered))
            .await
            .unwrap();
        assert_eq!(alpn.as_deref(), agreed, "{offered:?}");
    }
    round_trip(&https, &site.client(versions, &[b"smtp"]))
        .await
        .expect_err("nothing in common");
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

#[tokio::test]
async fn silent_peers_are_closed_at_the_deadline_and_hold_nobody_up() {
    let site = Site::new();
    let limit = HandshakeLimit::new(1, Duration::from_secs(5));
    let acceptor =
        TlsAcceptor::new(&site.identity, &[], ClientCertificates::Requested, limit).unwrap();
    let (mut client, server) = tcp_pair().await;
    let deadline = Instant::now() + Duration::from_millis(200);
    let silent = acceptor.accept(server, deadline);
    tokio::pin!(silent);
    tokio::select! {
        biased;
        _ = &mut silent => panic!("nothing was sent"),
        () = std::future::ready(()) => {}
    }
    round_trip(&acceptor, &site.client(&[&rustls::version::TLS13], &[]))
        .await
        .unwrap();
    assert!(matches!(silent.await, Err(HandshakeError::TimedOut)));
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "closed");
}

#[tokio::test]
async fn peer_that_falls_silent_in_its_handshake_gives_its_place_back() {
    let site = Site::new();
    let limit = HandshakeLimit::new(1, Duration::from_millis(100));
    let acceptor =
        TlsAcceptor::new(&site.identity, &[], ClientCertificates::Requested, limit).unwrap();
    let (mut client, server) = tcp_pair().await;
    client.write_all(&client_hello(&site)).await.unwrap();
    let stuck = acceptor.accept(server, soon());
    let other = site.client(&[&rustls::version::TLS13], &[]);
    let (stuck, other) = tokio::join!(stuck, round_trip(&acceptor, &other));
    assert!(matches!(stuck, Err(HandshakeError::TimedOut)), "{stuck:?}");
    other.unwrap();
}

#[tokio::test]
async fn peer_that_drips_its_answer_gives_its_place_back_as_soon() {
    let site = Site::new();
    let answer_timeout = Duration::from_millis(300);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let limit = HandshakeLimit::new(1, answer_timeout);
        let clients = ClientCertificates::Requested;
        let acceptor = TlsAcceptor::new(&site.identity, &[], clients, limit).unwrap();
        let (mut client, server) = tcp_pair().await;
        let config = Arc::clone(site.client(&[version], &[]).config());
        let name = ServerName::try_from("localhost").unwrap();
        let mut machine = rustls::ClientConnection::new(config, name).unwrap();
        let mut flight = Vec::new();
        machine.write_tls(&mut flight).unwrap();
        // The server's answer is read, so that the rest is the client's to send: certificate and all.
        let dripping = async {
            client.write_all(&flight).await.unwrap();
            flight.clear();
            while !machine.wants_write() {
                let mut answer = Vec::new();
                client.read_buf(&mut answer).await.unwrap();
                machine.read_tls(&mut &answer[..]).unwrap();
                machine.process_new_packets().unwrap();
            }
            machine.write_tls(&mut flight).unwrap();
            let mut pace = tokio::time::interval(answer_timeout / 6);
            for byte in &flight[..flight.len() - 1] {
                pace.tick().await;
                if client.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        };
        let begun = Instant::now();
        let stuck = async {
            let stuck = acceptor.accept(server, soon()).await;
            (stuck, begun.elapsed())
        };
        let other = site.client(&[version], &[]);
        let other = async {
            let other = round_trip(&acceptor, &other).await;
            other.unwrap();
        };
        let ((stuck, after), (), ()) = tokio::join!(stuck, dripping, other);
        assert!(matches!(stuck, Err(HandshakeError::TimedOut)), "{stuck:?}");
        assert!(after < answer_timeout * 10, "{after:?}");
    }
}

fn client_hello(site: &Site) -> Vec<u8> {
    let config = Arc::clone(site.client(&[&rustls::version::TLS13], &[]).config());
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn garbage_is_refused_at_once() {
    let site = Site::new();
    let acceptor = TlsAcceptor::new(
        &site.identity,
        &[],
        ClientCertificates::Requested,
        HandshakeLimit::default(),
    )
    .unwrap();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3],
        &[0; 64],
    ] {
        let (mut client, server) = tcp_pair().await;
        client.write_all(garbage).await.unwrap();
        client.shutdown().await.unwrap();
        let refused = acceptor.accept(server, soon()).await;
        assert!(
            matches!(refused, Err(HandshakeError::Failed(_))),
            "{garbage:?}: {refused:?}"
        );
    }
}

/// A `ClientHello` of `version`, by its number alone (RFC 4346 7.4.1.2, RFC 5246 7.4.1.2). It offers what the clients of old
/// had, and with it all that TLS 1.2 needs.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let suites = [
        0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x09, 0xc0, 0x13, 0x00, 0x2f, 0x00, 0x35,
    ];
    let groups = [0, 10, 0, 6, 0, 4, 0, 23, 0, 29];
    let formats = [0, 11, 0, 2, 1, 0];
    let signatures = [0, 13, 0, 6, 0, 4, 4, 3, 4, 1];
    let extensions = [&groups[..], &formats, &signatures].concat();
    let count = u8::try_from(extensions.len()).unwrap();
    let hello = [&version[..], &[7; 32], &[0], &[0, 12], &suites, &[1, 0]];
    let hello = [&hello.concat()[..], &[0, count], &extensions].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let record = [0x16, version[0], version[1], 0, length + 4];
    [&record[..], &[1, 0, 0, length], &hello].concat()
}

#[tokio::test]
async fn versions_before_1_2_are_refused_with_the_alert_that_says_so() {
    let site = Site::new();
    let clients = ClientCertificates::Requested;
    let limit = HandshakeLimit::default();
    let acceptor = TlsAcceptor::new(&site.identity, &[], clients, limit).unwrap();
    // The first byte of a record tells its kind: an alert, or the answer to a hello that was liked.
    for (version, kind) in [([3, 3], 22), ([3, 2], 21), ([3, 1], 21), ([3, 0], 21)] {
        let (mut client, server) = tcp_pair().await;
        client.write_all(&old_hello(version)).await.unwrap();
        client.shutdown().await.unwrap();
        let refused = acceptor.accept(server, soon()).await;
        assert!(matches!(refused, Err(HandshakeError::Failed(_))));
        drop(refused);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer[0], kind, "{version:?}: {answer:?}");
        if kind == 21 {
            // Fatal, protocol_version (RFC 5246 7.2).
            assert_eq!(answer[5..], [2, 70], "{version:?}");
        }
    }
}

#[test]
fn unusable_files_are_named() {
    let site = Site::new();
    let (ca, key) = (
        site.folder.path().join("ca.pem"),
        site.folder.path().join("server.key"),
    );
    let certificate = site.folder.path().join("server.pem");
    let load = |certificate, key| TlsIdentity::from_pem_files(certificate, key).unwrap_err();

    let missing = site.folder.path().join("missing.pem");
    assert!(load(&missing, &key).to_string().ends_with("missing.pem"));
    assert!(
        load(&key, &key)
            .to_string()
            .starts_with("no usable certificate in")
    );
    assert!(
        load(&certificate, &certificate)
            .to_string()
            .ends_with("server.pem")
    );

    let mismatch = TlsIdentity::from_pem_files(&ca, &key).unwrap();
    let error = TlsAcceptor::new(
        &mismatch,
        &[],
        ClientCertificates::Requested,
        HandshakeLimit::default(),
    )
    .unwrap_err();
    assert!(matches!(error, TlsError::Unusable(_)));
}
