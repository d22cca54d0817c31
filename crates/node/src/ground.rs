//! What every process stands on before it opens anything.

use std::sync::Arc;

use downlink_config::Config;
use downlink_ports::{Clock, IdSource};
use downlink_runtime::Lifecycle;
use downlink_runtime::clock::{RandomIds, SystemClock};
use downlink_runtime::telemetry::Metrics;

use crate::readiness::Readiness;

/// Configuration, time, ids, metrics, tasks. Clones share all of them.
#[derive(Clone)]
pub struct Ground {
    /// The merged configuration.
    pub config: Arc<Config>,
    /// The business clock.
    pub clock: Arc<dyn Clock>,
    /// Ids and secrets.
    pub ids: Arc<dyn IdSource>,
    /// Where instruments are declared.
    pub metrics: Metrics,
    /// The root scope of the process.
    pub lifecycle: Lifecycle,
    /// What the process needs to do its work.
    pub readiness: Readiness,
}

impl Ground {
    /// Makes the ground of a process.
    ///
    /// # Errors
    /// When metrics cannot be set up.
    pub fn new(config: Arc<Config>, lifecycle: Lifecycle) -> anyhow::Result<Self> {
        let metrics = Metrics::new("downlink")?;
        Ok(Self {
            config,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            readiness: Readiness::new(lifecycle.clone(), &metrics.meter("downlink.node")),
            metrics,
            lifecycle,
        })
    }
}
