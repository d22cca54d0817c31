//! Routes and leases as calls to the masters.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Route};
use downlink_ports::{GatewayLease, StoreError};
use futures::future::try_join;
use redis::{Cmd, Value, cmd};
use tokio::time::Instant;
use tracing::warn;

use crate::entry;
use crate::error::unavailable;
use crate::keys::Keys;
use crate::live::{self, LiveSet, Liveness, MAX_GATEWAYS};
use crate::scripts::Scripts;
use crate::shards::{Command, PIPELINE, Shards};
use crate::slot::slot_of;

/// What all parts of the directory share.
pub(crate) struct Core {
    pub(crate) shards: Arc<Shards>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) keys: Keys,
    pub(crate) live: LiveSet,
    route_ttl_millis: u64,
    /// Whether keys of one call may lie on several servers.
    is_cluster: bool,
    /// The highest epoch seen: a server whose clock was set back gives none below it.
    newest: AtomicU64,
}

impl Core {
    pub(crate) fn new(
        shards: Arc<Shards>,
        scripts: Arc<Scripts>,
        keys: Keys,
        route_ttl: Duration,
        is_cluster: bool,
    ) -> Self {
        Self {
            shards,
            scripts,
            keys,
            live: LiveSet::default(),
            route_ttl_millis: u64::try_from(route_ttl.as_millis()).unwrap_or(u64::MAX),
            is_cluster,
            newest: AtomicU64::new(0),
        }
    }

    /// The time to live of a route, for the scripts.
    pub(crate) fn route_ttl_millis(&self) -> u64 {
        self.route_ttl_millis
    }

    /// The lowest epoch to give next.
    pub(crate) fn lowest_epoch(&self) -> u64 {
        self.newest.load(Ordering::Relaxed) + 1
    }

    pub(crate) fn saw_epoch(&self, epoch: LeaseEpoch) {
        if epoch <= entry::MAX_EPOCH {
            self.newest.fetch_max(epoch.0, Ordering::Relaxed);
        }
    }

    /// A command on the route of a device, made by `make` from its key.
    pub(crate) fn on_route(&self, device: DeviceKey, make: impl FnOnce(&str) -> Cmd) -> Command {
        let key = self.keys.route(device);
        Command::new(slot_of(&key), make(&key))
    }

    /// Tells whether the server that holds the route of a device is connected.
    pub(crate) fn can_reach(&self, device: DeviceKey) -> bool {
        let slot = slot_of(&self.keys.route(device));
        self.shards.map().link(slot).is_some()
    }

    /// Carries out one command.
    pub(crate) async fn run_one(&self, command: Command) -> Result<Value, StoreError> {
        let mut answers = self.shards.run(vec![command]).await?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// Where each device is; entries of gateways without a lease are left out. By position.
    pub(crate) async fn lookup(
        &self,
        devices: &[DeviceKey],
    ) -> Result<Vec<Option<Route>>, StoreError> {
        if devices.is_empty() {
            return Ok(Vec::new());
        }
        // Asked at the same time, the leases cost no round trip of their own.
        let leases = async {
            if self.live.is_stale() {
                self.refresh_leases(None).await?;
            }
            Ok(())
        };
        let (routes, ()) = try_join(self.read_routes(devices), leases).await?;
        self.keep_live(routes).await
    }

    async fn read_routes(&self, devices: &[DeviceKey]) -> Result<Vec<Option<Route>>, StoreError> {
        let keys: Vec<String> = devices.iter().map(|key| self.keys.route(*key)).collect();
        let commands = if self.is_cluster {
            let get = |key: &String| {
                let mut get = cmd("GET");
                get.arg(key);
                Command::new(slot_of(key), get)
            };
            keys.iter().map(get).collect()
        } else {
            // One command costs less than as many as there are keys.
            let get = |keys: &[String]| {
                let mut get = cmd("MGET");
                get.arg(keys);
                Command::of_many(get, keys.len())
            };
            keys.chunks(PIPELINE).map(get).collect()
        };
        let answers = self.shards.run(commands).await?;
        let mut routes = Vec::with_capacity(devices.len());
        for answer in answers {
            match answer {
                Value::Array(values) => routes.extend(values),
                value => routes.push(value),
            }
        }
        if routes.len() != keys.len() {
            return Err(unavailable(&"an answer is incomplete"));
        }
        let read = |(key, value): (&String, Value)| match value {
            Value::BulkString(text) => {
                let route = entry::parse(&text);
                if route.is_none() {
                    // One entry that a later version wrote must not fail the others of a batch.
                    warn!(
                        key,
                        "an entry of presence cannot be read and counts as absent"
                    );
                }
                route
            }
            _ => None,
        };
        Ok(keys.iter().zip(routes).map(read).collect())
    }

    /// Leaves out routes of gateways without a lease; asks once more for those not heard of.
    pub(crate) async fn keep_live(
        &self,
        routes: Vec<Option<Route>>,
    ) -> Result<Vec<Option<Route>>, StoreError> {
        let read_at = Instant::now();
        let named: HashSet<&GatewayId> = routes.iter().flatten().map(|r| &r.gateway).collect();
        let mut known: HashMap<GatewayId, Liveness> = named
            .into_iter()
            .map(|gateway| (gateway.clone(), self.live.of(gateway, read_at)))
            .collect();
        if known.values().any(|known| *known == Liveness::Unknown) {
            self.refresh_leases(Some(read_at)).await?;
            let asked_at = self.live.asked_at().unwrap_or(read_at);
            for (gateway, liveness) in &mut known {
                if *liveness == Liveness::Unknown {
                    *liveness = self.live.of(gateway, read_at);
                    if *liveness == Liveness::Absent {
                        self.live.note_absent(gateway, asked_at);
                    }
                }
            }
        }
        let is_live = |route: &Route| known.get(&route.gateway) == Some(&Liveness::Live);
        Ok(routes
            .into_iter()
            .map(|route| route.filter(is_live))
            .collect())
    }

    /// Asks who holds a lease, unless it was asked after `since` (`None`: within the last second).
    async fn refresh_leases(&self, since: Option<Instant>) -> Result<(), StoreError> {
        let _asking = self.live.asking.lock().await;
        let is_fresh = match since {
            None => !self.live.is_stale(),
            Some(since) => self
                .live
                .asked_at()
                .is_some_and(|asked_at| asked_at >= since),
        };
        if !is_fresh {
            self.leases().await?;
        }
        Ok(())
    }

    /// All leases that are held now.
    pub(crate) async fn leases(&self) -> Result<Vec<GatewayLease>, StoreError> {
        let asked_at = Instant::now();
        let mut call = self.lease_call(&self.scripts.live);
        call.words.arg(MAX_GATEWAYS);
        let answer = live::read_answer(self.run_one(call).await?)?;
        Ok(self.live.answered(asked_at, answer))
    }

    /// A call of a script on the leases.
    pub(crate) fn lease_call(&self, script: &crate::scripts::StoredScript) -> Command {
        let keys = &self.keys;
        let call = script.call(&[&keys.lease_ends, &keys.lease_details]);
        Command::new(slot_of(&keys.lease_ends), call)
    }
}
