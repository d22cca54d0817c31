//! The second look at the identity of a connection that stays.
//!
//! An order to disconnect goes to where presence says that the device is. It finds nobody while
//! presence has lost its entries or while the gateway is not known to the service that gives it,
//! and a connection without the right to be there would stay until its token ends. The keeper of
//! the lease therefore asks every connection to look for itself, after such a loss and otherwise
//! once in a while.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::device::Device;
use downlink_domain::presence::DisconnectReason;
use downlink_ports::PeerError;
use tokio::time::timeout;
use tracing::debug;

use super::running::{Done, Kind};
use super::session::DeviceSession;

/// How long a look may take; there will be another.
const LOOK: Duration = Duration::from_secs(10);

impl<T: Send + 'static> DeviceSession<T> {
    /// Looks, unless a look is on its way: one that was asked for meanwhile follows it, since what
    /// the first finds may be older.
    pub(super) fn start_recheck(&mut self) {
        if !self.wants_recheck || self.closed_by.is_some() || self.running.has(Kind::Rechecking) {
            return;
        }
        self.wants_recheck = false;
        let twins = Arc::clone(&self.shared.peers.twins);
        let (hub, name) = (self.device.hub.clone(), self.device.name.clone());
        self.running.begin(Kind::Rechecking, async move {
            let late = PeerError::DeadlineExceeded { service: "twin" };
            let look = timeout(LOOK, twins.find_device(hub, name)).await;
            Done::Rechecked(Box::new(look.unwrap_or(Err(late))))
        });
    }

    /// Closes the connection if an order to disconnect would have. Without an answer it stays: the
    /// service that did not give it knows of no reason to end it.
    pub(super) fn on_rechecked(&mut self, current: Result<Option<Device>, PeerError>) {
        let reason = match current {
            Ok(None) => Some(DisconnectReason::Deleted),
            Ok(Some(current)) => self.device.find_revocation(&current),
            Err(error) => {
                debug!(%error, "cannot look at the identity once more");
                None
            }
        };
        if let Some(reason) = reason
            && !self.handle.mailbox.is_closing()
        {
            self.shared.metrics.lease.rechecked_out.increment();
            self.handle.mailbox.close(reason);
        }
    }
}
