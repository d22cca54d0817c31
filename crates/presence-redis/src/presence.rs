//! Opening the directory, and keeping its connections.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::GatewayId;
use downlink_ports::StoreError;
use downlink_runtime::{Lifecycle, OnError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::core::Core;
use crate::dial::Dialer;
use crate::ears::Ears;
use crate::error::{LinkError, OpenError, unavailable};
use crate::jitter::jittered;
use crate::keys::Keys;
use crate::leases::Seen;
use crate::listener;
use crate::map::Map;
use crate::options::{RedisOptions, Servers, Topology};
use crate::scripts::Scripts;
use crate::shards::Shards;
use crate::survey::Survey;
use crate::watches::Watches;

/// How often the masters are looked for and asked whether they still are.
const SURVEY_INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two surveys.
const BREATH: Duration = Duration::from_millis(20);
/// The first wait after a failed survey; it doubles up to [`SURVEY_INTERVAL`].
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Presence in Redis: [`PresenceDirectory`](downlink_ports::PresenceDirectory) and
/// [`GatewayLeases`](downlink_ports::GatewayLeases).
///
/// Every call has the deadline of the options and fails at once while the server it needs is away;
/// nothing is kept back to be sent later. The outcome of a connect that failed is unknown: an
/// entry of which nobody knows the epoch may be there, and the next connect of the device takes
/// its place.
pub struct RedisPresence {
    pub(crate) core: Arc<Core>,
    pub(crate) ears: Arc<Ears>,
    /// What each gateway's last renewal that was answered had seen.
    pub(crate) seen: Mutex<HashMap<GatewayId, Seen>>,
}

impl RedisPresence {
    /// Connects to the servers and keeps the connections until the scope halts, so that leases can
    /// be given back while others drain.
    ///
    /// # Errors
    /// [`OpenError`], within about the connect timeout of the options.
    pub async fn open(
        options: RedisOptions,
        lifecycle: &Lifecycle,
    ) -> Result<Arc<Self>, OpenError> {
        let servers = options.check().map_err(OpenError::Options)?;
        let scripts = Arc::new(Scripts::new());
        let nudge = Arc::new(Notify::new());
        let dialer = Dialer::new(&options, &options.credentials, servers.is_tls);
        let sentinel_dialer = Dialer::new(&options, &options.sentinel_credentials, servers.is_tls);
        let mut survey = Survey {
            topology: options.topology.clone(),
            seeds: servers.addresses.clone(),
            dialer: dialer.clone(),
            sentinel_dialer,
            scripts: Arc::clone(&scripts),
            nudge: Arc::clone(&nudge),
            call_timeout: options.call_timeout,
            sentinel: None,
        };
        let map = first_survey(&mut survey, &servers, options.connect_timeout).await?;
        let shards = Arc::new(Shards::new(
            nudge,
            Arc::clone(&scripts),
            options.max_in_flight,
            options.call_timeout,
        ));
        shards.surveyed(Some(map));
        let is_cluster = matches!(options.topology, Topology::Cluster { .. });
        let keys = Keys::new(&options.key_prefix);
        let core = Core::new(
            Arc::clone(&shards),
            scripts,
            keys,
            options.route_ttl,
            is_cluster,
        );
        let core = Arc::new(core);
        let watches = Arc::new(Watches::new(options.max_watches));
        let ears = Arc::new(Ears::new(Arc::clone(&core), watches, dialer));
        let keep = keep_surveying(survey, shards);
        lifecycle.spawn_background("presence redis survey", OnError::Shutdown, keep);
        let listen = listener::run(Arc::clone(&ears));
        lifecycle.spawn_background("presence redis listener", OnError::Shutdown, listen);
        Ok(Arc::new(Self {
            core,
            ears,
            seen: Mutex::default(),
        }))
    }

    /// Checks that every master answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when one does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let map = self.core.shards.map();
        if !map.is_whole() {
            return Err(unavailable(&"not every master is connected"));
        }
        let deadline = Instant::now() + self.core.shards.call_timeout();
        let asked = map.links().map(|link| link.check_role(deadline));
        futures::future::try_join_all(asked).await?;
        Ok(())
    }

    /// How many watches are held, and of how many devices, for metrics.
    pub fn watch_counts(&self) -> (usize, usize) {
        self.ears.watches.counts()
    }
}

/// Looks for the masters until all are found or the time is up.
async fn first_survey(
    survey: &mut Survey,
    servers: &Servers,
    within: Duration,
) -> Result<Map, OpenError> {
    let mut failure = None;
    let found = timeout(within, async {
        let mut known = Map::default();
        loop {
            match survey.run(&known).await {
                Ok(map) if map.is_whole() => return Ok(map),
                Ok(map) => {
                    known = map;
                    failure = Some(LinkError::Partial);
                }
                Err(error) if error.is_passing() => failure = Some(error),
                Err(error) => return Err(error),
            }
            sleep(jittered(FIRST_WAIT)).await;
        }
    })
    .await;
    let error = match found {
        Ok(Ok(map)) => return Ok(map),
        Ok(Err(error)) => error,
        Err(_) => failure.unwrap_or(LinkError::Silent),
    };
    if let LinkError::Version { at, found } = error {
        return Err(OpenError::Version {
            server: at.to_string(),
            found,
        });
    }
    let names: Vec<_> = servers.addresses.iter().map(ToString::to_string).collect();
    Err(OpenError::Unreachable {
        servers: names.join(", "),
        reason: error.to_string(),
    })
}

/// Looks for the masters every second, and at once when something breaks. Runs until it is dropped.
async fn keep_surveying(mut survey: Survey, shards: Arc<Shards>) {
    let mut wait = FIRST_WAIT;
    let mut was_whole = true;
    loop {
        let known = shards.map();
        let outcome = survey.run(&known).await;
        drop(known);
        let is_whole = outcome.as_ref().is_ok_and(Map::is_whole);
        match &outcome {
            Ok(_) if is_whole && !was_whole => info!("redis is connected"),
            Ok(_) if !is_whole && was_whole => warn!("not every master of redis is connected"),
            Err(error) if was_whole => warn!(%error, "redis is away"),
            Err(error) => debug!(%error, "redis is still away"),
            Ok(_) => {}
        }
        was_whole = is_whole;
        shards.surveyed(outcome.ok());
        if is_whole {
            wait = FIRST_WAIT;
            sleep(BREATH).await;
            tokio::select! {
                () = shards.nudge.notified() => {}
                () = sleep(jittered(SURVEY_INTERVAL)) => {}
            }
        } else {
            // Nudges are of no use: every call that fails gives one.
            sleep(jittered(wait)).await;
            wait = SURVEY_INTERVAL.min(wait * 2);
        }
    }
}
