//! What the service is told and given at its start.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::caps;
use downlink_domain::twin::{ReplacedKeys, TwinRules};
use downlink_ports::{
    AccessStore, Clock, ConnectionStore, DeviceRegistry, GatewayLeases, Gateways, IdSource,
    JobStore, LimitsStore, MethodApi, PresenceDirectory, SessionStore, TwinQueries, TwinStore,
};
use downlink_runtime::BatcherOptions;
use opentelemetry::metrics::Meter;

use crate::jobs::JobOptions;

pub use crate::query::QueryOptions;

/// Options of the service; `downlink-config` holds the settings these come from.
#[derive(Clone, Copy, Debug)]
pub struct TwinOptions {
    /// Limits of twins.
    pub rules: TwinRules,
    /// Most identities of a hub, devices and modules together.
    pub max_identities: u64,
    /// Most modules of a device.
    pub max_modules: u32,
    /// How look-ups of identities, of twins and of policies are batched. A full lane makes its callers wait.
    pub reads: BatcherOptions,
    /// How writes of twins are batched. A full lane makes its callers wait.
    pub writes: BatcherOptions,
    /// How changes for devices are batched. A full lane drops: devices read the whole twin when
    /// they find a version missing.
    pub notifications: BatcherOptions,
    /// Bounds of queries.
    pub queries: QueryOptions,
    /// Longest time that presence or one gateway may take over a batch of changes or orders.
    pub gateway_deadline: Duration,
    /// How connections are ended that nobody holds any more.
    pub sweep: SweepOptions,
    /// How jobs are run.
    pub jobs: JobOptions,
}

/// How connections are ended that nobody holds any more.
#[derive(Clone, Copy, Debug)]
pub struct SweepOptions {
    /// Time between two looks at the leases of gateways.
    pub interval: Duration,
    /// How long a gateway must have been without a lease to count as lost; longer than a gateway
    /// takes to tell a directory that was emptied.
    pub grace: Duration,
    /// Least time for one page of connections of a lost gateway.
    pub page_pause: Duration,
    /// Time between two walks over all connections, for those that no gateway has.
    pub walk_pause: Duration,
    /// Time between the two looks at a connection that no gateway seems to have.
    pub patience: Duration,
}

impl Default for SweepOptions {
    /// A look each second, lost after 5 seconds, at most 10,000 connections a second; walks ten
    /// minutes apart, a minute between two looks.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            grace: Duration::from_secs(5),
            page_pause: Duration::from_millis(50),
            walk_pause: Duration::from_mins(10),
            patience: Duration::from_mins(1),
        }
    }
}

/// What the service stands on.
#[derive(Clone)]
pub struct TwinDeps {
    /// Identities.
    pub registry: Arc<dyn DeviceRegistry>,
    /// Twins.
    pub twins: Arc<dyn TwinStore>,
    /// Twins found by what is in them.
    pub queries: Arc<dyn TwinQueries>,
    /// MQTT sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Policies and certificate authorities.
    pub access: Arc<dyn AccessStore>,
    /// Jobs.
    pub jobs: Arc<dyn JobStore>,
    /// Those who call methods.
    pub methods: Arc<dyn MethodApi>,
    /// Limits.
    pub limits: Arc<dyn LimitsStore>,
    /// Who is connected, as it is recorded.
    pub connections: Arc<dyn ConnectionStore>,
    /// Who is connected where.
    pub presence: Arc<dyn PresenceDirectory>,
    /// Which gateways are there.
    pub leases: Arc<dyn GatewayLeases>,
    /// Those who hold devices.
    pub gateways: Arc<dyn Gateways>,
    /// The business clock.
    pub clock: Arc<dyn Clock>,
    /// Source of jitter.
    pub ids: Arc<dyn IdSource>,
    /// Where the service declares its instruments.
    pub meter: Meter,
}

impl Default for TwinOptions {
    /// The contract's limits; batches of up to 200 writes or 2 MiB in 4 lanes.
    fn default() -> Self {
        let writes = BatcherOptions {
            max_items: at_least_one(200),
            max_bytes: at_least_one(2 * 1024 * 1024),
            ..BatcherOptions::default()
        };
        Self {
            rules: TwinRules {
                max_tags_bytes: caps::MAX_TAGS_BYTES,
                max_desired_bytes: caps::MAX_DESIRED_BYTES,
                max_reported_bytes: caps::MAX_REPORTED_BYTES,
                replaced_keys: ReplacedKeys::default(),
                kept_changes: caps::KEPT_CHANGES,
            },
            max_identities: 1_000_000,
            max_modules: 50,
            reads: BatcherOptions::default(),
            writes,
            notifications: writes,
            queries: QueryOptions::default(),
            gateway_deadline: Duration::from_secs(5),
            sweep: SweepOptions::default(),
            jobs: JobOptions::default(),
        }
    }
}

const fn at_least_one(count: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(count - 1)
}
