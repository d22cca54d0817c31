//! Ends every outside connection: devices over MQTT, back-ends over REST, AMQP and gRPC.
//!
//! Owns: sockets, protocol sessions, which device is connected here. Holds nothing durable.
//! Calls: queue, method-router and twin, presence. Promises: what a door acknowledged to a client
//! was acknowledged to it by the service that owns it.

mod access;
mod activity;
mod amqp;
mod arrival;
mod audit;
mod authenticate;
mod connections;
mod device;
#[cfg(test)]
mod fakes;
mod grpc;
mod https;
mod hubs;
mod identities;
mod keeper;
mod limits;
mod local;
mod mailbox;
mod metrics;
mod mqtt;
mod options;
mod parting;
mod passages;
mod peers;
mod settings;
mod shared;
mod tracking;
mod watching;
mod websocket;

use std::sync::Arc;

use downlink_ports::GatewayApi;
use downlink_runtime::{Lifecycle, Listener, OnError, TlsAcceptor};
use futures::future::join_all;
use opentelemetry::metrics::Meter;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, error};

pub use hubs::FurtherHub;
pub use keeper::LeaseHealth;
pub use options::{
    AmqpOptions, GatewayOptions, GrpcOptions, HttpsOptions, LimitsOptions, MqttOptions, SasSwitches,
};
pub use peers::Peers;

use crate::access::Watcher;
use crate::activity::{Pollers, Teller};
use crate::arrival::{Arrival, Carrier};
use crate::audit::Audit;
use crate::authenticate::Authenticator;
use crate::connections::Connections;
use crate::hubs::Hubs;
use crate::keeper::Kept;
use crate::limits::keeper::LimitsKeeper;
use crate::local::LocalGateway;
use crate::metrics::{Door, GatewayMetrics};
use crate::passages::Passages;
use crate::shared::Shared;
use crate::watching::Watches;

/// The bound sockets of the doors, several addresses each, and the TLS in front of them.
pub struct Sockets {
    /// MQTT over TLS.
    pub mqtts: Vec<Listener>,
    /// AMQP 1.0 over TLS.
    pub amqps: Vec<Listener>,
    /// HTTPS, and AMQP and MQTT in WebSockets.
    pub https: Vec<Listener>,
    /// gRPC of back-ends; none closes that door.
    pub grpc: Vec<Listener>,
    /// TLS of the MQTT and AMQP doors.
    pub tls: TlsAcceptor,
    /// TLS of the HTTPS door, which negotiates the HTTP version.
    pub https_tls: TlsAcceptor,
    /// TLS of the gRPC door, which offers `h2` alone.
    pub grpc_tls: TlsAcceptor,
}

/// Makes the part of a gateway that other services call, before its doors open.
///
/// The two halves are apart so that a process can serve [`Gateway::api`] to the services that the
/// doors will call.
pub struct Gateway {
    connections: Arc<Connections>,
    further_hubs: Vec<FurtherHub>,
    health: watch::Sender<LeaseHealth>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self::new()
    }
}

impl Gateway {
    /// Makes a gateway without doors.
    pub fn new() -> Self {
        Self {
            connections: Arc::default(),
            further_hubs: Vec::new(),
            health: watch::Sender::new(LeaseHealth::Waiting),
        }
    }

    /// Serves `hubs` too, on the same doors: a connection belongs to the hub whose host name its client gave in the TLS
    /// handshake (RFC 6066 3), and to the hub of the options if it gave none that is known.
    #[must_use]
    pub fn with_further_hubs(mut self, hubs: Vec<FurtherHub>) -> Self {
        self.further_hubs = hubs;
        self
    }

    /// How the gateway stands with presence; it is ready while its lease is held.
    pub fn lease_health(&self) -> watch::Receiver<LeaseHealth> {
        self.health.subscribe()
    }

    /// The gateway as the other services see it.
    pub fn api(&self) -> Arc<dyn GatewayApi> {
        Arc::new(LocalGateway::new(Arc::clone(&self.connections)))
    }

    /// Takes the lease, then opens the doors; until then clients wait to be accepted. Without a
    /// lease within its life the doors open all the same: back-ends are served, and devices are
    /// told to come again until presence is back.
    ///
    /// Drain: nothing new is accepted, connections are told to go by their protocol's own means,
    /// what they hold is given back, and the queue and presence hear of it; the lease is given
    /// back last, before `start`'s scope has drained.
    pub fn start(
        self,
        options: GatewayOptions,
        peers: Peers,
        sockets: Sockets,
        meter: &Meter,
        lifecycle: &Lifecycle,
    ) {
        // Connections drain before the task that works off what they leave behind, and that before
        // the lease, under which presence believes what it is told until the end.
        let metrics = GatewayMetrics::new(meter);
        let standing = Arc::default();
        let health = self.health.subscribe();
        let behind = lifecycle.child("passages");
        let passages = Passages::start(
            &options.id,
            peers.clone(),
            Arc::clone(&self.connections),
            metrics.reports.clone(),
            &behind,
        );
        let kept = Kept {
            connections: Arc::clone(&self.connections),
            standing: Arc::clone(&standing),
            health: self.health,
            metrics: metrics.lease.clone(),
            reports: passages.reports(),
        };
        keeper::start(&options, &peers, kept, lifecycle);
        let pollers: Arc<Pollers> = Arc::default();
        let teller = Teller {
            connections: Arc::clone(&self.connections),
            pollers: Arc::clone(&pollers),
            twin: Arc::clone(&peers.connections),
            interval: options.activity_interval,
            told: metrics.reports.activity.clone(),
        };
        behind.spawn("activity", OnError::Log, teller.run(behind.drain_token()));
        let scope = lifecycle.child("connections");
        let twin_watches = Watches::start(&options.grpc, &peers, &scope);
        let open = |options: GatewayOptions, peers: Peers| {
            let watcher = Watcher::of(&options, &peers, &self.connections);
            let access = Arc::clone(&watcher.access);
            // Also while connections drain: what is left of them lives by it.
            lifecycle.spawn_background("access watcher", OnError::Shutdown, watcher.run());
            let refusals = metrics.audit.clone();
            let audit = Audit::start(&options.hub, &peers, Arc::clone(&access), refusals, &scope);
            Arc::new(Shared {
                limits: LimitsKeeper::start(&options, &peers, metrics.limits.clone(), lifecycle),
                audit,
                authenticator: Authenticator::new(&options, Arc::clone(&access), &peers),
                access,
                metrics: metrics.clone(),
                connections: Arc::clone(&self.connections),
                pollers: Arc::clone(&pollers),
                standing: Arc::clone(&standing),
                watches: Arc::clone(&twin_watches),
                lifecycle: scope.clone(),
                passages: passages.clone(),
                peers,
                options,
            })
        };
        let further = self.further_hubs.iter();
        let further = further.map(|hub| open(hub.options(&options), hub.peers(&peers)));
        let further: Vec<_> = further.collect();
        let hubs = Hubs::new(open(options, peers), further);
        scope.spawn("wake-sweep", OnError::Log, sweep(Arc::clone(hubs.first())));
        let doors = open_with_lease(hubs, sockets, health);
        scope.spawn("doors", OnError::Shutdown, doors);
    }
}

/// Opens the doors once the lease is held and the policies are known, or either has not come within the life of a lease.
async fn open_with_lease(
    hubs: Hubs<Arc<Shared>>,
    sockets: Sockets,
    mut health: watch::Receiver<LeaseHealth>,
) {
    let shared = hubs.first();
    let drain = shared.lifecycle.drain_token();
    let held = health.wait_for(|health| *health == LeaseHealth::Held);
    let held = async { timeout(shared.options.lease_ttl, held).await.is_ok() };
    let known = join_all(hubs.each().iter().map(|shared| shared.access.known()));
    let known = async { timeout(shared.options.lease_ttl, known).await.is_ok() };
    let ready = async { futures::join!(held, known) };
    let Some((is_held, is_known)) = drain.run_until_cancelled(ready).await else {
        return;
    };
    if !is_held {
        error!(
            gateway.id = %shared.options.id,
            "no lease from presence: devices are refused until it answers"
        );
    }
    if !is_known {
        error!(
            gateway.id = %shared.options.id,
            "no policies from twin: who lives by them is refused until it answers"
        );
    }
    open_doors(&hubs, sockets, &shared.lifecycle);
}

fn open_doors(hubs: &Hubs<Arc<Shared>>, sockets: Sockets, scope: &Lifecycle) {
    let Sockets {
        mqtts,
        amqps,
        https,
        grpc,
        tls,
        https_tls,
        grpc_tls,
    } = sockets;
    grpc::open(hubs, scope, grpc, &grpc_tls);
    for listener in mqtts {
        let (hubs, tls) = (hubs.clone(), tls.clone());
        listener.serve(scope, "mqtt", move |tcp, peer| {
            let (hubs, tls) = (hubs.clone(), tls.clone());
            async move {
                let arrival = Arrival::over_tls(Some(peer));
                if let Some(io) = handshake(hubs.first(), Door::Mqtt, &tls, tcp).await {
                    let shared = Arc::clone(hubs.of(&io));
                    let arrival = arrival.with_certificates(&io);
                    mqtt::serve(shared, io, arrival).await;
                }
            }
        });
    }
    for listener in amqps {
        let (hubs, tls) = (hubs.clone(), tls.clone());
        listener.serve(scope, "amqp", move |tcp, peer| {
            let (hubs, tls) = (hubs.clone(), tls.clone());
            async move {
                let arrival = Arrival::over_tls(Some(peer));
                if let Some(io) = handshake(hubs.first(), Door::Amqp, &tls, tcp).await {
                    let shared = Arc::clone(hubs.of(&io));
                    let arrival = arrival.with_certificates(&io);
                    amqp::serve(shared, io, arrival).await;
                }
            }
        });
    }
    let answering = hubs.map(|shared| (Arc::clone(shared), https::router(Arc::clone(shared))));
    for listener in https {
        let (hubs, tls) = (answering.clone(), https_tls.clone());
        listener.serve(scope, "https", move |tcp, peer| {
            let (hubs, tls) = (hubs.clone(), tls.clone());
            async move {
                let arrival = Arrival::over_tls(Some(peer));
                let (first, _) = hubs.first();
                if let Some(io) = handshake(first, Door::Https, &tls, tcp).await {
                    let (shared, router) = hubs.of(&io).clone();
                    let arrival = arrival.with_certificates(&io);
                    https::serve(shared, router, io, arrival).await;
                }
            }
        });
    }
}

async fn handshake(
    shared: &Shared,
    door: Door,
    tls: &TlsAcceptor,
    tcp: TcpStream,
) -> Option<downlink_runtime::TlsStream<TcpStream>> {
    shared.metrics.connection_accepted(door, Carrier::Tls);
    let deadline = Instant::now() + shared.options.handshake_deadline;
    let drain = shared.lifecycle.drain_token();
    // Nobody has been promised anything yet: a drain does not wait for strangers.
    match drain.run_until_cancelled(tls.accept(tcp, deadline)).await? {
        Ok(io) => Some(io),
        Err(error) => {
            shared.metrics.handshake_failed(door);
            debug!(door = door.as_str(), %error, "no tls connection");
            None
        }
    }
}

/// Finds what a lost wake-up missed: every connection that takes messages is woken once per
/// interval, shard by shard, so that the queue sees an even trickle.
async fn sweep(shared: Arc<Shared>) {
    let shards = u32::try_from(Connections::SHARDS).unwrap_or(1);
    let pause = shared.options.sweep_interval / shards;
    let drain = shared.lifecycle.drain_token();
    for shard in (0..Connections::SHARDS).cycle() {
        let due = shared.peers.clock.now() + pause;
        tokio::select! {
            () = drain.cancelled() => return,
            () = shared.peers.clock.sleep_until(due) => shared.connections.wake_shard(shard),
        }
    }
}
