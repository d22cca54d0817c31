//! Whole connections through the HTTPS door: TLS, the handshake of a client of another make, and the doors inside.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use downlink_mqtt::packet::{ClientPacket, Connect};
use downlink_runtime::{
    ClientCertificates, HandshakeLimit, Listener, ListenerOptions, Shutdown, TlsAcceptor,
    TlsIdentity, dev_certificate,
};
use futures::{SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::fakes::TestHub;
use crate::hubs::Hubs;
use crate::{Sockets, open_doors};

mod doors;
mod hostile;

/// A hub with its HTTPS door open on this machine.
struct Site {
    hub: TestHub,
    address: std::net::SocketAddr,
    connector: TlsConnector,
    _folder: TempDir,
}

/// A client's WebSocket.
type Client = tokio_tungstenite::WebSocketStream<TlsStream<TcpStream>>;

impl Site {
    fn open(hub: TestHub) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = rustls_pki_types::UnixTime::now().as_secs();
        let files = dev_certificate::ensure(folder.path(), &[], now.try_into().unwrap()).unwrap();
        let identity =
            TlsIdentity::from_pem_files(&files.certificate_file, &files.key_file).unwrap();
        let tls = |alpn: &[&[u8]]| {
            TlsAcceptor::new(
                &identity,
                alpn,
                ClientCertificates::Requested,
                HandshakeLimit::default(),
            )
            .unwrap()
        };
        let options = ListenerOptions::new(([127, 0, 0, 1], 0).into(), "--https-port");
        let listener = Listener::bind(&options).unwrap();
        let address = listener.local_address();
        let sockets = Sockets {
            mqtts: Vec::new(),
            amqps: Vec::new(),
            https: vec![listener],
            grpc: Vec::new(),
            tls: tls(&[]),
            https_tls: tls(&[b"h2", b"http/1.1"]),
            grpc_tls: tls(&[b"h2"]),
        };
        let hubs = Hubs::new(Arc::clone(&hub.shared), []);
        open_doors(&hubs, sockets, &hub.shared.lifecycle);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(files.ca_file).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            hub,
            address,
            connector: TlsConnector::from(Arc::new(config)),
            _folder: folder,
        }
    }

    async fn dial(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, tcp).await.unwrap()
    }

    /// Opens a WebSocket at `path`; answers with it the protocol that was agreed on.
    async fn websocket(&self, path: &str, offered: &str) -> Result<(Client, String), Error> {
        let mut request = format!("wss://localhost{path}").into_client_request()?;
        request
            .headers_mut()
            .insert("sec-websocket-protocol", offered.parse().unwrap());
        let io = self.dial().await;
        let (client, answer) = tokio_tungstenite::client_async(request, io).await?;
        let protocol = answer.headers()["sec-websocket-protocol"].to_str().unwrap();
        Ok((client, protocol.to_owned()))
    }

    async fn mqtt(&self) -> Client {
        let opened = self.websocket("/$iothub/websocket", "mqtt").await;
        opened.unwrap().0
    }

    /// What a device says first.
    fn connect_packet(&self, device: &downlink_domain::device::Device) -> BytesMut {
        let name = device.name.device.as_str();
        let connect = Connect::new(name)
            .with_username(format!("hub.test/{name}/?api-version=2021-04-12"))
            .with_password(self.hub.device_token(device));
        let mut bytes = BytesMut::new();
        ClientPacket::from(connect).encode(&mut bytes).unwrap();
        bytes
    }
}

/// The next bytes of the stream, until there are `count`.
async fn read(client: &mut Client, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        match client.next().await.unwrap().unwrap() {
            Message::Binary(more) => bytes.extend_from_slice(&more),
            other => panic!("no bytes: {other:?}"),
        }
    }
    bytes
}

/// The code of the Close that comes next.
async fn close_code(client: &mut Client) -> u16 {
    match client.next().await.unwrap().unwrap() {
        Message::Close(Some(frame)) => frame.code.into(),
        other => panic!("no close: {other:?}"),
    }
}
