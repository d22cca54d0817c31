//! The presence directory that the configuration chooses, as ports.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use downlink_config::sections::{PresenceKind, RedisTopology};
use downlink_config::{Config, Secret};
use downlink_ports::{GatewayLeases, PollThrottle, PresenceDirectory, RateShares};
use downlink_presence_memory::MemoryPresence;
use downlink_presence_redis::{Credentials, Password, RedisOptions, RedisPresence, Topology};

use crate::ground::Ground;

/// How often a gateway writes an entry again in the time that the entry stays without it.
const ROUNDS: u32 = 6;
const LEAST_ROUTE_TTL: Duration = Duration::from_hours(1);

/// Who is connected where, which gateways are alive, who polled when, and what gateways want of rates; all are one
/// directory.
#[derive(Clone)]
pub struct Presence {
    /// Connections.
    pub directory: Arc<dyn PresenceDirectory>,
    /// Gateways.
    pub leases: Arc<dyn GatewayLeases>,
    /// Polls of devices.
    pub polls: Arc<dyn PollThrottle>,
    /// What gateways want of rates.
    pub rates: Arc<dyn RateShares>,
}

/// Opens the presence directory.
///
/// # Errors
/// One line that names the setting and says what is wrong.
pub async fn open_presence(ground: &Ground) -> anyhow::Result<Presence> {
    match ground.config.presence.kind {
        PresenceKind::Memory => {
            let presence = Arc::new(MemoryPresence::new(ground.clock.now()));
            Ok(Presence {
                directory: Arc::clone(&presence) as _,
                leases: Arc::clone(&presence) as _,
                polls: Arc::clone(&presence) as _,
                rates: presence,
            })
        }
        PresenceKind::Redis => {
            let options = redis_options(&ground.config)?;
            let scope = ground.lifecycle.child("presence");
            let presence = RedisPresence::open(options, &scope)
                .await
                .context("presence.redis.urls")?;
            let pinged = Arc::clone(&presence);
            ground.readiness.watch("redis", move || {
                let presence = Arc::clone(&pinged);
                async move { presence.ping().await }
            });
            Ok(Presence {
                directory: Arc::clone(&presence) as _,
                leases: Arc::clone(&presence) as _,
                polls: Arc::clone(&presence) as _,
                rates: presence,
            })
        }
    }
}

fn redis_options(config: &Config) -> anyhow::Result<RedisOptions> {
    let redis = &config.presence.redis;
    let urls = redis.urls.as_slice().to_vec();
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let credentials = |username: &str, password: &Secret| Credentials {
        username: given(username),
        password: given(password.expose()).map(Password::new),
    };
    let authorities = redis.ca_file.as_ref().map(|path| {
        std::fs::read(path)
            .with_context(|| format!("presence.redis.ca_file: cannot read {}", path.display()))
    });
    let topology = match redis.topology {
        RedisTopology::Single => Topology::Single {
            url: urls.into_iter().next().unwrap_or_default(),
        },
        RedisTopology::Sentinel => Topology::Sentinel {
            urls,
            master: redis.master.clone(),
        },
        RedisTopology::Cluster => Topology::Cluster { urls },
    };
    let defaults = RedisOptions::new(topology);
    // Every method call may wait for its device.
    let calls = usize::try_from(config.methods.max_in_flight.get()).unwrap_or(usize::MAX);
    Ok(RedisOptions {
        max_watches: defaults.max_watches.max(calls),
        credentials: credentials(&redis.username, &redis.password),
        sentinel_credentials: credentials(&redis.sentinel_username, &redis.sentinel_password),
        root_certificates: authorities.transpose()?,
        key_prefix: redis.key_prefix.clone(),
        connect_timeout: redis.connect_timeout.get(),
        call_timeout: redis.call_timeout.get(),
        route_ttl: (config.presence.reassert_interval.get() * ROUNDS).max(LEAST_ROUTE_TTL),
        ..defaults
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn every_method_call_that_may_be_in_flight_may_wait_for_its_device() {
        let mut config = Config::default();
        for most in [1, 1_000_000] {
            config.methods.max_in_flight = NonZeroU32::new(most).unwrap();
            let options = redis_options(&config).unwrap();
            assert!(options.max_watches >= usize::try_from(most).unwrap());
            assert!(options.max_watches <= 1_000_000, "more than may be set");
        }
    }
}
