//! The task that looks at the leases.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::GatewayId;
use downlink_ports::{GatewayLease, GatewayLeases, StoreError};
use downlink_runtime::Lifecycle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::DiscoveryOptions;
use super::stand_in::LazyGateway;
use crate::carrier::Endpoint;
use crate::gateway_pool::GatewayPool;

/// Least time between two looks.
const SPACING: Duration = Duration::from_millis(100);
/// Longest look.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait of a caller for a look of its own.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks for a look and waits until it is over; clones ask the same task.
#[derive(Clone)]
pub(super) struct Looks {
    wanted: Arc<Notify>,
    progress: Arc<watch::Sender<Progress>>,
}

/// Looks since the start.
#[derive(Clone, Copy, Default)]
struct Progress {
    begun: u64,
    done: u64,
}

impl Looks {
    pub(super) fn new() -> Self {
        Self {
            wanted: Arc::default(),
            progress: Arc::new(watch::Sender::new(Progress::default())),
        }
    }

    /// Waits for a look that begins from now on to end; two seconds at most.
    ///
    /// # Cancellation
    /// Safe: the look takes place all the same.
    pub(super) async fn ask(&self) {
        let mut progress = self.progress.subscribe();
        let next = progress.borrow().begun + 1;
        self.wanted.notify_one();
        let done = progress.wait_for(|progress| progress.done >= next);
        if timeout(ASK_TIMEOUT, done).await.is_err() {
            debug!("the leases of gateways were not read in time");
        }
    }

    fn begin(&self) {
        self.progress.send_modify(|progress| progress.begun += 1);
    }

    fn end(&self) {
        self.progress
            .send_modify(|progress| progress.done = progress.begun);
    }
}

/// A gateway that has a client.
struct Known {
    address: String,
    last_seen: Instant,
}

pub(super) struct Task {
    leases: Arc<dyn GatewayLeases>,
    own: Option<GatewayId>,
    pool: GatewayPool,
    options: DiscoveryOptions,
    looks: Looks,
    lifecycle: Lifecycle,
    known: HashMap<GatewayId, Known>,
    is_failing: bool,
    is_full: bool,
}

impl Task {
    pub(super) fn new(
        leases: Arc<dyn GatewayLeases>,
        own: Option<GatewayId>,
        pool: GatewayPool,
        options: DiscoveryOptions,
        looks: Looks,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            leases,
            own,
            pool,
            options,
            looks,
            lifecycle,
            known: HashMap::new(),
            is_failing: false,
            is_full: false,
        }
    }

    pub(super) async fn run(mut self) {
        let pause = self.options.refresh.max(SPACING).saturating_sub(SPACING);
        loop {
            self.looks.begin();
            let found = timeout(LOOK_TIMEOUT, self.leases.gateways()).await;
            self.on_looked(found.unwrap_or_else(|_| {
                let late = "the leases of gateways were not read in time";
                Err(StoreError::Unavailable(late.to_owned()))
            }));
            self.looks.end();
            sleep(SPACING).await;
            // One that was asked for meanwhile begins at once; in any case the next is soon.
            let _ = timeout(pause, self.looks.wanted.notified()).await;
        }
    }

    /// Takes in what was read; a failure changes nothing.
    fn on_looked(&mut self, found: Result<Vec<GatewayLease>, StoreError>) {
        match found {
            Ok(leases) => {
                self.is_failing = false;
                self.take_in(leases);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    warn!(%error, "the leases of gateways cannot be read");
                }
            }
        }
    }

    fn take_in(&mut self, leases: Vec<GatewayLease>) {
        let now = Instant::now();
        for lease in leases {
            // Without an address nobody but its own process reaches it.
            if self.own.as_ref() != Some(&lease.gateway) && !lease.address.is_empty() {
                self.see(lease, now);
            }
        }
        let (pool, grace) = (&self.pool, self.options.grace);
        self.known.retain(|id, known| {
            let is_kept = now.duration_since(known.last_seen) <= grace;
            if !is_kept {
                pool.remove(id);
                info!(gateway.id = %id, "a gateway is gone");
            }
            is_kept
        });
    }

    fn see(&mut self, lease: GatewayLease, now: Instant) {
        if let Some(known) = self.known.get_mut(&lease.gateway)
            && known.address == lease.address
        {
            known.last_seen = now;
            return;
        }
        let is_new = !self.known.contains_key(&lease.gateway);
        if is_new && self.known.len() >= self.options.max_gateways {
            if !std::mem::replace(&mut self.is_full, true) {
                let max = self.options.max_gateways;
                warn!(max, "too many gateways, the rest is left out");
            }
            return;
        }
        info!(gateway.id = %lease.gateway, address = %lease.address, "a gateway is known");
        let endpoint = Endpoint::tcp(&lease.address);
        let client = LazyGateway::new(endpoint, self.options.mux, self.lifecycle.clone());
        self.pool.register(lease.gateway.clone(), Arc::new(client));
        let known = Known {
            address: lease.address,
            last_seen: now,
        };
        self.known.insert(lease.gateway, known);
    }
}
