//! What the gateway calls.

use std::sync::Arc;

use downlink_oidc::Issuers;
use downlink_ports::{
    Clock, ConnectionApi, FleetApi, GatewayLeases, Gateways, IdSource, LimitsApi, MethodApi,
    PollThrottle, PresenceDirectory, QueryApi, QueueApi, RateShares, RegistryApi, TwinApi,
};

/// The peer services, presence, time and ids.
#[derive(Clone)]
pub struct Peers {
    /// Messages, feedback, events.
    pub queue: Arc<dyn QueueApi>,
    /// Direct methods.
    pub methods: Arc<dyn MethodApi>,
    /// Registry, twins, sessions, policies.
    pub twins: Arc<dyn TwinApi>,
    /// The registry beside single identities.
    pub registry: Arc<dyn RegistryApi>,
    /// Queries over all twins.
    pub queries: Arc<dyn QueryApi>,
    /// Limits that administrators state.
    pub limits: Arc<dyn LimitsApi>,
    /// Jobs.
    pub fleet: Arc<dyn FleetApi>,
    /// What is recorded of connections.
    pub connections: Arc<dyn ConnectionApi>,
    /// Who is connected where.
    pub presence: Arc<dyn PresenceDirectory>,
    /// The word of this gateway that it is alive.
    pub leases: Arc<dyn GatewayLeases>,
    /// Polls of devices over HTTPS.
    pub polls: Arc<dyn PollThrottle>,
    /// What the gateways want of a hub's rates.
    pub rates: Arc<dyn RateShares>,
    /// The other gateways, for telling them of a superseded connection.
    pub gateways: Arc<dyn Gateways>,
    /// The issuers of bearer tokens.
    pub issuers: Arc<Issuers>,
    /// The business clock.
    pub clock: Arc<dyn Clock>,
    /// Ids and secrets.
    pub ids: Arc<dyn IdSource>,
}
