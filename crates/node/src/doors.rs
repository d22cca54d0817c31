//! Binds every socket before anything is started, so that a taken port costs nothing but a line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use downlink_config::Config;
use downlink_runtime::{BindError, Listener, ListenerOptions};

/// Probes and scrapers need few connections.
const MAX_OPERATOR_CONNECTIONS: usize = 256;

/// Ports in use.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// MQTT over TLS.
    pub mqtts: u16,
    /// AMQP over TLS.
    pub amqps: u16,
    /// HTTPS.
    pub https: u16,
    /// gRPC over TLS.
    pub grpc: u16,
    /// Metrics and probes.
    pub metrics: u16,
}

/// How a user moves a port, for the error about one that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortNames {
    /// By a flag of the command line.
    Flags,
    /// By a setting.
    Settings,
}

/// Which sockets to bind; port 0 takes a free one.
pub struct Wanted {
    /// Where the doors listen; empty for both loopback addresses.
    pub addresses: Vec<IpAddr>,
    /// Where operators connect.
    pub operator_address: IpAddr,
    /// The ports.
    pub ports: Ports,
    /// How they are moved.
    pub names: PortNames,
    /// Connections the kernel holds ready.
    pub backlog: u32,
    /// Open connections of one door.
    pub max_connections: usize,
}

/// The bound sockets.
pub struct Bound {
    /// MQTT over TLS.
    pub mqtts: Vec<Listener>,
    /// AMQP over TLS.
    pub amqps: Vec<Listener>,
    /// HTTPS.
    pub https: Vec<Listener>,
    /// gRPC over TLS.
    pub grpc: Vec<Listener>,
    /// Metrics and probes.
    pub metrics: Listener,
}

impl Wanted {
    /// What `config` asks for.
    pub fn from_config(config: &Config, names: PortNames) -> Self {
        let listen = &config.listen;
        Self {
            addresses: listen.addresses.as_slice().to_vec(),
            operator_address: listen.operator_address,
            ports: Ports {
                mqtts: listen.mqtts_port,
                amqps: listen.amqps_port,
                https: listen.https_port,
                grpc: listen.grpc_port,
                metrics: listen.metrics_port,
            },
            names,
            backlog: listen.backlog.get(),
            max_connections: usize::try_from(listen.max_connections.get()).unwrap_or(usize::MAX),
        }
    }

    /// Binds every door.
    ///
    /// # Errors
    /// The first [`BindError`].
    pub fn bind(&self) -> Result<Bound, BindError> {
        let door = |port, (flag, setting)| {
            let name = match self.names {
                PortNames::Flags => flag,
                PortNames::Settings => setting,
            };
            self.bind_door(port, name)
        };
        Ok(Bound {
            mqtts: door(self.ports.mqtts, ("--mqtts-port", "listen.mqtts_port"))?,
            amqps: door(self.ports.amqps, ("--amqps-port", "listen.amqps_port"))?,
            https: door(self.ports.https, ("--https-port", "listen.https_port"))?,
            grpc: door(self.ports.grpc, ("--grpc-port", "listen.grpc_port"))?,
            metrics: bind_operators(self.operator_address, self.ports.metrics, self.names)?,
        })
    }

    /// Binds one door on every address, on the same port.
    fn bind_door(&self, port: u16, flag: &'static str) -> Result<Vec<Listener>, BindError> {
        let bind = |address, port| {
            Listener::bind(&ListenerOptions {
                address: SocketAddr::new(address, port),
                port_flag: flag,
                backlog: self.backlog,
                max_connections: self.max_connections,
            })
        };
        if self.addresses.is_empty() {
            let v4 = bind(IpAddr::V4(Ipv4Addr::LOCALHOST), port)?;
            let v6 = match bind(IpAddr::V6(Ipv6Addr::LOCALHOST), v4.local_address().port()) {
                Ok(listener) => Some(listener),
                // Not every machine has IPv6, and nobody asked for it by name here.
                Err(BindError::NoSuchAddress { .. } | BindError::Other { .. }) => None,
                Err(taken) => return Err(taken),
            };
            return Ok(std::iter::once(v4).chain(v6).collect());
        }
        let mut listeners: Vec<Listener> = Vec::with_capacity(self.addresses.len());
        for address in &self.addresses {
            let port = listeners
                .first()
                .map_or(port, |first| first.local_address().port());
            listeners.push(bind(*address, port)?);
        }
        Ok(listeners)
    }
}

impl Bound {
    /// The ports that were found.
    pub fn ports(&self) -> Ports {
        let of = |listeners: &[Listener]| {
            listeners
                .first()
                .map_or(0, |listener| listener.local_address().port())
        };
        Ports {
            mqtts: of(&self.mqtts),
            amqps: of(&self.amqps),
            https: of(&self.https),
            grpc: of(&self.grpc),
            metrics: self.metrics.local_address().port(),
        }
    }
}

/// Binds the port of metrics and probes.
///
/// # Errors
/// [`BindError`].
pub fn bind_operators(address: IpAddr, port: u16, names: PortNames) -> Result<Listener, BindError> {
    let name = match names {
        PortNames::Flags => "--metrics-port",
        PortNames::Settings => "listen.metrics_port",
    };
    let mut options = ListenerOptions::new(SocketAddr::new(address, port), name);
    options.max_connections = MAX_OPERATOR_CONNECTIONS;
    Listener::bind(&options)
}
