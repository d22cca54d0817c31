//! What each process of the local stack is told.

use std::path::PathBuf;

use downlink_stack::staying::StayingStack;

use crate::shell::Outcome;

use super::options::{DoorPorts, Options};

/// A service of the split form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Registry and twins.
    Twin,
    /// Messages.
    Queue,
    /// Direct methods.
    MethodRouter,
    /// Connections.
    Gateway,
}

impl Service {
    /// In the order of their start: the gateway calls the others.
    pub(crate) const ALL: [Self; 4] = [Self::Twin, Self::Queue, Self::MethodRouter, Self::Gateway];

    /// The name of its package and program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Twin => "downlink-twin",
            Self::Queue => "downlink-queue",
            Self::MethodRouter => "downlink-method-router",
            Self::Gateway => "downlink-gateway",
        }
    }

    /// The name of one of its processes.
    pub(super) fn node(self, number: usize) -> String {
        format!("{}-{number}", self.program())
    }
}

/// Names of equal group are ended together: the nodes of one service, and the stores.
pub(super) fn group(name: &str) -> &str {
    Service::ALL
        .into_iter()
        .map(Service::program)
        .find(|program| {
            name.strip_prefix(program)
                .is_some_and(|rest| rest.starts_with('-'))
        })
        .unwrap_or("stores")
}

/// The addresses of the stores.
#[derive(Debug)]
pub(super) struct Stores {
    pub(super) postgres: String,
    pub(super) redis: String,
    pub(super) kafka: String,
}

/// The loopback ports of one process.
#[derive(Debug)]
struct Node {
    service: Service,
    number: usize,
    metrics: u16,
    peers: u16,
    /// The gateway's.
    doors: Option<Doors>,
}

/// Where a gateway listens for clients.
#[derive(Debug)]
struct Doors {
    address: String,
    mqtts: u16,
    amqps: u16,
    https: u16,
    grpc: u16,
}

/// Who listens where and stores what where.
#[derive(Debug)]
pub(super) struct Plan {
    folder: PathBuf,
    stores: Vec<String>,
    nodes: Vec<Node>,
}

impl Plan {
    /// Chooses the ports of every process, those of the last time where they are free.
    ///
    /// # Errors
    /// There are not enough.
    pub(super) fn make(
        stack: &mut StayingStack,
        stores: &Stores,
        options: &Options,
    ) -> Outcome<Self> {
        let mut nodes = Vec::new();
        for service in Service::ALL {
            for number in 1..=options.nodes {
                nodes.push(Node::choose(stack, service, number, options.ports)?);
            }
        }
        Ok(Self {
            folder: stack.folder().to_owned(),
            stores: store_settings(stores),
            nodes,
        })
    }

    /// The settings of `downlink migrate`, `downlink hub` and `downlink certificate`.
    pub(super) fn tool_settings(&self) -> Vec<String> {
        self.stores.clone()
    }

    /// The settings of one process.
    pub(super) fn settings(&self, service: Service, number: usize) -> Vec<String> {
        let node = self.node(service, number);
        let mut settings = self.stores.clone();
        for (list, service) in [
            ("queue", Service::Queue),
            ("methods", Service::MethodRouter),
            ("twins", Service::Twin),
        ] {
            settings.push(format!("peers.{list}={}", self.peers(service)));
        }
        settings.push(format!("peers.port={}", node.peers));
        settings.push(format!("listen.metrics_port={}", node.metrics));
        if let Some(doors) = &node.doors {
            let certificates = self.folder.join("certificates");
            let file = |name| certificates.join(name).display().to_string();
            settings.extend([
                format!("tls.certificate_file={}", file("server.pem")),
                format!("tls.key_file={}", file("server.key")),
                format!("listen.addresses={}", doors.address),
                format!("listen.mqtts_port={}", doors.mqtts),
                format!("listen.amqps_port={}", doors.amqps),
                format!("listen.https_port={}", doors.https),
                format!("listen.grpc_port={}", doors.grpc),
            ]);
        }
        settings
    }

    /// The port on which the process says whether it is ready.
    pub(super) fn metrics_port(&self, service: Service, number: usize) -> u16 {
        self.node(service, number).metrics
    }

    /// Says of each process where it listens, for the reader.
    pub(super) fn doors(&self) -> impl Iterator<Item = String> {
        self.nodes.iter().map(|node| {
            let name = node.service.node(node.number);
            let operators = format!("{name}: http://127.0.0.1:{}/metrics", node.metrics);
            match &node.doors {
                None => operators,
                Some(doors) => format!(
                    "{operators}; on {} mqtts {}, amqps {}, https {}, grpc {}",
                    doors.address, doors.mqtts, doors.amqps, doors.https, doors.grpc
                ),
            }
        })
    }

    fn peers(&self, service: Service) -> String {
        let addresses: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| node.service == service)
            .map(|node| format!("127.0.0.1:{}", node.peers))
            .collect();
        addresses.join(",")
    }

    fn node(&self, service: Service, number: usize) -> &Node {
        self.nodes
            .iter()
            .find(|node| node.service == service && node.number == number)
            .expect("the plan has every node")
    }
}

impl Node {
    fn choose(
        stack: &mut StayingStack,
        service: Service,
        number: usize,
        ports: DoorPorts,
    ) -> Outcome<Self> {
        let name = service.node(number);
        let mut port = |what: &str| stack.port(&format!("{name}-{what}"));
        let doors = match (service, ports) {
            (Service::Gateway, DoorPorts::Free) => Some(Doors {
                address: "127.0.0.1".to_owned(),
                mqtts: port("mqtts")?,
                amqps: port("amqps")?,
                https: port("https")?,
                grpc: port("grpc")?,
            }),
            (Service::Gateway, DoorPorts::Sdk) => Some(Doors {
                address: format!("127.0.0.{number}"),
                mqtts: 8883,
                amqps: 5671,
                https: 443,
                grpc: 5180,
            }),
            _ => None,
        };
        Ok(Self {
            service,
            number,
            metrics: port("metrics")?,
            peers: port("peers")?,
            doors,
        })
    }
}

fn store_settings(stores: &Stores) -> Vec<String> {
    vec![
        "storage.kind=postgres".to_owned(),
        format!("storage.postgres.url={}", stores.postgres),
        "presence.kind=redis".to_owned(),
        format!("presence.redis.urls={}", stores.redis),
        "events.kind=kafka".to_owned(),
        format!("events.kafka.brokers={}", stores.kafka),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_service_are_ended_together_and_stores_are() {
        assert_eq!(group("downlink-queue-1"), group("downlink-queue-2"));
        assert_ne!(group("downlink-queue-1"), group("downlink-twin-1"));
        assert_eq!(group("kafka"), group("postgres"));
        assert_ne!(group("downlink-gateway-1"), group("kafka"));
    }

    #[test]
    fn every_setting_given_to_a_process_is_one_that_the_configuration_knows() {
        let stores = Stores {
            postgres: "postgres://postgres@127.0.0.1:1/downlink".to_owned(),
            redis: "redis://127.0.0.1:2".to_owned(),
            kafka: "127.0.0.1:3".to_owned(),
        };
        let doors = || Doors {
            address: "127.0.0.1".to_owned(),
            mqtts: 10,
            amqps: 11,
            https: 12,
            grpc: 13,
        };
        let nodes = Service::ALL.into_iter().flat_map(|service| {
            (1..=2).map(move |number| Node {
                service,
                number,
                metrics: 4,
                peers: 4 + u16::try_from(number).unwrap(),
                doors: (service == Service::Gateway).then(doors),
            })
        });
        let plan = Plan {
            folder: PathBuf::from("folder"),
            stores: store_settings(&stores),
            nodes: nodes.collect(),
        };
        let settings = plan.settings(Service::Gateway, 2);
        assert!(settings.contains(&"peers.twins=127.0.0.1:5,127.0.0.1:6".to_owned()));
        let known = crate::deployment::known_settings();
        for setting in settings {
            let name = setting.split('=').next().unwrap();
            assert!(known.contains(name), "{name} is no setting");
        }
    }
}
