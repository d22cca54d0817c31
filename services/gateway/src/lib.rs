//! Ends every outside connection: devices over MQTT, back-ends over REST and AMQP.
//!
//! Owns: sockets, protocol sessions, which device is connected here. Holds nothing durable.
//! Calls: queue, method-router and twin, presence. Promises: what a door acknowledged to a client
//! was acknowledged to it by the service that owns it.

mod amqp;
mod authenticate;
mod connections;
mod device;
#[cfg(test)]
mod fakes;
mod https;
mod local;
mod mailbox;
mod metrics;
mod mqtt;
mod options;
mod passages;
mod peers;
mod settings;
mod shared;

use std::sync::Arc;

use downlink_ports::GatewayApi;
use downlink_runtime::{Lifecycle, Listener, OnError, TlsAcceptor};
use opentelemetry::metrics::Meter;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tracing::debug;

pub use options::{AmqpOptions, GatewayOptions, HttpsOptions, MqttOptions};
pub use peers::Peers;

use crate::authenticate::Authenticator;
use crate::connections::Connections;
use crate::local::LocalGateway;
use crate::metrics::{Door, GatewayMetrics};
use crate::passages::Passages;
use crate::shared::Shared;

/// The bound sockets of the three doors, several addresses each, and the TLS in front of them.
pub struct Sockets {
    /// MQTT over TLS.
    pub mqtts: Vec<Listener>,
    /// AMQP 1.0 over TLS.
    pub amqps: Vec<Listener>,
    /// HTTPS.
    pub https: Vec<Listener>,
    /// TLS of the MQTT and AMQP doors.
    pub tls: TlsAcceptor,
    /// TLS of the HTTPS door, which negotiates the HTTP version.
    pub https_tls: TlsAcceptor,
}

/// Makes the part of a gateway that other services call, before its doors open.
///
/// The two halves are apart so that a process can serve [`Gateway::api`] to the services that the
/// doors will call.
pub struct Gateway {
    connections: Arc<Connections>,
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
        }
    }

    /// The gateway as the other services see it.
    pub fn api(&self) -> Arc<dyn GatewayApi> {
        Arc::new(LocalGateway::new(Arc::clone(&self.connections)))
    }

    /// Opens the doors.
    ///
    /// Drain: nothing new is accepted, connections are told to go by their protocol's own means,
    /// what they hold is given back, and the queue and presence hear of it before `start`'s scope
    /// has drained.
    pub fn start(
        self,
        options: GatewayOptions,
        peers: Peers,
        sockets: Sockets,
        meter: &Meter,
        lifecycle: &Lifecycle,
    ) {
        // Connections drain before the task that works off what they leave behind.
        let passages = Passages::start(peers.clone(), lifecycle);
        let scope = lifecycle.child("connections");
        let authenticator = Authenticator::new(
            options.hub.clone(),
            options.host_names.clone(),
            options.policy_refresh,
            &peers,
        );
        let shared = Arc::new(Shared {
            metrics: GatewayMetrics::new(meter),
            connections: self.connections,
            authenticator,
            lifecycle: scope.clone(),
            passages,
            peers,
            options,
        });
        open_doors(&shared, sockets, &scope);
        scope.spawn("wake-sweep", OnError::Log, sweep(Arc::clone(&shared)));
    }
}

fn open_doors(shared: &Arc<Shared>, sockets: Sockets, scope: &Lifecycle) {
    let Sockets {
        mqtts,
        amqps,
        https,
        tls,
        https_tls,
    } = sockets;
    for listener in mqtts {
        let (shared, tls) = (Arc::clone(shared), tls.clone());
        listener.serve(scope, "mqtt", move |tcp, _| {
            let (shared, tls) = (Arc::clone(&shared), tls.clone());
            async move {
                let accepted_at = Instant::now();
                if let Some(io) = handshake(&shared, Door::Mqtt, &tls, tcp).await {
                    mqtt::serve(shared, io, accepted_at).await;
                }
            }
        });
    }
    for listener in amqps {
        let (shared, tls) = (Arc::clone(shared), tls.clone());
        listener.serve(scope, "amqp", move |tcp, _| {
            let (shared, tls) = (Arc::clone(&shared), tls.clone());
            async move {
                let accepted_at = Instant::now();
                if let Some(io) = handshake(&shared, Door::Amqp, &tls, tcp).await {
                    amqp::serve(shared, io, accepted_at).await;
                }
            }
        });
    }
    let router = https::router(Arc::clone(shared));
    for listener in https {
        let (shared, tls, router) = (Arc::clone(shared), https_tls.clone(), router.clone());
        listener.serve(scope, "https", move |tcp, _| {
            let (shared, tls, router) = (Arc::clone(&shared), tls.clone(), router.clone());
            async move {
                if let Some(io) = handshake(&shared, Door::Https, &tls, tcp).await {
                    https::serve(shared, router, io).await;
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
    shared.metrics.connection_accepted(door);
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
