//! The door over real TLS, with a client of another make than the server's machinery.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_proto::api::v1;
use downlink_proto::api::v1::cloud_to_device_client::CloudToDeviceClient;
use downlink_proto::api::v1::feedback_client::FeedbackClient;
use downlink_proto::api::v1::methods_client::MethodsClient;
use downlink_proto::api::v1::queries_client::QueriesClient;
use downlink_proto::api::v1::registry_client::RegistryClient;
use downlink_proto::api::v1::twins_client::TwinsClient;
use downlink_runtime::tls::{HandshakeLimit, TlsIdentity};
use downlink_runtime::{
    ClientCertificates, Listener, ListenerOptions, TlsAcceptor, dev_certificate,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::open;
use super::rpc::Rpc;
use super::status::ERROR_CODE_KEY;
use crate::fakes::TestHub;
use crate::hubs::Hubs;

mod catalogue;
mod codes;
mod connections;
mod feedback;
mod identities;
mod limits;
mod many_identities;
mod methods;
mod open_services;
mod queries;
mod rights;
mod sends;
mod streams;
mod twins;

/// Longest time that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every method of the public schema, as its sources have them.
pub(super) fn methods_of_the_schema() -> Vec<(String, String)> {
    let sources = [
        include_str!("../../../../proto/downlink/api/v1/cloud_to_device.proto"),
        include_str!("../../../../proto/downlink/api/v1/feedback.proto"),
        include_str!("../../../../proto/downlink/api/v1/methods.proto"),
        include_str!("../../../../proto/downlink/api/v1/queries.proto"),
        include_str!("../../../../proto/downlink/api/v1/registry.proto"),
        include_str!("../../../../proto/downlink/api/v1/twins.proto"),
    ];
    let mut methods = Vec::new();
    for source in sources {
        let mut service = String::new();
        for line in source.lines() {
            let mut words = line.split([' ', '(']).filter(|word| !word.is_empty());
            match (words.next(), words.next()) {
                (Some("service"), Some(name)) => service = format!("downlink.api.v1.{name}"),
                (Some("rpc"), Some(name)) => methods.push((service.clone(), name.to_owned())),
                _ => {}
            }
        }
    }
    assert_eq!(methods.len(), Rpc::ALL.len());
    methods
}

/// A hub whose gRPC door is open.
struct Site {
    hub: TestHub,
    address: SocketAddr,
    tls: TlsConnector,
    _folder: TempDir,
}

/// Adds a token to every call.
#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

type Authorized = InterceptedService<Channel, Bearer>;

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = self.0.clone();
        request.metadata_mut().insert("authorization", token);
        Ok(request)
    }
}

impl Site {
    async fn new() -> Self {
        Self::of(TestHub::new().await)
    }

    fn of(hub: TestHub) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = rustls_pki_types::UnixTime::now().as_secs();
        let files = dev_certificate::ensure(folder.path(), &[], now.try_into().unwrap()).unwrap();
        let identity =
            TlsIdentity::from_pem_files(&files.certificate_file, &files.key_file).unwrap();
        let acceptor = TlsAcceptor::new(
            &identity,
            &[b"h2"],
            ClientCertificates::NotAsked,
            HandshakeLimit::default(),
        )
        .unwrap();
        let options = ListenerOptions::new("127.0.0.1:0".parse().unwrap(), "--grpc-port");
        let listener = Listener::bind(&options).unwrap();
        let address = listener.local_address();
        open(
            &Hubs::new(Arc::clone(&hub.shared), []),
            &hub.shared.lifecycle,
            vec![listener],
            &acceptor,
        );
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&files.ca_file).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            hub,
            address,
            tls: TlsConnector::from(Arc::new(config)),
            _folder: folder,
        }
    }

    /// A TLS connection that has said nothing yet.
    async fn socket(&self) -> TlsStream<TcpStream> {
        connect(self.address, self.tls.clone()).await.unwrap()
    }

    /// A connection without a credential.
    async fn channel(&self) -> Channel {
        let (address, tls) = (self.address, self.tls.clone());
        let connector = tower::service_fn(move |_| {
            let tls = tls.clone();
            async move { connect(address, tls).await.map(TokioIo::new) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector(connector).await.unwrap()
    }

    /// A connection with a token of `policy` for the whole hub.
    async fn with(&self, policy: &str) -> Back {
        self.with_token(&self.hub.policy_token(policy)).await
    }

    async fn with_token(&self, token: &str) -> Back {
        Back {
            channel: self.channel().await,
            bearer: Bearer(token.parse().unwrap()),
        }
    }
}

async fn connect(address: SocketAddr, tls: TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tls.connect(name, tcp).await
}

/// A back-end: its clients share one connection.
struct Back {
    channel: Channel,
    bearer: Bearer,
}

impl Back {
    fn inner(&self) -> Authorized {
        InterceptedService::new(self.channel.clone(), self.bearer.clone())
    }

    fn commands(&self) -> CloudToDeviceClient<Authorized> {
        CloudToDeviceClient::new(self.inner())
    }

    fn feedback(&self) -> FeedbackClient<Authorized> {
        FeedbackClient::new(self.inner())
    }

    fn methods(&self) -> MethodsClient<Authorized> {
        MethodsClient::new(self.inner())
    }

    fn twins(&self) -> TwinsClient<Authorized> {
        TwinsClient::new(self.inner())
    }

    fn queries(&self) -> QueriesClient<Authorized> {
        QueriesClient::new(self.inner())
    }

    fn registry(&self) -> RegistryClient<Authorized> {
        RegistryClient::new(self.inner())
    }
}

/// A message with an id, to be reported on.
fn message(device: &str, id: &str) -> v1::OutgoingMessage {
    v1::OutgoingMessage {
        device_id: device.to_owned(),
        message_id: Some(id.to_owned()),
        body: id.to_owned().into(),
        ack: v1::AckMode::Full.into(),
        ..v1::OutgoingMessage::default()
    }
}

/// Code and number of a refusal.
#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, Option<u32>) {
    code_of(&result.expect_err("it is refused"))
}

fn code_of(status: &Status) -> (Code, Option<u32>) {
    let number = status.metadata().get(ERROR_CODE_KEY);
    let number = number.map(|number| number.to_str().unwrap().parse().unwrap());
    (status.code(), number)
}

/// What [`refusal`] gives for `number` of the catalogue.
fn refused(code: Code, number: ErrorCode) -> (Code, Option<u32>) {
    (code, Some(number.number()))
}

/// Waits for what must come.
#[track_caller]
fn soon<T>(waiting: impl Future<Output = T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{caller}: it never came"))
    }
}
