//! The gateway's word that it is alive, and its entries in presence: the lease is renewed, entries
//! that may have been lost are written again, and a gateway that was stopped past its lease asks
//! for no messages until it knows which devices are still its own.
//!
//! Orders to disconnect find nobody while entries are lost. So connections are asked to look at
//! their identities once more, all of them after such a loss and otherwise each once per
//! `reassert_interval`, at a pace that twin bears.

mod recheck;
mod renew;
mod restore;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::GatewayId;
use downlink_ports::{Clock, GatewayLease, GatewayLeases, PresenceDirectory};
use downlink_runtime::{Lifecycle, OnError};
use tokio::sync::watch;

pub use self::standing::Standing;
use crate::connections::Connections;
use crate::metrics::LeaseMetrics;
use crate::options::GatewayOptions;
use crate::passages::Reports;
use crate::peers::Peers;

/// How the gateway stands with presence: whether devices can connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseHealth {
    /// No lease was taken yet.
    Waiting,
    /// The lease is held.
    Held,
    /// Presence does not answer: connections that are here go on, new ones are refused.
    Away,
}

/// What the tasks of the keeper share. It must not hold what the connections share: the task that
/// works off ended connections waits until that is gone, and the lease outlives them all.
struct Keeper {
    leases: Arc<dyn GatewayLeases>,
    presence: Arc<dyn PresenceDirectory>,
    connections: Arc<Connections>,
    standing: Arc<Standing>,
    health: watch::Sender<LeaseHealth>,
    metrics: LeaseMetrics,
    reports: Reports,
    clock: Arc<dyn Clock>,
    gateway: GatewayId,
    address: String,
    ttl: Duration,
    renew_interval: Duration,
    reassert_interval: Duration,
    restore_pace: u32,
    /// The generation of lost entries that was last written again.
    restored: watch::Sender<u64>,
}

/// What the keeper shares with the gateway.
pub struct Kept {
    /// Device connections held here.
    pub connections: Arc<Connections>,
    /// Whether messages may be asked for.
    pub standing: Arc<Standing>,
    /// Told how the lease stands.
    pub health: watch::Sender<LeaseHealth>,
    /// Instruments.
    pub metrics: LeaseMetrics,
    /// Told which connections stand.
    pub reports: Reports,
}

/// Starts to take and renew the lease and to write entries again. When `lifecycle` drains, the
/// lease is given back: its other parts must have drained by then.
pub fn start(options: &GatewayOptions, peers: &Peers, kept: Kept, lifecycle: &Lifecycle) {
    let Kept {
        connections,
        standing,
        health,
        metrics,
        reports,
    } = kept;
    standing.begin(options.lease_ttl);
    let keeper = Arc::new(Keeper {
        leases: Arc::clone(&peers.leases),
        presence: Arc::clone(&peers.presence),
        connections,
        standing,
        health,
        metrics,
        reports,
        clock: Arc::clone(&peers.clock),
        gateway: options.id.clone(),
        address: options.address.clone(),
        ttl: options.lease_ttl,
        renew_interval: options.lease_renew_interval,
        reassert_interval: options.reassert_interval,
        restore_pace: options.restore_pace.max(1),
        restored: watch::Sender::new(0),
    });
    let drain = lifecycle.drain_token();
    let renewing = renew::run(Arc::clone(&keeper), drain.clone());
    lifecycle.spawn("lease keeper", OnError::Shutdown, renewing);
    let rechecking = recheck::run(Arc::clone(&keeper), drain.clone());
    lifecycle.spawn("identity rechecker", OnError::Shutdown, rechecking);
    let restoring = restore::run(keeper, drain);
    lifecycle.spawn("presence restorer", OnError::Shutdown, restoring);
}

impl Keeper {
    fn lease(&self) -> GatewayLease {
        GatewayLease {
            gateway: self.gateway.clone(),
            address: self.address.clone(),
            connections: self.connections.count() as u64,
        }
    }

    /// How long one call may take, so that several fit in the life of a lease.
    fn call_deadline(&self) -> Duration {
        self.ttl / 4
    }
}
