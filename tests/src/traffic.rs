//! Traffic with a count at the end: senders and devices that go on whatever happens to the hub, and
//! the verdict on what became of each message.
//!
//! Devices speak MQTT or AMQP, there with a connection each or several on one, and move to the other
//! gateway when theirs lets them down. Senders speak gRPC or AMQP, in turn, and the receiver of
//! feedback speaks gRPC; they do the same.

mod amqp;
mod back_end;
mod device;
pub mod flow;
pub mod idle;
mod ledger;
pub mod ways;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use downlink_auth::sign;
use downlink_proto::api::v1 as api;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use ledger::{Ledger, Verdict};

use crate::split::Credentials;
use crate::wire::tls::{Trust, decode_key};
use back_end::BackEnd;

/// Tokens hold for the whole run; the hub's clock is this machine's.
const FAR_FUTURE_SECONDS: i64 = 4_000_000_000;

/// Where and as whom clients connect.
#[derive(Clone, Debug)]
pub struct Access {
    /// The hub's name.
    pub host: String,
    /// Addresses of the gateways' usual ports.
    pub gateways: Vec<IpAddr>,
    trust: Trust,
    policy: String,
    key: Vec<u8>,
}

impl Access {
    /// The way to a hub whose gateways have every door each.
    ///
    /// # Errors
    /// When the certificate authority cannot be read.
    pub fn to(
        credentials: &Credentials,
        ca_file: &Path,
        host: &str,
        gateways: &[IpAddr],
    ) -> anyhow::Result<Self> {
        let string = credentials.policy("iothubowner");
        let field = |name: &str| {
            string
                .split(';')
                .find_map(|part| part.strip_prefix(name))
                .with_context(|| format!("the connection string has no {name}"))
        };
        Ok(Self {
            host: host.to_owned(),
            gateways: gateways.to_vec(),
            trust: Trust::in_file(ca_file)?,
            policy: field("SharedAccessKeyName=")?.to_owned(),
            key: decode_key(field("SharedAccessKey=")?)?,
        })
    }

    /// A token of the hub's owner.
    fn token(&self) -> String {
        sign(
            &self.host,
            &self.key,
            FAR_FUTURE_SECONDS,
            Some(&self.policy),
        )
    }

    fn door(&self, turn: usize, port: u16) -> SocketAddr {
        SocketAddr::new(self.gateways[turn % self.gateways.len()], port)
    }
}

/// How much traffic. Each device has a sender.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Devices on MQTT.
    pub mqtt: usize,
    /// Devices on AMQP, a connection each.
    pub amqp: usize,
    /// Devices on one AMQP connection.
    pub multiplexed: usize,
    /// Clients that connect as the same device; each ends the connection of the other.
    pub claimants: usize,
    /// Pause of a sender between two calls.
    pub pause: Duration,
}

impl Load {
    fn devices(&self) -> usize {
        self.mqtt + self.amqp + self.multiplexed
    }
}

/// Messages on their way, and those who send and take them.
pub struct Traffic {
    ledger: Arc<Ledger>,
    back_end: BackEnd,
    devices: Vec<String>,
    sending: CancellationToken,
    receiving: CancellationToken,
    senders: JoinSet<()>,
    receivers: JoinSet<()>,
}

impl Traffic {
    /// Registers the devices and starts their senders and receivers; returns when each device is
    /// connected and has taken a message.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn start(access: &Access, load: Load) -> anyhow::Result<Self> {
        let back_end = BackEnd::new(access);
        let ledger = Arc::new(Ledger::default());
        let (sending, receiving) = (CancellationToken::new(), CancellationToken::new());
        let (mut senders, mut receivers) = (JoinSet::new(), JoinSet::new());
        let mut devices = Vec::with_capacity(load.devices());
        for number in 0..load.devices() {
            let name = format!("traffic-{number}");
            let key = back_end.register(&name).await?;
            let ledger = Arc::clone(&ledger);
            let (stop, pause) = (sending.clone(), load.pause);
            // By threes, so that every kind of device has both kinds of senders.
            if number % 3 == 1 {
                let sender = amqp::sender::Sender::new(access, &name, number, pause);
                senders.spawn(async move { sender.run(&ledger, &stop).await });
            } else {
                let sender = back_end::Sender::new(access, &name, number, pause);
                senders.spawn(async move { sender.run(&ledger, &stop).await });
            }
            devices.push((name, key));
        }
        for claimant in 0..load.claimants {
            for client in clients(access, &devices, load, claimant) {
                let (ledger, stop) = (Arc::clone(&ledger), receiving.clone());
                receivers.spawn(async move {
                    let _ = stop.run_until_cancelled(client.run(&ledger)).await;
                });
            }
        }
        let feedback = back_end::FeedbackReader::new(access);
        let (ledger_of_reader, stop) = (Arc::clone(&ledger), receiving.clone());
        receivers.spawn(async move {
            let run = feedback.run(&ledger_of_reader);
            let _ = stop.run_until_cancelled(run).await;
        });
        let traffic = Self {
            ledger,
            back_end,
            devices: devices.into_iter().map(|(name, _)| name).collect(),
            sending,
            receiving,
            senders,
            receivers,
        };
        traffic.wait_for_progress(1, Duration::from_mins(1)).await?;
        Ok(traffic)
    }

    /// Names of the devices.
    pub fn devices(&self) -> &[String] {
        &self.devices
    }

    /// Waits until every device has taken `more` further messages.
    ///
    /// # Errors
    /// When that takes longer than `patience`.
    pub async fn wait_for_progress(&self, more: usize, patience: Duration) -> anyhow::Result<()> {
        let before: Vec<usize> = self
            .devices
            .iter()
            .map(|name| self.ledger.taken(name))
            .collect();
        let end = Instant::now() + patience;
        loop {
            let news = self.ledger.changed();
            let slow = self
                .devices
                .iter()
                .zip(&before)
                .find(|(name, before)| self.ledger.taken(name) < **before + more);
            let Some((slow, _)) = slow else {
                return Ok(());
            };
            let waited = tokio::time::timeout_at(end, news).await;
            ensure!(
                waited.is_ok(),
                "{slow} took no {more} further messages within {patience:?}: {}",
                self.ledger.summary()
            );
        }
    }

    /// Ends the senders, waits until every accepted message has come to its end, ends the devices
    /// and tells what became of each.
    ///
    /// # Errors
    /// When a message has no end after `patience`, or the hub does not answer.
    pub async fn finish(mut self, patience: Duration) -> anyhow::Result<Verdict> {
        self.sending.cancel();
        while let Some(ended) = self.senders.join_next().await {
            ended?;
        }
        let end = Instant::now() + patience;
        loop {
            let news = self.ledger.changed();
            let open = self.ledger.without_end();
            if open.is_empty() {
                break;
            }
            let waited = tokio::time::timeout_at(end, news).await;
            ensure!(
                waited.is_ok(),
                "{} accepted messages have no end after {patience:?}, such as {:?}: {}",
                open.len(),
                &open[..open.len().min(5)],
                self.ledger.summary()
            );
        }
        let mut waiting = 0;
        for device in &self.devices {
            waiting += self.back_end.count(device).await?;
        }
        self.receiving.cancel();
        while let Some(ended) = self.receivers.join_next().await {
            ended?;
        }
        Ok(self.ledger.verdict(waiting))
    }
}

/// A client that is one device, or several.
enum Client {
    Mqtt(device::Device),
    Amqp(amqp::devices::Devices),
}

impl Client {
    async fn run(self, ledger: &Ledger) {
        match self {
            Self::Mqtt(device) => device.run(ledger).await,
            Self::Amqp(devices) => devices.run(ledger).await,
        }
    }
}

/// One client of each device; those of different claimants try different gateways first.
fn clients(
    access: &Access,
    devices: &[(String, Vec<u8>)],
    load: Load,
    claimant: usize,
) -> Vec<Client> {
    let (mqtt, others) = devices.split_at(load.mqtt);
    let (amqp, multiplexed) = others.split_at(load.amqp);
    let turns = claimant..;
    let mqtt = mqtt.iter().zip(turns.clone()).map(|((name, key), turn)| {
        Client::Mqtt(device::Device::new(access, name, key.clone(), turn))
    });
    let amqp = amqp.iter().map(std::slice::from_ref);
    let shared = (!multiplexed.is_empty()).then_some(multiplexed);
    let amqp = amqp.chain(shared).zip(turns).map(|(devices, turn)| {
        Client::Amqp(amqp::devices::Devices::new(access, devices.to_vec(), turn))
    });
    mqtt.chain(amqp).collect()
}

/// The body and id of message `number` of a device.
fn message_id(device: &str, number: usize) -> String {
    format!("{device}:{number:08}")
}

/// The number of a message, when it is one of those that [`message_id`] names.
fn message_number(id: &str) -> Option<usize> {
    id.rsplit_once(':')?.1.parse().ok()
}

fn message(device: &str, number: usize) -> api::OutgoingMessage {
    let id = message_id(device, number);
    api::OutgoingMessage {
        device_id: device.to_owned(),
        body: id.clone().into(),
        message_id: Some(id),
        ack: api::AckMode::Full.into(),
        ..api::OutgoingMessage::default()
    }
}
