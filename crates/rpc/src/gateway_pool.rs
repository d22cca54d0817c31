//! The gateways that are known by id.

use std::collections::HashMap;
use std::sync::Arc;

use downlink_domain::id::GatewayId;
use downlink_ports::{GatewayApi, Gateways};
use parking_lot::RwLock;

/// Clients of gateways by the ids that presence names. Clones share one pool.
///
/// Bounded by whoever registers: the all-in-one registers its one gateway, a discovery as many
/// as there are leases.
#[derive(Clone, Default)]
pub struct GatewayPool {
    gateways: Arc<RwLock<HashMap<GatewayId, Arc<dyn GatewayApi>>>>,
}

impl GatewayPool {
    /// Makes an empty pool.
    pub fn new() -> Self {
        Self::default()
    }

    /// Enters a gateway, in the place of an earlier one of the same id.
    pub fn register(&self, id: GatewayId, gateway: Arc<dyn GatewayApi>) {
        let replaced = self.gateways.write().insert(id, gateway);
        // Dropped outside the lock: a client closes its connections.
        drop(replaced);
    }

    /// Removes a gateway that is gone.
    pub fn remove(&self, id: &GatewayId) {
        let removed = self.gateways.write().remove(id);
        drop(removed);
    }
}

impl Gateways for GatewayPool {
    fn find(&self, gateway: &GatewayId) -> Option<Arc<dyn GatewayApi>> {
        self.gateways.read().get(gateway).cloned()
    }
}
