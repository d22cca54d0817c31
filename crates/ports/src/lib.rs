//! Traits to the outside: stores, presence, time, ids, and the peer services.
//!
//! A method is one atomic step of a use case. Hot methods take slices of work and answer by
//! position; a batch is not a transaction unless the method says so. Adapters implement the
//! traits, services hold them as `Arc<dyn …>`. With the feature `testsuite` the crate also holds
//! the conformance suite that every adapter runs.
//!
//! ```
//! use downlink_ports::Clock;
//! fn is_late(clock: &dyn Clock, due: downlink_domain::Timestamp) -> bool {
//!     clock.now() >= due
//! }
//! ```

pub mod access_rules;
mod access_store;
mod clock;
pub mod connection_rules;
mod connection_store;
mod desired_history;
mod device_registry;
mod error;
pub mod events;
mod fleet;
mod job_store;
mod limits_store;
mod message_store;
mod outbox;
mod peer;
mod policy_store;
mod poll_throttle;
mod presence;
mod query_api;
mod rate_shares;
mod registry_api;
mod registry_write;
mod session_store;
#[cfg(feature = "testsuite")]
pub mod testsuite;
pub mod twin_queries;
mod twin_store;

pub use access_store::{AccessError, AccessSnapshot, AccessStore};
pub use clock::{Clock, IdSource};
pub use connection_store::{ConnectionApi, ConnectionChange, ConnectionStore};
pub use desired_history::{DesiredChanges, MissedChanges, Since};
pub use device_registry::{DeviceRegistry, RegistryCounts, RegistryError, registered};
pub use error::{PeerError, StoreError};
pub use fleet::FleetApi;
pub use job_store::{
    ClaimedJob, DeviceJobPlace, FoundTargets, JobClaim, JobEnd, JobFilter, JobProgress, JobStore,
};
pub use limits_store::{LimitsApi, LimitsStore, decide_limits};
pub use message_store::{
    EnqueueError, EnqueueRules, Enqueued, FeedbackReceive, FeedbackStore, LockedMessage,
    MessageStore, PurgeOrder, PurgeOutcome, Receive, SettleError, Swept,
};
pub use outbox::{Backlog, ClaimedEvents, EventOutbox, EventRelay, EventSink, OutboxBounds};
pub use peer::{
    DeviceConnection, Disconnect, GatewayApi, Gateways, MethodApi, MethodDelivery, Notify,
    OpenedDevice, QueueApi, ReceiveCall, TwinApi, TwinView,
};
pub use policy_store::PolicyStore;
pub use poll_throttle::{PollThrottle, PollTurn};
pub use presence::{
    Connected, GatewayLease, GatewayLeases, LeaseState, PresenceDirectory, PresenceWatch, Restored,
};
pub use query_api::{ItemType, MAX_CONTINUATION, MAX_PAGE_ROWS, QueryApi, QueryCall, QueryPage};
pub use rate_shares::{MAX_SHARERS, RateShares, Wants};
pub use registry_api::{ItemChange, ItemOutcome, MAX_REGISTRY_ITEMS, RegistryApi, RegistryItem};
pub use registry_write::{
    RegistryChange, RegistryPlan, RegistryRules, RegistryWrite, RegistryWritten, RotatedKeys,
    devices_of, has_creations, most_keys,
};
pub use session_store::SessionStore;
pub use twin_queries::{
    Needs, Scan, ScanPage, ScanRow, Tallied, Tally, TallyGroup, TwinQueries, TwinQueryError,
};
pub use twin_store::TwinStore;
