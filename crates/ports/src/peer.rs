//! What the services ask of each other.
//!
//! Hot methods take batches and are carried over long-lived streams; the others are unary. A
//! caller passes the deadline with the call by dropping the future: carriers give every call a
//! deadline of their own and pass on what is left of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, DeviceKey, GatewayId, HubName, IdentityName, LockToken};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{NewMessage, Settlement, Verdict};
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError, MethodName};
use downlink_domain::policy::Policy;
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Protocol};
use downlink_domain::twin::{Twin, TwinChange};

use crate::{
    AccessSnapshot, ConnectionChange, EnqueueError, Enqueued, LockedMessage, MissedChanges,
    PeerError, PurgeOutcome, RegistryCounts, SettleError, Since,
};

/// A device's request for its next messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveCall {
    /// Whose queue.
    pub device: DeviceKey,
    /// Most messages wanted, 1–1000.
    pub limit: u16,
    /// How long to hold them; `None` takes the hub's setting.
    pub lock_duration: Option<Duration>,
}

/// The queue service.
#[async_trait]
pub trait QueueApi: Send + Sync {
    /// Accepts messages; accepted means committed. By position, order per device kept.
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, PeerError>;

    /// Locks the next messages of each device. By position. At most one call per device at a
    /// time, or order is lost. `Message::delivery_count` of the answer is the number that devices
    /// are shown: earlier counted deliveries, 0 at the first (c2d.md §3.1).
    async fn receive(&self, calls: Vec<ReceiveCall>) -> Result<Vec<Vec<LockedMessage>>, PeerError>;

    /// Settles held messages. By position.
    async fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(), SettleError>>, PeerError>;

    /// Stores events (telemetry above all); answered when they are on disk.
    async fn record_events(&self, events: Vec<Event>) -> Result<(), PeerError>;

    /// Empties a device's queue for `by`; refuses with `DeviceNotFound` when there is no such
    /// device.
    async fn purge(
        &self,
        hub: HubName,
        device: DeviceId,
        by: Actor,
    ) -> Result<PurgeOutcome, PeerError>;

    /// Messages waiting for each device. By position.
    async fn count(&self, devices: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError>;

    /// Waits up to `wait` for the next feedback batch of the hub.
    async fn receive_feedback(
        &self,
        hub: HubName,
        wait: Duration,
    ) -> Result<Option<FeedbackBatch>, PeerError>;

    /// Settles a held feedback batch.
    async fn settle_feedback(
        &self,
        hub: HubName,
        token: LockToken,
        verdict: Verdict,
    ) -> Result<Result<(), SettleError>, PeerError>;
}

/// The method-router service.
#[async_trait]
pub trait MethodApi: Send + Sync {
    /// Calls a connected device and waits within both timeouts for its one outcome.
    async fn invoke(&self, call: MethodCall) -> Result<MethodAnswer, MethodError>;
}

/// A twin together with the identity it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct TwinView {
    /// The identity.
    pub device: Device,
    /// The twin.
    pub twin: Twin,
}

/// What a gateway needs to know when a device connects.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenedDevice {
    /// The identity with its keys.
    pub device: Device,
    /// The stored MQTT session, if there is one.
    pub session: Option<Bytes>,
}

/// Which connection of which identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceConnection {
    /// Internal key.
    pub device: DeviceKey,
    /// The tenant.
    pub hub: HubName,
    /// Name.
    pub name: IdentityName,
    /// Order among its connections.
    pub epoch: LeaseEpoch,
    /// What it speaks.
    pub protocol: Protocol,
}

/// The twin service: registry, twins, sessions, policies.
#[async_trait]
pub trait TwinApi: Send + Sync {
    /// Identity and session of whoever claims `name`; `None` when there is none. A module comes
    /// with the status of its device, which it follows.
    async fn open_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<OpenedDevice>, PeerError>;

    /// Writes MQTT sessions, `None` removes one.
    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), PeerError>;

    /// Has the records of connections take reports, those of one identity in the order given
    /// (`ConnectionStore::record_connections`).
    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), PeerError>;

    /// Creates (`IfMatch::Absent`) or replaces an identity. Missing keys are minted by the
    /// caller. Refuses with the codes of `RegistryError`.
    async fn put_device(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Device, PeerError>;

    /// Deletes an identity and everything of it. `IfMatch::Absent` is refused with
    /// `PreconditionFailed`.
    async fn delete_device(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError>;

    /// One identity, `None` when there is none; a module with the status of its device.
    async fn find_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<Device>, PeerError>;

    /// The first `limit` devices (1–1000), in order of their ids.
    async fn list_devices(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, PeerError>;

    /// How many devices there are.
    async fn count_devices(&self, hub: HubName) -> Result<RegistryCounts, PeerError>;

    /// A twin by name; refuses with `DeviceNotFound`.
    async fn get_twin(&self, hub: HubName, name: IdentityName) -> Result<TwinView, PeerError>;

    /// The service's write of a twin by name; answered when it is on disk, the device is told
    /// after that. Refuses with the codes of `TwinError` or `DeviceNotFound`.
    async fn update_twin(
        &self,
        hub: HubName,
        name: IdentityName,
        change: TwinChange,
    ) -> Result<TwinView, PeerError>;

    /// The device's own read; refuses with `DeviceNotFound`.
    async fn get_own_twin(&self, device: DeviceKey) -> Result<Twin, PeerError>;

    /// What the device is to be told of its desired properties since then: every change where as
    /// many were kept, else the whole section as one. Refuses with `DeviceNotFound`.
    ///
    /// This body is for services that keep no changes.
    async fn missed_changes(
        &self,
        device: DeviceKey,
        since: Since,
    ) -> Result<MissedChanges, PeerError> {
        let desired = self.get_own_twin(device).await?.desired;
        let since = match since {
            Since::Version(version) => version,
            Since::LastTold | Since::Now => desired.version,
        };
        Ok(MissedChanges::whole(&desired, since))
    }

    /// Notes which versions of desired the devices of MQTT sessions have been told, as
    /// `SessionStore::note_told`; at most 65,536.
    ///
    /// This body is for services that keep no changes.
    async fn note_told(&self, _told: Vec<(DeviceKey, u64)>) -> Result<(), PeerError> {
        Ok(())
    }

    /// Versions of many twins, for those who watch them: at most 65,536 devices. By position;
    /// `None` where the identity is gone.
    async fn find_twin_versions(
        &self,
        devices: Vec<DeviceKey>,
    ) -> Result<Vec<Option<u64>>, PeerError>;

    /// The device's own write (`TwinChange::Report`); returns the new reported version.
    async fn report(&self, device: DeviceKey, change: TwinChange) -> Result<u64, PeerError>;

    /// Policies and certificate authorities; `None` when their version is still `known`.
    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, PeerError>;

    /// Creates (`IfMatch::Absent`) or replaces a policy. Refuses with the codes of `AccessError`,
    /// and with `ArgumentInvalid` what is outside its bounds.
    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Policy, PeerError>;

    /// Deletes a policy.
    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError>;

    /// Registers (`IfMatch::Absent`) or replaces a certificate authority; the service sets its
    /// times of writing.
    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<CertificateAuthority, PeerError>;

    /// Removes a certificate authority.
    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError>;
}

/// A method call handed to the gateway that holds the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodDelivery {
    /// Whom it is for.
    pub device: DeviceKey,
    /// On which connection; another epoch means the route is stale.
    pub epoch: LeaseEpoch,
    /// Which method.
    pub name: MethodName,
    /// JSON text, empty when the caller sent none.
    pub payload: Bytes,
    /// What is left of the call's budget.
    pub timeout: Duration,
}

/// A change of desired properties to be told to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Whom to tell.
    pub device: DeviceKey,
    /// Version of desired after the change.
    pub version: u64,
    /// JSON object with `$version`.
    pub body: Bytes,
}

/// An order to end connections of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Whose.
    pub device: DeviceKey,
    /// Connections up to this epoch.
    pub up_to: LeaseEpoch,
    /// Why.
    pub reason: DisconnectReason,
}

/// A gateway, as the other services see it.
#[async_trait]
pub trait GatewayApi: Send + Sync {
    /// Tells that messages wait for these devices. May be lost; the gateway finds them later.
    async fn wake(&self, devices: Vec<DeviceKey>) -> Result<(), PeerError>;

    /// Hands a call to the device's connection and waits for the answer.
    ///
    /// `MethodError::NotOnline` says that nothing was handed over (the epoch is not that of a
    /// connection here), `MethodError::NotSubscribed` that nothing was because that connection answers
    /// no methods; after any other error the device may have the call.
    async fn invoke(&self, delivery: MethodDelivery) -> Result<MethodAnswer, MethodError>;

    /// Passes desired changes on, in the order given. Those of devices not here are dropped.
    async fn notify(&self, changes: Vec<Notify>) -> Result<(), PeerError>;

    /// Ends connections.
    async fn disconnect(&self, orders: Vec<Disconnect>) -> Result<(), PeerError>;
}

/// Finds gateways by the id that presence names.
pub trait Gateways: Send + Sync {
    /// The gateway, `None` when it is not known (any more).
    fn find(&self, gateway: &GatewayId) -> Option<Arc<dyn GatewayApi>>;
}
