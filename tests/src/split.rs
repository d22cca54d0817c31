//! The hub in its split form: processes of each service on Postgres, Redis and Kafka.
//!
//! Every process is gone when its owner is, however that happens. The processes answer their
//! peers and operators on loopback addresses of this hub alone, so that any number of hubs run
//! side by side on the same ports.

mod all_in_one;
mod credentials;
mod layout;
mod node;
mod programs;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};

pub use all_in_one::AllInOne;
pub use credentials::Credentials;
pub use layout::{Doors, Layout};
pub use node::{Kind, Node};
pub use programs::Programs;

/// How long a process may take to be ready; the first start of a debug build on a busy machine
/// takes seconds.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// What a split hub is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The built programs.
    pub programs: Programs,
    /// Folder of certificates and logs; made if it is not there.
    pub folder: PathBuf,
    /// Host names, the one of connection strings first.
    pub hosts: Vec<String>,
    /// Where the doors listen.
    pub layout: Layout,
    /// Processes of queue, method-router and twin each.
    pub nodes: usize,
    /// A database of this hub alone.
    pub postgres_url: String,
    /// A Redis, which may be shared.
    pub redis_url: String,
    /// A Kafka, which may be shared; none: events stay in the outbox.
    pub kafka: Option<String>,
    /// Prefix of keys and topics of this hub.
    pub prefix: String,
    /// Further settings, `key=value`.
    pub settings: Vec<String>,
}

/// A running split hub.
#[derive(Debug)]
pub struct SplitHub {
    /// Gateways in the order of the layout.
    pub gateways: Vec<Node>,
    /// Nodes of the queue service.
    pub queues: Vec<Node>,
    /// Nodes of the method-router service.
    pub routers: Vec<Node>,
    /// Nodes of the twin service.
    pub twins: Vec<Node>,
    /// What clients prove themselves by.
    pub credentials: Credentials,
    /// The certificate authority that clients must trust.
    pub ca_file: PathBuf,
}

impl SplitHub {
    /// Starts every process and waits until all are ready.
    ///
    /// # Errors
    /// What kept a process from its start, with the end of its log.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.folder)
            .with_context(|| format!("cannot make {}", options.folder.display()))?;
        let base = options.settings_of_all();
        options.programs.migrate(&base)?;
        let credentials = options.programs.credentials(&base)?;
        let ca_file = options.programs.certificate(&options.folder, &base)?;
        let places = layout::Places::new(options.nodes, options.layout.gateways.len());
        let mut shared = base;
        shared.extend(places.peer_settings());
        shared.extend(options.certificate_settings());
        let start = |kind: Kind, address: IpAddr, own: &[String]| {
            let mut settings = shared.clone();
            settings.push(format!("peers.listen_address={address}"));
            settings.push(format!("listen.operator_address={address}"));
            settings.extend_from_slice(own);
            Node::start(kind, address, &options.programs, &options.folder, &settings)
        };
        let all = |kind: Kind, addresses: &[IpAddr]| -> anyhow::Result<Vec<Node>> {
            addresses
                .iter()
                .map(|address| start(kind, *address, &[]))
                .collect()
        };
        let twins = all(Kind::Twin, &places.twins)?;
        let queues = all(Kind::Queue, &places.queues)?;
        let routers = all(Kind::MethodRouter, &places.routers)?;
        let gateways = options
            .layout
            .gateways
            .iter()
            .zip(&places.gateways)
            .map(|(doors, address)| start(Kind::Gateway, *address, &doors.settings()))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let hub = Self {
            gateways,
            queues,
            routers,
            twins,
            credentials,
            ca_file,
        };
        for node in hub.nodes() {
            node.wait_until_ready(START_PATIENCE)?;
        }
        Ok(hub)
    }

    /// Every process, those that others call last.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.gateways
            .iter()
            .chain(&self.routers)
            .chain(&self.queues)
            .chain(&self.twins)
    }

    /// Asks every process to end, gateways first, and waits for each.
    ///
    /// # Errors
    /// A process that ended with another code than 0, or did not end.
    pub fn stop(&self) -> anyhow::Result<()> {
        for group in [&self.gateways, &self.routers, &self.queues, &self.twins] {
            for node in group {
                node.ask_to_stop()?;
            }
            for node in group {
                let code = node.wait()?;
                ensure!(
                    code == 0,
                    "{} ended with {code}:\n{}",
                    node.name(),
                    node.last_words()
                );
            }
        }
        Ok(())
    }
}

impl Options {
    /// What every process is told.
    fn settings_of_all(&self) -> Vec<String> {
        let mut settings = vec![
            "storage.kind=postgres".to_owned(),
            format!("storage.postgres.url={}", self.postgres_url),
            "storage.postgres.max_connections=6".to_owned(),
            "presence.kind=redis".to_owned(),
            format!("presence.redis.urls={}", self.redis_url),
            format!("presence.redis.key_prefix={}", self.prefix),
            format!("hub.host_name={}", self.hosts[0]),
        ];
        if self.hosts.len() > 1 {
            settings.push(format!(
                "hub.extra_host_names={}",
                self.hosts[1..].join(",")
            ));
        }
        if let Some(brokers) = &self.kafka {
            settings.push("events.kind=kafka".to_owned());
            settings.push(format!("events.kafka.brokers={brokers}"));
            settings.push(format!("events.kafka.topic_prefix={}", self.prefix));
            settings.push("events.kafka.partitions=2".to_owned());
        }
        settings.extend_from_slice(&self.settings);
        settings
    }

    fn certificate_settings(&self) -> [String; 2] {
        let file = |name: &str| self.folder.join(name).display().to_string();
        [
            format!("tls.certificate_file={}", file(programs::CERTIFICATE_FILE)),
            format!("tls.key_file={}", file(programs::KEY_FILE)),
        ]
    }
}
