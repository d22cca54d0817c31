//! From the configuration to the options of the service.

use std::num::NonZeroUsize;
use std::time::Duration;

use downlink_config::sections::{self, Config};
use downlink_domain::twin::{ReplacedKeys, TwinRules};

use crate::jobs::JobOptions;
use crate::options::{QueryOptions, SweepOptions, TwinOptions};

impl From<&Config> for TwinOptions {
    fn from(config: &Config) -> Self {
        let twin = &config.twin;
        Self {
            rules: TwinRules {
                max_tags_bytes: twin.max_tags_bytes.as_usize(),
                max_desired_bytes: twin.max_desired_bytes.as_usize(),
                max_reported_bytes: twin.max_reported_bytes.as_usize(),
                replaced_keys: match twin.desired_replace_nulls {
                    sections::ReplacedKeys::Omitted => ReplacedKeys::Omitted,
                    sections::ReplacedKeys::Nulls => ReplacedKeys::Nulls,
                },
                kept_changes: twin.kept_changes,
            },
            max_identities: config.registry.max_identities.get(),
            max_modules: config.registry.max_modules_per_device.get(),
            jobs: JobOptions {
                max_active: config.jobs.max_active.get(),
                device_rate: config.jobs.device_rate,
                max_calls: config.jobs.max_calls,
                lease: config.jobs.lease.get(),
                poll_interval: config.jobs.poll_interval.get(),
                history: config.jobs.history.get(),
            },
            sweep: SweepOptions {
                // A directory that was emptied has heard of every gateway by then.
                grace: config.presence.lease_renew_interval.get() * 2 + Duration::from_secs(1),
                ..SweepOptions::default()
            },
            queries: QueryOptions {
                max_scanned: twin.query_max_scanned.get().into(),
                concurrent: twin
                    .query_max_concurrent
                    .try_into()
                    .unwrap_or(NonZeroUsize::MIN),
                deadline: twin.query_deadline.get(),
                slow: twin.slow_query.get(),
            },
            ..Self::default()
        }
    }
}
