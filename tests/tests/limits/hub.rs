//! A hub of two gateways on real servers, and devices on MQTT.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use downlink_auth::sign;
use downlink_mqtt::packet::{
    ClientPacket, Connack, Connect, Delivery, PacketId, Publish, ServerPacket,
};
use downlink_stack::{Postgres, Redis};
use downlink_tests::split::{Layout, Options, Programs, SplitHub};
use downlink_tests::wire::mqtt::Mqtt;
use downlink_tests::wire::rest::Rest;
use downlink_tests::wire::tls::{Trust, decode_key};
use serde_json::{Value, json};
use tempfile::TempDir;

const HOST: &str = "hub.limits.test";
const PATIENCE: Duration = Duration::from_secs(30);
/// Tokens hold for the whole run; the hub's clock is this machine's.
const FAR_FUTURE_SECONDS: i64 = 4_000_000_000;
/// Messages that a greedy device sends before it waits for the first to be acknowledged.
const IN_FLIGHT: u16 = 100;

static NEXT: AtomicU8 = AtomicU8::new(1);

/// A running hub.
pub(crate) struct Hub {
    split: SplitHub,
    trust: Trust,
    gateways: [IpAddr; 2],
    _folder: TempDir,
}

/// A registered device.
pub(crate) struct Device {
    name: String,
    key: Vec<u8>,
}

/// What became of what a device sent, while it was measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) acknowledged: u32,
    pub(crate) longest_wait: Duration,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let run = NEXT.fetch_add(1, Ordering::Relaxed);
        let gateways = [1, 2].map(|last| IpAddr::from(Ipv4Addr::new(127, 79, run, last)));
        let split = SplitHub::start(&Options {
            programs: Programs::beside_this_one().unwrap(),
            folder: folder.path().to_owned(),
            hosts: vec![HOST.to_owned()],
            layout: Layout::whole(&gateways),
            nodes: 1,
            postgres_url: Postgres::shared().create_database(),
            redis_url: Redis::shared().url(),
            kafka: None,
            prefix: format!("limits-{run}"),
            settings: vec!["limits.refresh_interval=200ms".to_owned()],
        })
        .unwrap();
        let trust = Trust::in_file(&split.ca_file).unwrap();
        Self {
            split,
            trust,
            gateways,
            _folder: folder,
        }
    }

    pub(crate) fn stop(self) {
        self.split.stop().unwrap();
    }

    /// Asks as the hub's owner, at the first gateway.
    pub(crate) async fn manage(&self, method: &str, path: &str, body: &Value) -> Value {
        let policy = self.split.credentials.policy("iothubowner");
        let (_, key) = policy.split_once("SharedAccessKey=").unwrap();
        let key = decode_key(key).unwrap();
        let token = sign(HOST, &key, FAR_FUTURE_SECONDS, Some("iothubowner"));
        let door = SocketAddr::new(self.gateways[0], 443);
        let io = self.trust.connect(door, HOST, None).await.unwrap();
        let path = format!("{path}?api-version=2021-04-12");
        let body = body.to_string();
        let asked = Rest::over(io, HOST).ask(method, &path, &token, &body).await;
        let answer = asked.unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status < 300, "{method} {path}: {answer:?} {text}");
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    }

    /// Registers a device.
    pub(crate) async fn device(&self, name: &str) -> Device {
        let body = json!({"deviceId": name, "authentication": {"type": "sas"}});
        let made = self.manage("PUT", &format!("/devices/{name}"), &body).await;
        let key = made["authentication"]["symmetricKey"]["primaryKey"].as_str();
        Device {
            name: name.to_owned(),
            key: STANDARD.decode(key.unwrap()).unwrap(),
        }
    }

    async fn connect(&self, device: &Device, gateway: usize) -> Mqtt {
        let door = SocketAddr::new(self.gateways[gateway], 8883);
        let io = self.trust.connect(door, HOST, None).await.unwrap();
        let mut mqtt = Mqtt::over(io, PATIENCE);
        let name = &device.name;
        let resource = format!("{HOST}/devices/{name}");
        let token = sign(&resource, &device.key, FAR_FUTURE_SECONDS, None);
        let connect = Connect::new(name)
            .with_username(format!("{HOST}/{name}/?api-version=2021-04-12"))
            .with_password(token);
        mqtt.send(&connect.into()).await.unwrap();
        let answer = mqtt.next().await.unwrap();
        let is_in = matches!(answer, ServerPacket::Connack(Connack::Accepted { .. }));
        assert!(is_in, "{answer:?}");
        mqtt
    }
}

impl Device {
    /// Sends as much as is taken; what is acknowledged between `from` and `until` counts.
    pub(crate) async fn send_greedily(
        self,
        hub: &Hub,
        gateway: usize,
        from: Instant,
        until: Instant,
    ) -> Sent {
        let mut mqtt = hub.connect(&self, gateway).await;
        for number in 1..=IN_FLIGHT {
            self.publish(&mut mqtt, number).await;
        }
        let mut sent = Sent::default();
        while Instant::now() < until {
            let number = acknowledged(&mut mqtt).await;
            if Instant::now() >= from {
                sent.acknowledged += 1;
            }
            self.publish(&mut mqtt, number).await;
        }
        sent
    }

    /// Sends one message after the other, `pause` apart, each once the one before is acknowledged.
    pub(crate) async fn send_each(
        self,
        hub: &Hub,
        gateway: usize,
        pause: Duration,
        from: Instant,
        until: Instant,
    ) -> Sent {
        let mut mqtt = hub.connect(&self, gateway).await;
        let mut sent = Sent::default();
        let mut ticks = tokio::time::interval(pause);
        while Instant::now() < until {
            ticks.tick().await;
            let began = Instant::now();
            self.publish(&mut mqtt, 1).await;
            acknowledged(&mut mqtt).await;
            if began >= from {
                sent.acknowledged += 1;
                sent.longest_wait = sent.longest_wait.max(began.elapsed());
            }
        }
        sent
    }

    async fn publish(&self, mqtt: &mut Mqtt, number: u16) {
        let publish = Publish {
            topic: format!("devices/{}/messages/events/", self.name),
            delivery: Delivery::AtLeastOnce {
                packet_id: PacketId::new(number).unwrap(),
                dup: false,
            },
            retain: false,
            payload: Bytes::from_static(b"21.5"),
        };
        mqtt.send(&ClientPacket::Publish(publish)).await.unwrap();
    }
}

async fn acknowledged(mqtt: &mut Mqtt) -> u16 {
    match mqtt.next().await.unwrap() {
        ServerPacket::Puback(id) => id.get(),
        other => panic!("no acknowledgement: {other:?}"),
    }
}
