//! What every door and connection of a gateway shares.

use std::sync::Arc;

use downlink_runtime::Lifecycle;

use crate::access::AccessWatch;
use crate::activity::Pollers;
use crate::audit::Audit;
use crate::authenticate::Authenticator;
use crate::connections::Connections;
use crate::keeper::Standing;
use crate::limits::Limits;
use crate::metrics::GatewayMetrics;
use crate::options::GatewayOptions;
use crate::passages::Passages;
use crate::peers::Peers;
use crate::watching::Watches;

/// What every door and connection of a gateway shares.
pub struct Shared {
    /// What the gateway was told.
    pub options: GatewayOptions,
    /// What it calls.
    pub peers: Peers,
    /// Device connections held here.
    pub connections: Arc<Connections>,
    /// Devices that are active without a connection.
    pub pollers: Arc<Pollers>,
    /// Whether messages may be asked for.
    pub standing: Arc<Standing>,
    /// Connections that begin and end.
    pub passages: Passages,
    /// Credentials of devices and back-ends.
    pub authenticator: Authenticator,
    /// Who was refused.
    pub audit: Arc<Audit>,
    /// Policies and authorities, as they stood a moment ago.
    pub access: Arc<AccessWatch>,
    /// How fast the hub and its devices are served.
    pub limits: Arc<Limits>,
    /// Instruments.
    pub metrics: GatewayMetrics,
    /// The twins that back-ends watch here.
    pub(crate) watches: Arc<Watches>,
    /// Scope of the connections' tasks.
    pub lifecycle: Lifecycle,
}
