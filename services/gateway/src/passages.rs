//! What remains to be done when connections begin and end, in batches: a reconnect storm is a
//! normal day.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::message::Settlement;
use downlink_domain::presence::{ConnectionEnd, ConnectionReport, LeaseEpoch};
use downlink_ports::{ConnectionChange, DeviceConnection};
use downlink_runtime::{Lifecycle, OnError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use crate::connections::{Connections, Handle};
use crate::metrics::ReportMetrics;
use crate::peers::Peers;

mod reporter;

use self::reporter::Reporter;
pub use self::reporter::Reports;

/// Changes that may wait; above it connections wait before they begin or end.
const MAX_WAITING: usize = 8192;
const MAX_BATCH: usize = 512;
/// How long the queue may take to take messages back.
const RELEASE_DEADLINE: Duration = Duration::from_secs(3);
/// How long presence may take to let go of entries.
const PRESENCE_DEADLINE: Duration = Duration::from_secs(3);
/// Ended connections kept for another try when presence does not answer; more are forgotten, and
/// their entries stay until their devices connect again or the gateway ends.
const MAX_LINGERING: usize = 100_000;
/// Pause before presence is asked again.
const LINGERING_PAUSE: Duration = Duration::from_secs(1);

/// A connection that began or ended.
#[derive(Debug)]
pub enum Passage {
    /// It began. Told when everything noted before it has been worked off.
    Arrived(DeviceConnection, oneshot::Sender<()>),
    /// It ended, with the messages it still held, for this reason. Its handle leaves the gateway's
    /// records once they are back.
    Departed(
        DeviceConnection,
        Vec<Settlement>,
        Arc<Handle>,
        ConnectionEnd,
    ),
}

/// Takes note of connections that begin and end.
#[derive(Clone, Debug)]
pub struct Passages {
    passages: mpsc::Sender<Passage>,
    reports: Reports,
}

impl Passages {
    /// Starts the task that works them off; it ends, after the last of them, when every clone of
    /// the returned handle is gone.
    pub fn start(
        gateway: &GatewayId,
        peers: Peers,
        connections: Arc<Connections>,
        metrics: ReportMetrics,
        lifecycle: &Lifecycle,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let reporter = Reporter::start(gateway, &peers, metrics, lifecycle);
        let reports = reporter.reports();
        let worker = Worker {
            peers,
            connections,
            reporter,
            lingering: Vec::new(),
        };
        lifecycle.spawn("passages", OnError::Shutdown, worker.work_off(receiver));
        Self {
            passages: sender,
            reports,
        }
    }

    /// For reports of connections that stand.
    pub fn reports(&self) -> Reports {
        self.reports.clone()
    }

    /// Hands one over unless too many are waiting, then it comes back.
    pub fn try_note(&self, passage: Passage) -> Result<(), Box<Passage>> {
        self.passages
            .try_send(passage)
            .map_err(|refused| Box::new(refused.into_inner()))
    }

    /// Hands one over; waits while too many are waiting.
    pub async fn note(&self, passage: Passage) {
        // Fails only after the task ended, that is after a halt.
        let _ = self.passages.send(passage).await;
    }
}

struct Worker {
    peers: Peers,
    connections: Arc<Connections>,
    /// What goes back to the queue never waits for it.
    reporter: Reporter,
    /// Connections that presence has not let go of.
    lingering: Vec<(DeviceKey, LeaseEpoch)>,
}

/// A batch, by what is to be done with it.
#[derive(Default)]
struct Work {
    releases: Vec<Settlement>,
    departed: Vec<(DeviceKey, Arc<Handle>)>,
    arrived: Vec<oneshot::Sender<()>>,
    changes: Vec<ConnectionChange>,
}

impl Worker {
    async fn work_off(mut self, mut receiver: mpsc::Receiver<Passage>) {
        let mut batch = Vec::new();
        loop {
            let filled = receiver.recv_many(&mut batch, MAX_BATCH);
            if self.lingering.is_empty() {
                if filled.await == 0 {
                    return;
                }
            } else if timeout(LINGERING_PAUSE, filled).await == Ok(0) {
                // Nothing follows: the last try.
                return self.leave_presence(Vec::new()).await;
            }
            let work = self.sort(std::mem::take(&mut batch));
            self.settle(work).await;
        }
    }

    fn sort(&self, batch: Vec<Passage>) -> Work {
        let now = self.peers.clock.now();
        let mut work = Work::default();
        for passage in batch {
            match passage {
                Passage::Arrived(connection, told) => {
                    let began = ConnectionReport::Began;
                    let change =
                        self.reporter
                            .change(connection.device, connection.epoch, began, now);
                    work.changes.push(change);
                    work.arrived.push(told);
                }
                Passage::Departed(connection, held, handle, end) => {
                    let ended = ConnectionReport::Ended(end);
                    let change =
                        self.reporter
                            .change(connection.device, connection.epoch, ended, now);
                    work.changes.push(ConnectionChange {
                        active_at: handle.activity().last(),
                        ..change
                    });
                    work.departed.push((connection.device, handle));
                    work.releases.extend(held);
                }
            }
        }
        work
    }

    async fn settle(&mut self, work: Work) {
        let Work {
            releases,
            departed,
            arrived,
            changes,
        } = work;
        // One after the other: a device that presence no longer knows is served elsewhere without
        // a word to this gateway, so by then what it held must be back.
        self.give_back(releases).await;
        let gone = departed.iter().map(|(device, handle)| {
            handle.returned();
            self.connections.leave(*device, handle.connection);
            (*device, handle.epoch)
        });
        let gone = gone.collect();
        for told in arrived {
            // Who no longer waits needs no word.
            let _ = told.send(());
        }
        self.leave_presence(gone).await;
        self.reporter.report(changes);
    }

    async fn give_back(&self, releases: Vec<Settlement>) {
        if releases.is_empty() {
            return;
        }
        let count = releases.len();
        match timeout(RELEASE_DEADLINE, self.peers.queue.settle(releases)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                warn!(%error, count, "cannot give back messages of ended connections, their locks will lapse");
            }
            Err(_) => warn!(
                count,
                "messages of ended connections were not taken back in time, their locks will lapse"
            ),
        }
    }

    /// Takes connections out of presence, with those that it did not let go of before.
    async fn leave_presence(&mut self, gone: Vec<(DeviceKey, LeaseEpoch)>) {
        let mut all = std::mem::take(&mut self.lingering);
        all.extend(gone);
        if all.is_empty() {
            return;
        }
        while !all.is_empty() {
            let part = all[..all.len().min(MAX_BATCH)].to_vec();
            let left = self.peers.presence.disconnect(part);
            match timeout(PRESENCE_DEADLINE, left).await {
                Ok(Ok(())) => drop(all.drain(..all.len().min(MAX_BATCH))),
                Ok(Err(error)) => {
                    warn!(%error, "cannot remove ended connections from presence");
                    break;
                }
                Err(_) => {
                    warn!("removing ended connections from presence took too long");
                    break;
                }
            }
        }
        all.truncate(MAX_LINGERING);
        self.lingering = all;
    }
}
