//! What remains to be done when connections begin and end, in batches: a reconnect storm is a
//! normal day.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::message::Settlement;
use downlink_ports::{ConnectionChange, DeviceConnection};
use downlink_runtime::{Lifecycle, OnError};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::peers::Peers;

/// Changes that may wait; above it connections wait before they begin or end.
const MAX_WAITING: usize = 8192;
const MAX_BATCH: usize = 512;
const DEADLINE: Duration = Duration::from_secs(10);

/// A connection that began or ended.
#[derive(Debug)]
pub enum Passage {
    /// It began. Told when everything noted before it has been worked off.
    Arrived(DeviceConnection, oneshot::Sender<()>),
    /// It ended, with the messages it still held. Its successor is told when they are back.
    Departed(
        DeviceConnection,
        Vec<Settlement>,
        Option<oneshot::Sender<()>>,
    ),
}

/// Takes note of connections that begin and end.
#[derive(Clone, Debug)]
pub struct Passages(mpsc::Sender<Passage>);

impl Passages {
    /// Starts the task that works them off; it ends, after the last of them, when every clone of
    /// the returned handle is gone.
    pub fn start(peers: Peers, lifecycle: &Lifecycle) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        lifecycle.spawn("passages", OnError::Shutdown, work_off(peers, receiver));
        Self(sender)
    }

    /// Hands one over unless too many are waiting; tells whether it was taken.
    pub fn try_note(&self, passage: Passage) -> bool {
        self.0.try_send(passage).is_ok()
    }

    /// Hands one over; waits while too many are waiting.
    pub async fn note(&self, passage: Passage) {
        // Fails only after the task ended, that is after a halt.
        let _ = self.0.send(passage).await;
    }
}

async fn work_off(peers: Peers, mut receiver: mpsc::Receiver<Passage>) {
    let peers = Arc::new(peers);
    let mut batch = Vec::new();
    while receiver.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let work = settle_batch(&peers, std::mem::take(&mut batch));
        if tokio::time::timeout(DEADLINE, work).await.is_err() {
            warn!("noting connections that began or ended took too long");
        }
    }
}

async fn settle_batch(peers: &Peers, batch: Vec<Passage>) {
    let now = peers.clock.now();
    let mut gone = Vec::new();
    let mut releases = Vec::new();
    let mut waiting = Vec::new();
    let mut changes = Vec::with_capacity(batch.len());
    for passage in batch {
        match passage {
            Passage::Arrived(connection, told) => {
                changes.push(change(peers, connection, true, now));
                waiting.push(told);
            }
            Passage::Departed(connection, held, successor) => {
                waiting.extend(successor);
                gone.push((connection.device, connection.epoch));
                releases.extend(held);
                changes.push(change(peers, connection, false, now));
            }
        }
    }
    let presence = async {
        if !gone.is_empty()
            && let Err(error) = peers.presence.disconnect(gone).await
        {
            warn!(%error, "cannot remove ended connections from presence");
        }
    };
    let queue = async {
        if !releases.is_empty()
            && let Err(error) = peers.queue.settle(releases).await
        {
            warn!(%error, "cannot give back messages of ended connections, their locks will lapse");
        }
        for told in waiting {
            // Who no longer waits needs no word.
            let _ = told.send(());
        }
    };
    let twins = async {
        if let Err(error) = peers.twins.record_connections(changes).await {
            warn!(%error, "cannot record connection events");
        }
    };
    futures::join!(presence, queue, twins);
}

fn change(
    peers: &Peers,
    connection: DeviceConnection,
    is_connected: bool,
    at: Timestamp,
) -> ConnectionChange {
    ConnectionChange {
        event_id: peers.ids.record_id(at),
        connection,
        is_connected,
        at,
    }
}
