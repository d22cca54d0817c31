//! The gateways that hold a lease, found by the id that presence names.
//!
//! A background task reads the leases every second and keeps a client for each gateway. Clients
//! connect when they are first used. A gateway whose lease is gone keeps its client for a grace,
//! because a directory that was emptied forgets leases that are renewed seconds later.
//!
//! A route may name a gateway that started a moment ago. [`Gateways::find`] then gives a stand-in
//! that looks at the leases once more, at the first call made with it, before it says that the
//! gateway is not there. However many ask, looks are at least a tenth of a second apart.

mod stand_in;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::GatewayId;
use downlink_ports::{GatewayApi, GatewayLeases, Gateways};
use downlink_runtime::{Lifecycle, OnError};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::MuxOptions;
use crate::gateway_pool::GatewayPool;
use stand_in::StandIn;
use task::{Looks, Task};

/// How gateways are found and called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryOptions {
    /// Time between looks at the leases, at least 100 ms.
    pub refresh: Duration,
    /// How long the client of a gateway is kept after its lease was last seen.
    pub grace: Duration,
    /// Most gateways that are known; more are left out, with a warning.
    pub max_gateways: usize,
    /// Bounds of the streams to each gateway.
    pub mux: MuxOptions,
}

impl Default for DiscoveryOptions {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(1),
            grace: Duration::from_secs(10),
            max_gateways: 10_000,
            mux: MuxOptions::default(),
        }
    }
}

/// Finds gateways by their leases. Dropping it ends the looks; clients in use stay.
pub struct GatewayDiscovery {
    pool: GatewayPool,
    looks: Looks,
    _stop: DropGuard,
}

impl GatewayDiscovery {
    /// Begins to look at `leases`, in a background task of `lifecycle`.
    ///
    /// `own` is the gateway of this process, if there is one; it is called directly.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        leases: Arc<dyn GatewayLeases>,
        own: Option<(GatewayId, Arc<dyn GatewayApi>)>,
        options: DiscoveryOptions,
        lifecycle: &Lifecycle,
    ) -> Arc<Self> {
        let pool = GatewayPool::new();
        let own = own.map(|(id, gateway)| {
            pool.register(id.clone(), gateway);
            id
        });
        let looks = Looks::new();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = Task::new(
            leases,
            own,
            pool.clone(),
            options,
            looks.clone(),
            lifecycle.clone(),
        );
        // In the background: whatever drains may still have to reach a gateway.
        lifecycle.spawn_background("rpc-gateways", OnError::Log, async move {
            until.run_until_cancelled(task.run()).await;
        });
        Arc::new(Self {
            pool,
            looks,
            _stop: stop.drop_guard(),
        })
    }

    /// The gateways known now, without stand-ins.
    pub fn pool(&self) -> &GatewayPool {
        &self.pool
    }
}

impl Gateways for GatewayDiscovery {
    fn find(&self, gateway: &GatewayId) -> Option<Arc<dyn GatewayApi>> {
        let known = self.pool.find(gateway);
        Some(known.unwrap_or_else(|| {
            let (pool, looks) = (self.pool.clone(), self.looks.clone());
            Arc::new(StandIn::new(gateway.clone(), pool, looks))
        }))
    }
}
