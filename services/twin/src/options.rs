//! What the service is told and given at its start.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::caps;
use downlink_domain::twin::{ReplacedKeys, TwinRules};
use downlink_ports::{
    AccessStore, Clock, DeviceRegistry, Gateways, IdSource, LimitsStore, PresenceDirectory, SessionStore,
    TwinStore,
};
use downlink_runtime::BatcherOptions;
use opentelemetry::metrics::Meter;

/// Options of the service; `downlink-config` holds the settings these come from.
#[derive(Clone, Copy, Debug)]
pub struct TwinOptions {
    /// Limits of twins.
    pub rules: TwinRules,
    /// How look-ups of identities, of twins and of policies are batched. A full lane makes its callers wait.
    pub reads: BatcherOptions,
    /// How writes of twins are batched. A full lane makes its callers wait.
    pub writes: BatcherOptions,
    /// How changes for devices are batched. A full lane drops: devices read the whole twin when
    /// they find a version missing.
    pub notifications: BatcherOptions,
    /// Longest time that presence or one gateway may take over a batch of changes or orders.
    pub gateway_deadline: Duration,
}

/// What the service stands on.
#[derive(Clone)]
pub struct TwinDeps {
    /// Identities.
    pub registry: Arc<dyn DeviceRegistry>,
    /// Twins.
    pub twins: Arc<dyn TwinStore>,
    /// MQTT sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// Policies and certificate authorities.
    pub access: Arc<dyn AccessStore>,
    /// Limits.
    pub limits: Arc<dyn LimitsStore>,
    /// Who is connected where.
    pub presence: Arc<dyn PresenceDirectory>,
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
            reads: BatcherOptions::default(),
            writes,
            notifications: writes,
            gateway_deadline: Duration::from_secs(5),
        }
    }
}

const fn at_least_one(count: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(count - 1)
}
