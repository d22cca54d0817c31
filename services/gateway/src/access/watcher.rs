//! Asking for the newest view, and ending what it leaves no right to be there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::HubName;
use downlink_domain::presence::DisconnectReason;
use downlink_ports::{PeerError, TwinApi};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::{AccessView, AccessWatch};
use crate::authenticate::CredentialId;
use crate::connections::Connections;
use crate::options::GatewayOptions;
use crate::peers::Peers;

/// How long one ask may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longest pause after asks that failed, so that their end is noticed soon.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// Pause between the shards of the walk that ends connections: all of them are through in a third of a second, and
/// the connections that end do not all do so in one moment.
const SHARD_PAUSE: Duration = Duration::from_millis(5);

/// Asks for the newest view.
pub struct Watcher {
    /// Whom the views are for.
    pub access: Arc<AccessWatch>,
    /// Who knows them.
    pub twins: Arc<dyn TwinApi>,
    /// Whose they are.
    pub hub: HubName,
    /// Time between two asks.
    pub interval: Duration,
    /// Device connections held here.
    pub connections: Arc<Connections>,
}

impl Watcher {
    /// Watches for the hub of `options`; nothing is known yet.
    pub fn of(options: &GatewayOptions, peers: &Peers, connections: &Arc<Connections>) -> Self {
        Self {
            access: Arc::new(AccessWatch::new(options.access_stale_limit)),
            twins: Arc::clone(&peers.twins),
            hub: options.hub.clone(),
            interval: options.access_interval,
            connections: Arc::clone(connections),
        }
    }

    /// Asks for ever.
    pub async fn run(self) {
        let mut failures: u32 = 0;
        loop {
            let due = Instant::now() + self.interval;
            match self.ask().await {
                Ok(()) if failures > 0 => {
                    info!(failures, "policies and authorities can be read again");
                    failures = 0;
                }
                Ok(()) => {}
                Err(error) => {
                    if failures == 0 {
                        warn!(%error, "policies and authorities cannot be read");
                    }
                    failures = failures.saturating_add(1);
                    debug!(%error, failures, "policies and authorities cannot be read");
                    let pause = self.interval.saturating_mul(1 << failures.min(8));
                    sleep(pause.min(MAX_PAUSE)).await;
                    continue;
                }
            }
            sleep_until(due).await;
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// Those of the twin service; what was known stays.
    pub async fn ask(&self) -> Result<(), PeerError> {
        let asked_at = Instant::now();
        let known = self.access.version();
        let asking = timeout(DEADLINE, self.twins.access(self.hub.clone(), known)).await;
        let late = PeerError::DeadlineExceeded { service: "twin" };
        let answer = asking.map_err(|_| late)??;
        let Some(snapshot) = answer else {
            self.access.confirm(asked_at);
            return Ok(());
        };
        let view = AccessView::new(&self.hub, snapshot);
        debug!(
            version = view.version(),
            "policies and authorities are read"
        );
        let gone = self.access.take(view, asked_at);
        // Whoever enters from now on sees the new view; whoever entered before is among the connections. They may be of
        // other hubs too, of which this view knows nothing.
        if !gone.is_empty() {
            self.end_connections(&gone).await;
        }
        Ok(())
    }

    async fn end_connections(&self, gone: &HashSet<CredentialId>) {
        let mut ended = 0_usize;
        for shard in 0..Connections::SHARDS {
            let closed =
                self.connections
                    .close_where(shard, DisconnectReason::KeysChanged, |handle| {
                        gone.contains(&handle.credential())
                    });
            ended += closed;
            if closed > 0 {
                sleep(SHARD_PAUSE).await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        if ended > 0 {
            info!(
                connections = ended,
                "connections end: a key or an authority is gone"
            );
        }
    }
}
