//! How this process reaches its peers, and they it.

use std::net::SocketAddr;
use std::sync::Arc;

use downlink_config::Config;
use downlink_config::sections::Peers;
use downlink_domain::id::GatewayId;
use downlink_ports::{
    ConnectionApi, FleetApi, GatewayApi, Gateways, LimitsApi, MethodApi, QueryApi, QueueApi,
    RegistryApi, TwinApi,
};
use downlink_rpc::{
    Acceptor, DiscoveryOptions, GatewayDiscovery, MuxOptions, NodesOptions, method_nodes,
    queue_nodes, twin_nodes,
};
use downlink_runtime::{BindError, Lifecycle, Listener, ListenerOptions};

use crate::ground::Ground;
use crate::presence::Presence;

/// The port on which this process answers its peers.
pub struct PeerDoor {
    /// Where connections come in.
    pub acceptor: Acceptor,
    /// The address in use.
    pub address: SocketAddr,
}

/// Binds the port for peers.
///
/// # Errors
/// [`BindError`].
pub fn bind_peers(config: &Config) -> Result<PeerDoor, BindError> {
    let peers = &config.peers;
    let options = ListenerOptions::new(
        SocketAddr::new(peers.listen_address, peers.port),
        "peers.port",
    );
    let listener = Listener::bind(&options)?;
    let address = listener.local_address();
    let most = usize::try_from(peers.max_connections.get()).unwrap_or(usize::MAX);
    let (socket, _) = listener.into_socket();
    Ok(PeerDoor {
        acceptor: Acceptor::tcp(socket, most),
        address,
    })
}

/// What peers are told to reach a gateway by that listens at `bound`.
pub fn advertised(config: &Config, bound: SocketAddr) -> String {
    let given = &config.peers.advertise;
    if given.is_empty() {
        bound.to_string()
    } else {
        given.clone()
    }
}

/// The services behind a gateway.
pub struct Services {
    /// Messages, feedback, events.
    pub queue: Arc<dyn QueueApi>,
    /// Direct methods.
    pub methods: Arc<dyn MethodApi>,
    /// Registry, twins, sessions, policies.
    pub twins: Arc<dyn TwinApi>,
    /// Jobs.
    pub fleet: Arc<dyn FleetApi>,
    /// Limits.
    pub limits: Arc<dyn LimitsApi>,
    /// Queries over all twins.
    pub queries: Arc<dyn QueryApi>,
    /// The registry beside single identities.
    pub registry: Arc<dyn RegistryApi>,
    /// What is recorded of connections.
    pub connections: Arc<dyn ConnectionApi>,
}

/// Clients of the services at the nodes that the configuration names.
pub fn connect_services(config: &Config, scope: &Lifecycle) -> Services {
    let peers = &config.peers;
    let options = |nodes: &downlink_config::List<String>| NodesOptions {
        refresh: peers.refresh.get(),
        mux: mux_options(peers),
        ..NodesOptions::new(nodes.as_slice().to_vec())
    };
    let twins = twin_nodes(options(&peers.twins), scope);
    Services {
        queue: queue_nodes(options(&peers.queue), scope),
        methods: method_nodes(options(&peers.methods), scope),
        fleet: Arc::clone(&twins) as _,
        limits: Arc::clone(&twins) as _,
        queries: Arc::clone(&twins) as _,
        registry: Arc::clone(&twins) as _,
        connections: Arc::clone(&twins) as _,
        twins,
    }
}

/// A client of the method-router service at the nodes that the configuration names.
pub fn connect_methods(config: &Config, scope: &Lifecycle) -> Arc<dyn MethodApi> {
    let peers = &config.peers;
    let options = NodesOptions {
        refresh: peers.refresh.get(),
        mux: mux_options(peers),
        ..NodesOptions::new(peers.methods.as_slice().to_vec())
    };
    method_nodes(options, scope)
}

/// Clients of the gateways that hold a lease; `own` is the one of this process, if it is one.
pub fn discover_gateways(
    ground: &Ground,
    presence: &Presence,
    own: Option<(GatewayId, Arc<dyn GatewayApi>)>,
) -> Arc<dyn Gateways> {
    let scope = ground.lifecycle.child("gateways");
    let options = DiscoveryOptions {
        mux: mux_options(&ground.config.peers),
        ..DiscoveryOptions::default()
    };
    GatewayDiscovery::start(Arc::clone(&presence.leases), own, options, &scope)
}

fn mux_options(peers: &Peers) -> MuxOptions {
    MuxOptions {
        lanes: usize::from(peers.lanes.get()),
        call_timeout: peers.call_timeout.get(),
        ..MuxOptions::default()
    }
}
