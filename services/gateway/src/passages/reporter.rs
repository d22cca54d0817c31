//! Telling the twin service of connections: in order, again until it was taken, never in anybody's
//! way.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::presence::{ConnectionReport, LeaseEpoch};
use downlink_ports::{ConnectionChange, TwinApi};
use downlink_runtime::{Lifecycle, OnError};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::metrics::ReportMetrics;
use crate::peers::Peers;

/// Reports that may wait while twin does not answer, some 100 bytes each. Beyond it they are lost:
/// a connect is told by the next look at the connections that stand, and a disconnect by twin, which
/// finds that nobody has the connection.
const MAX_WAITING: usize = 65_536;
/// Reports of one call.
const MAX_BATCH: usize = 512;
/// How long twin may take over one call.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pauses before a call that failed is made again; the last one stays.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// Tries of a call once nothing more will follow: the process is going, and twin ends what a
/// gateway left.
const LAST_TRIES: usize = 3;

/// Takes reports of the connections of one gateway.
#[derive(Debug)]
pub(super) struct Reporter {
    gateway: GatewayId,
    reports: mpsc::Sender<ConnectionChange>,
    metrics: ReportMetrics,
}

/// For reports of connections that stand. It does not keep the gateway from ending.
#[derive(Clone, Debug)]
pub struct Reports {
    gateway: GatewayId,
    reports: mpsc::WeakSender<ConnectionChange>,
}

impl Reporter {
    pub(super) fn start(
        gateway: &GatewayId,
        peers: &Peers,
        metrics: ReportMetrics,
        lifecycle: &Lifecycle,
    ) -> Self {
        let (reports, waiting) = mpsc::channel(MAX_WAITING);
        let telling = tell(Arc::clone(&peers.twins), metrics.clone(), waiting);
        lifecycle.spawn("connection reports", OnError::Shutdown, telling);
        Self {
            gateway: gateway.clone(),
            reports,
            metrics,
        }
    }

    pub(super) fn reports(&self) -> Reports {
        Reports {
            gateway: self.gateway.clone(),
            reports: self.reports.downgrade(),
        }
    }

    /// A report of a device that is active now.
    pub(super) fn change(
        &self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        report: ConnectionReport,
        at: Timestamp,
    ) -> ConnectionChange {
        ConnectionChange {
            device,
            epoch,
            gateway: self.gateway.clone(),
            report,
            at,
            active_at: at,
        }
    }

    pub(super) fn report(&self, changes: Vec<ConnectionChange>) {
        let mut lost = 0;
        for change in changes {
            lost += u64::from(self.reports.try_send(change).is_err());
        }
        if lost > 0 {
            self.metrics.lost.add(lost);
            warn!(
                count = lost,
                "reports of connections are lost, too many wait for twin"
            );
        }
    }
}

impl Reports {
    /// Reports that these connections stand, as far as there is room that others will not need.
    pub fn stand(
        &self,
        connections: impl IntoIterator<Item = (DeviceKey, LeaseEpoch)>,
        at: Timestamp,
    ) {
        let Some(reports) = self.reports.upgrade() else {
            return;
        };
        for (device, epoch) in connections {
            if reports.capacity() < MAX_WAITING / 2 {
                return;
            }
            let change = ConnectionChange {
                device,
                epoch,
                gateway: self.gateway.clone(),
                report: ConnectionReport::Stands,
                at,
                active_at: Timestamp::UNSET,
            };
            // There will be another look.
            let _ = reports.try_send(change);
        }
    }
}

/// Has twin take reports, in their order, until nobody makes any. A call whose outcome is not known
/// is made again: what was taken already changes nothing.
async fn tell(
    twins: Arc<dyn TwinApi>,
    metrics: ReportMetrics,
    mut waiting: mpsc::Receiver<ConnectionChange>,
) {
    let mut changes = Vec::new();
    while waiting.recv_many(&mut changes, MAX_BATCH).await > 0 {
        let mut tries = 0;
        let mut last_tries = 0;
        while !told(&*twins, &changes).await {
            metrics.failed.increment();
            last_tries += usize::from(waiting.is_closed());
            if last_tries >= LAST_TRIES {
                metrics.lost.add(changes.len() as u64);
                warn!(
                    count = changes.len(),
                    "reports of connections are lost with this process"
                );
                break;
            }
            sleep(PAUSES[tries.min(PAUSES.len() - 1)]).await;
            tries += 1;
        }
        if tries > 0 {
            debug!(tries, "reports of connections were told late");
        }
        changes.clear();
    }
}

async fn told(twins: &dyn TwinApi, changes: &[ConnectionChange]) -> bool {
    match timeout(DEADLINE, twins.record_connections(changes.to_vec())).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            warn!(%error, "cannot report connections, trying again");
            false
        }
        Err(_) => {
            warn!("reporting connections took too long, trying again");
            false
        }
    }
}
