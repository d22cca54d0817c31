//! A hub with devices of every kind, and one client for each of its doors.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_auth::sign;
use downlink_mqtt::packet::{Connack, Connect, ServerPacket};
use downlink_tests::split::{AllInOne, Programs};
use downlink_tests::wire::amqp::Amqp;
use downlink_tests::wire::mqtt::Mqtt;
use downlink_tests::wire::rest::{Answer, Rest};
use downlink_tests::wire::tls::{ClientIdentity, Trust};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::bearer::{Issuer, now};
use super::certificates::{Authority, Leaf};

pub(crate) const HOST: &str = "hub.refusals.test";
const VERSION: &str = "api-version=2021-04-12";
/// Longest wait for one packet.
const PATIENCE: Duration = Duration::from_secs(20);

static NEXT: AtomicU8 = AtomicU8::new(1);

/// A running hub.
pub(crate) struct Hub {
    pub(crate) issuer: Issuer,
    pub(crate) authority: Authority,
    pub(crate) folder: TempDir,
    address: IpAddr,
    trust: Trust,
    process: AllInOne,
}

/// A key and what it is the key of.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) bytes: Vec<u8>,
    pub(crate) policy: Option<String>,
}

impl Key {
    /// A token for `scope`, below the hub of the tests unless it names another.
    pub(crate) fn token(&self, scope: &str, ends_in_seconds: i64) -> String {
        sign(
            scope,
            &self.bytes,
            now() + ends_in_seconds,
            self.policy.as_deref(),
        )
    }

    /// A token for the whole hub that holds.
    pub(crate) fn for_hub(&self) -> String {
        self.token(HOST, 600)
    }

    /// A token for a device that holds.
    pub(crate) fn for_device(&self, device: &str) -> String {
        self.token(&format!("{HOST}/devices/{device}"), 600)
    }
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let run = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = IpAddr::from(Ipv4Addr::new(127, 78, run, 1));
        let folder = tempfile::tempdir().unwrap();
        let issuer = Issuer::trusted_in(folder.path());
        let programs = Programs::beside_this_one().unwrap();
        let settings = ["gateway.access_interval=50ms".to_owned()];
        let process = AllInOne::start(&programs, folder.path(), HOST, address, &settings).unwrap();
        let hub = Self {
            issuer,
            authority: Authority::new("plant authority"),
            trust: Trust::in_file(&process.ca_file).unwrap(),
            address,
            folder,
            process,
        };
        hub.register("dev", &json!({"type": "sas"})).await;
        hub
    }

    /// Ends it in order; its store stays.
    pub(crate) fn stop(self) -> TempDir {
        self.process.stop().unwrap();
        self.folder
    }

    /// The key of one of the policies that it began with.
    pub(crate) fn policy(&self, name: &str) -> Key {
        let string = self.process.credentials.policy(name);
        let (_, key) = string.split_once("SharedAccessKey=").unwrap();
        Key {
            bytes: STANDARD.decode(key).unwrap(),
            policy: Some(name.to_owned()),
        }
    }

    /// Asks as the hub's owner, who is never refused.
    pub(crate) async fn manage(&self, method: &str, path: &str, body: &Value) -> Value {
        let token = self.policy("iothubowner").for_hub();
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = self.ask(method, path, &token, &body).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status < 300, "{method} {path}: {answer:?} {text}");
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    }

    /// Registers a device; its primary key, if it has one.
    pub(crate) async fn register(&self, id: &str, authentication: &Value) -> Option<Key> {
        let body = json!({"deviceId": id, "authentication": authentication});
        let made = self.manage("PUT", &format!("/devices/{id}"), &body).await;
        let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str();
        let bytes = key.map(|key| STANDARD.decode(key).unwrap());
        bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| Key {
            bytes,
            policy: None,
        })
    }

    /// Makes a policy; its primary key.
    pub(crate) async fn add_policy(&self, name: &str, rights: &[&str], scope: &Value) -> Key {
        let mut body = json!({"permissions": rights});
        if !scope.is_null() {
            body["scope"] = scope.clone();
        }
        let made = self
            .manage("PUT", &format!("/admin/policies/{name}"), &body)
            .await;
        let key = made["primaryKey"].as_str().unwrap();
        let key = Key {
            bytes: STANDARD.decode(key).unwrap(),
            policy: Some(name.to_owned()),
        };
        self.until_known(&key).await;
        key
    }

    /// Waits until the gateway knows a policy that is new: until it answers something else than
    /// that it knows no such credential.
    async fn until_known(&self, key: &Key) {
        let token = key.for_hub();
        let end = Instant::now() + PATIENCE;
        while code(&self.ask("GET", "/devices", &token, "").await) == "IotHubUnauthorized" {
            assert!(Instant::now() < end, "{:?} stays unknown", key.policy);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Registers an authority, and proves that its key is held.
    pub(crate) async fn trust_authority(&self) {
        let path = "/admin/certificates/plant";
        let body = json!({"certificate": self.authority.pem()});
        self.manage("PUT", path, &body).await;
        let asked = self
            .manage("POST", &format!("{path}/verificationCode"), &Value::Null)
            .await;
        let proof = self
            .authority
            .issue(asked["verificationCode"].as_str().unwrap());
        let body = json!({"certificate": proof.pem});
        self.manage("POST", &format!("{path}/verify"), &body).await;
    }

    /// Registers an authority without a proof.
    pub(crate) async fn add_unproved(&self, name: &str) -> Authority {
        let authority = Authority::new(name);
        let body = json!({"certificate": authority.pem()});
        self.manage("PUT", &format!("/admin/certificates/{name}"), &body)
            .await;
        authority
    }

    /// A request at the HTTPS door.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        credential: &str,
        body: &str,
    ) -> Answer {
        self.ask_as(None, method, path, credential, body).await
    }

    /// The same, presenting a certificate.
    pub(crate) async fn ask_as(
        &self,
        identity: Option<&ClientIdentity>,
        method: &str,
        path: &str,
        credential: &str,
        body: &str,
    ) -> Answer {
        let io = self.trust.connect_as(identity, self.door(443), HOST, None);
        let mut rest = Rest::over(io.await.unwrap(), HOST);
        let path = if path.contains('?') {
            format!("{path}&{VERSION}")
        } else {
            format!("{path}?{VERSION}")
        };
        rest.ask(method, &path, credential, body).await.unwrap()
    }

    /// The code of the answer to CONNECT; 0 for a connection.
    pub(crate) async fn connect_mqtt(
        &self,
        identity: Option<&ClientIdentity>,
        (client, user): (&str, &str),
        password: Option<&str>,
    ) -> u8 {
        let io = self.trust.connect_as(identity, self.door(8883), HOST, None);
        let mut mqtt = Mqtt::over(io.await.unwrap(), PATIENCE);
        let mut connect = Connect::new(client).with_username(user.to_owned());
        if let Some(password) = password {
            connect = connect.with_password(password.to_owned());
        }
        mqtt.send(&connect.into()).await.unwrap();
        match mqtt.next().await.unwrap() {
            ServerPacket::Connack(Connack::Accepted { .. }) => 0,
            ServerPacket::Connack(Connack::Refused(code)) => code as u8,
            other => panic!("no answer to CONNECT: {other:?}"),
        }
    }

    /// A connection to the AMQP door with a session and the links for tokens.
    pub(crate) async fn amqp(&self, identity: Option<&ClientIdentity>) -> Amqp {
        let io = self.trust.connect_as(identity, self.door(5671), HOST, None);
        let mut amqp = Amqp::open(io.await.unwrap(), HOST, None).await.unwrap();
        amqp.begin(0).await.unwrap();
        amqp
    }

    /// The same, with the links for tokens.
    pub(crate) async fn amqp_with_tokens(&self) -> Amqp {
        let mut amqp = self.amqp(None).await;
        amqp.attach_tokens().await.unwrap();
        amqp
    }

    /// A channel to the gRPC door.
    pub(crate) fn grpc(&self) -> Channel {
        let (trust, address) = (self.trust.clone(), self.door(5180));
        // The name is that of the certificate; the connector knows the way.
        let endpoint = Endpoint::from_static("http://hub.refusals.test");
        endpoint.connect_with_connector_lazy(service_fn(move |_| {
            let trust = trust.clone();
            async move {
                let io = trust.connect(address, HOST, Some(b"h2")).await?;
                std::io::Result::Ok(hyper_util::rt::TokioIo::new(io))
            }
        }))
    }

    /// Sum of a counter over those of its series whose labels hold all of `labels`.
    pub(crate) fn counter(&self, name: &str, labels: &[&str]) -> f64 {
        let port = self.process.credentials.json["ports"]["metrics"].as_u64();
        let text = metrics(u16::try_from(port.unwrap()).unwrap());
        text.lines()
            .filter(|line| line.starts_with(name))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    fn door(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }
}

/// What operators are told.
fn metrics(port: u16) -> String {
    use std::io::{Read as _, Write as _};
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The name of the error that an answer carries.
pub(crate) fn code(answer: &Answer) -> &str {
    answer.header("iothub-errorcode").unwrap_or_default()
}

/// A certificate's thumbprint as an identity's authentication.
pub(crate) fn by_thumbprint(leaf: &Leaf) -> Value {
    json!({
        "type": "selfSigned",
        "x509Thumbprint": {"primaryThumbprint": leaf.thumbprint(), "secondaryThumbprint": null},
    })
}
