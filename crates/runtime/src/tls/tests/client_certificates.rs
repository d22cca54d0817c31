//! Clients with certificates of their own, good and bad, in both versions.

use std::io::{Error, Result};
use std::sync::Arc;

use rcgen::{
    CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm, SigningKey as _,
};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, ClientConfig, HandshakeKind, SignatureScheme, SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use x509_parser::asn1_rs::{Any, FromDer as _, ToDer as _};

use super::{Site, soon, tcp_pair};
use crate::tls::{ClientCertificates, HandshakeLimit, TlsAcceptor};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// Presents the same certificates to every server, fit or not.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn connector(
    site: &Site,
    version: &'static SupportedProtocolVersion,
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
) -> TlsConnector {
    let mut config: ClientConfig = site.client(&[version], &[]).config().as_ref().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let signing = any_supported_type(&key).unwrap();
    config.client_auth_cert_resolver =
        Arc::new(Always(Arc::new(CertifiedKey::new(chain, signing))));
    config.resumption = Resumption::in_memory_sessions(8);
    TlsConnector::from(Arc::new(config))
}

fn acceptor(site: &Site, clients: ClientCertificates) -> TlsAcceptor {
    TlsAcceptor::new(&site.identity, &[], clients, HandshakeLimit::default()).unwrap()
}

/// What the server was presented, and how the handshake went.
type Presented = (Option<Vec<CertificateDer<'static>>>, Option<HandshakeKind>);

/// A handshake and a byte each way; what server and client make of it.
async fn meet(acceptor: &TlsAcceptor, client: &TlsConnector) -> (Result<Presented>, Result<()>) {
    let (near, far) = tcp_pair().await;
    let server = async {
        let accepted = acceptor.accept(far, soon()).await;
        let mut stream = accepted.map_err(Error::other)?;
        let byte = stream.read_u8().await?;
        stream.write_all(&[byte]).await?;
        let (_, connection) = stream.get_ref();
        let presented = connection.peer_certificates().map(<[_]>::to_vec);
        Ok((presented, connection.handshake_kind()))
    };
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = client.connect(name, near).await?;
        stream.write_all(&[42]).await?;
        assert_eq!(stream.read_u8().await?, 42);
        Ok(())
    };
    tokio::join!(server, client)
}

fn alert(met: (Result<Presented>, Result<()>)) -> AlertDescription {
    met.0.expect_err("refused");
    let refused = met.1.expect_err("refused");
    let cause = refused.get_ref().and_then(|cause| cause.downcast_ref());
    let Some(rustls::Error::AlertReceived(alert)) = cause else {
        panic!("no alert: {refused:?}");
    };
    *alert
}

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

fn certificate(key: &KeyPair) -> CertificateDer<'static> {
    let params = CertificateParams::default();
    params.self_signed(key).unwrap().der().clone()
}

/// With an extension that must be understood, and is not.
fn with_unknown_critical_extension(key: &KeyPair) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
    params.self_signed(key).unwrap().der().clone()
}

/// Of X.509 version 1: neither a version nor extensions (RFC 5280 4.1).
fn version_1(key: &KeyPair) -> CertificateDer<'static> {
    let version_3 = certificate(key);
    let parts = children(&version_3);
    let fields = children(parts[0]);
    // The version before the serial number, and what stands behind the public key, are left away.
    let signed = sequence(&fields[1..7].concat());
    let signature = [vec![0], key.sign(&signed).unwrap()].concat();
    let mut bits = Vec::new();
    let tag = x509_parser::asn1_rs::Tag::BitString;
    let any = Any::from_tag_and_data(tag, &signature);
    any.write_der(&mut bits).unwrap();
    sequence(&[signed, parts[1].to_vec(), bits].concat()).into()
}

fn sequence(content: &[u8]) -> Vec<u8> {
    x509_parser::asn1_rs::Sequence::new(content.into())
        .to_der_vec()
        .unwrap()
}

/// The elements of a constructed element, each with its tag and length.
fn children(der: &[u8]) -> Vec<&[u8]> {
    let (_, outer) = Any::from_der(der).unwrap();
    let mut rest = outer.data;
    let mut children = Vec::new();
    while !rest.is_empty() {
        let (after, _) = Any::from_der(rest).unwrap();
        children.push(&rest[..rest.len() - after.len()]);
        rest = after;
    }
    children
}

#[tokio::test]
async fn the_chain_a_client_presents_is_known_also_in_a_resumed_session() {
    let site = Site::new();
    let acceptor = acceptor(&site, ClientCertificates::Requested);
    let own = key(&PKCS_ECDSA_P256_SHA256);
    let chain = vec![
        certificate(&own),
        certificate(&key(&PKCS_ED25519)),
        b"not even a certificate".to_vec().into(),
    ];
    for version in VERSIONS {
        let client = connector(&site, version, chain.clone(), &own);
        for expected in [false, true, true] {
            let (server, client) = meet(&acceptor, &client).await;
            client.unwrap();
            let (presented, kind) = server.unwrap();
            assert_eq!(presented.as_ref(), Some(&chain), "{version:?}");
            let is_resumed = kind == Some(HandshakeKind::Resumed);
            assert_eq!(is_resumed, expected, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_as_welcome() {
    let site = Site::new();
    let acceptor = acceptor(&site, ClientCertificates::Requested);
    for version in VERSIONS {
        let client = site.client(&[version], &[]);
        for _ in 0..2 {
            let (server, client) = meet(&acceptor, &client).await;
            client.unwrap();
            assert_eq!(server.unwrap().0, None, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_listener_that_does_not_ask_is_told_nothing() {
    let site = Site::new();
    let acceptor = acceptor(&site, ClientCertificates::NotAsked);
    let own = key(&PKCS_ECDSA_P256_SHA256);
    for version in VERSIONS {
        let client = connector(&site, version, vec![certificate(&own)], &own);
        let (server, client) = meet(&acceptor, &client).await;
        client.unwrap();
        assert_eq!(server.unwrap().0, None, "{version:?}");
    }
}

#[tokio::test]
async fn every_kind_of_key_proves_itself_in_every_kind_of_certificate_and_no_other_key_does() {
    let site = Site::new();
    let acceptor = acceptor(&site, ClientCertificates::Requested);
    for algorithm in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ECDSA_P521_SHA512,
        &PKCS_ED25519,
        &PKCS_RSA_SHA256,
    ] {
        let (own, other) = (key(algorithm), key(algorithm));
        let leaves = [
            certificate(&own),
            version_1(&own),
            with_unknown_critical_extension(&own),
        ];
        for (leaf, version) in leaves.iter().flat_map(|leaf| VERSIONS.map(|v| (leaf, v))) {
            let honest = connector(&site, version, vec![leaf.clone()], &own);
            let (server, client) = meet(&acceptor, &honest).await;
            client.unwrap_or_else(|error| panic!("{algorithm:?} {version:?}: {error}"));
            assert_eq!(server.unwrap().0, Some(vec![leaf.clone()]));
            let thief = connector(&site, version, vec![leaf.clone()], &other);
            let told = alert(meet(&acceptor, &thief).await);
            assert_eq!(told, AlertDescription::DecryptError, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn a_signature_by_a_key_of_another_kind_is_an_alert() {
    let site = Site::new();
    let acceptor = acceptor(&site, ClientCertificates::Requested);
    let (own, other) = (key(&PKCS_ECDSA_P256_SHA256), key(&PKCS_RSA_SHA256));
    for leaf in [certificate(&own), version_1(&own)] {
        for version in VERSIONS {
            let thief = connector(&site, version, vec![leaf.clone()], &other);
            // Which alert is the library's matter; that there is one is checked.
            alert(meet(&acceptor, &thief).await);
        }
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_an_alert() {
    let site = Site::new();
    let acceptor = acceptor(&site, ClientCertificates::Requested);
    let own = key(&PKCS_ECDSA_P256_SHA256);
    let whole = certificate(&own);
    let trailing = [whole.as_ref(), &[0]].concat();
    let garbage = [
        b"not a certificate".to_vec(),
        vec![0],
        vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        vec![0x30, 0x80, 0x30, 0x80],
        [0x30, 0x82, 0x40, 0x00].repeat(4_000),
        whole[..whole.len() / 2].to_vec(),
        trailing,
    ];
    for (leaf, version) in garbage
        .iter()
        .flat_map(|leaf| VERSIONS.map(|version| (leaf, version)))
    {
        let client = connector(&site, version, vec![leaf.clone().into()], &own);
        let told = alert(meet(&acceptor, &client).await);
        assert_eq!(told, AlertDescription::BadCertificate, "{leaf:?}");
    }
}

#[tokio::test]
async fn chains_have_a_bound_in_certificates_and_in_bytes() {
    let site = Site::new();
    let acceptor = acceptor(&site, ClientCertificates::Requested);
    let own = key(&PKCS_ECDSA_P256_SHA256);
    let leaf = certificate(&own);
    let longest = vec![leaf.clone(); 8];
    let room = 32 * 1024 - leaf.len();
    let largest = vec![leaf.clone(), vec![7; room].into()];
    for version in VERSIONS {
        for chain in [&longest, &largest] {
            let client = connector(&site, version, chain.clone(), &own);
            for _ in 0..2 {
                let (server, client) = meet(&acceptor, &client).await;
                client.unwrap();
                assert_eq!(server.unwrap().0.as_ref(), Some(chain), "{version:?}");
            }
        }
        for chain in [
            vec![leaf.clone(); 9],
            vec![leaf.clone(), vec![7; room + 1].into()],
        ] {
            let client = connector(&site, version, chain, &own);
            let told = alert(meet(&acceptor, &client).await);
            assert_eq!(told, AlertDescription::CertificateUnknown, "{version:?}");
        }
    }
}
