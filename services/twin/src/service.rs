//! The service: its lanes, and the door that every use case is called through.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::policy::Policy;
use downlink_domain::twin::{Twin, TwinChange, TwinRules};
use downlink_ports::{
    AccessSnapshot, ConnectionChange, MissedChanges, OpenedDevice, PeerError, RegistryCounts,
    Since, TwinApi, TwinView,
};
use downlink_runtime::Lifecycle;

use crate::access::{AccessReader, start_access_reader};
use crate::by_gateway::Finder;
use crate::get::{IdentityReader, TwinReader, start_identity_reader, start_twin_reader};
use crate::metrics::{Metrics, Operation};
use crate::missed::{ChangesReader, ToldWriter, start_changes_reader, start_told_writer};
use crate::notify::Notifier;
use crate::options::{TwinDeps, TwinOptions};
use crate::registry::census::Census;
use crate::revoke::Revoker;
use crate::write::{Desk, Writer};

/// Registry, twins, sessions and policies over their stores.
pub(crate) struct TwinService {
    pub(crate) deps: TwinDeps,
    pub(crate) identities: IdentityReader,
    pub(crate) twins: TwinReader,
    pub(crate) changes: ChangesReader,
    pub(crate) told: ToldWriter,
    pub(crate) access: AccessReader,
    pub(crate) writer: Writer,
    pub(crate) revoker: Revoker,
    pub(crate) census: Census,
    pub(crate) twin_rules: TwinRules,
    pub(crate) metrics: Metrics,
    /// Scope of writes that go on without their callers.
    pub(crate) lifecycle: Lifecycle,
}

impl TwinService {
    pub(crate) fn start(options: &TwinOptions, deps: TwinDeps, lifecycle: &Lifecycle) -> Self {
        let metrics = Metrics::new(&deps.meter);
        let finder = Finder {
            presence: Arc::clone(&deps.presence),
            gateways: Arc::clone(&deps.gateways),
            deadline: options.gateway_deadline,
        };
        // Parts drain newest first: writers before those whom they hand changes to.
        let behind = lifecycle.child("twin.changes");
        let ahead = lifecycle.child("twin.stores");
        let ids = Arc::clone(&deps.ids);
        let revoker = Revoker::start(finder.clone(), Arc::clone(&ids), metrics.clone(), &behind);
        let (lanes, counts) = (options.notifications, metrics.clone());
        let notifier = Notifier::start(finder, ids, lanes, counts, &behind);
        let desk = Desk {
            twins: Arc::clone(&deps.twins),
            clock: Arc::clone(&deps.clock),
            notifier: Arc::new(notifier),
            rules: options.rules,
        };
        Self {
            identities: start_identity_reader(Arc::clone(&deps.registry), options.reads, &ahead),
            twins: start_twin_reader(Arc::clone(&deps.twins), options.reads, &ahead),
            told: start_told_writer(Arc::clone(&deps.sessions), options.reads, &ahead),
            changes: start_changes_reader(Arc::clone(&deps.twins), options.reads, &ahead),
            access: start_access_reader(Arc::clone(&deps.access), options.reads, &ahead),
            writer: desk.start(options.writes, &ahead),
            census: Census::new(
                options.max_identities,
                options.max_modules,
                Arc::clone(&deps.clock),
            ),
            twin_rules: options.rules,
            revoker,
            metrics,
            lifecycle: ahead,
            deps,
        }
    }
}

#[async_trait]
impl TwinApi for TwinService {
    async fn open_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<OpenedDevice>, PeerError> {
        self.open(hub, name).await
    }

    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), PeerError> {
        self.write_sessions(sessions).await
    }

    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), PeerError> {
        self.note_connections(changes).await
    }

    async fn put_device(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Device, PeerError> {
        let result = self.put(hub, name, spec, if_match, by).await;
        self.metrics.count(Operation::IdentityWrite, result)
    }

    async fn delete_device(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let result = self.delete(hub, name, if_match, by).await;
        self.metrics.count(Operation::IdentityDelete, result)
    }

    async fn find_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<Device>, PeerError> {
        self.find_connecting(hub, name).await
    }

    async fn list_devices(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, PeerError> {
        self.list(hub, limit).await
    }

    async fn count_devices(&self, hub: HubName) -> Result<RegistryCounts, PeerError> {
        self.count(hub).await
    }

    async fn get_twin(&self, hub: HubName, name: IdentityName) -> Result<TwinView, PeerError> {
        let result = self.read_twin(hub, name).await;
        self.metrics.count(Operation::ServiceRead, result)
    }

    async fn update_twin(
        &self,
        hub: HubName,
        name: IdentityName,
        change: TwinChange,
    ) -> Result<TwinView, PeerError> {
        let result = self.write_twin(hub, name, change).await;
        self.metrics.count(Operation::ServiceUpdate, result)
    }

    async fn get_own_twin(&self, device: DeviceKey) -> Result<Twin, PeerError> {
        let result = self.read_own_twin(device).await;
        self.metrics.count(Operation::DeviceRead, result)
    }

    async fn missed_changes(
        &self,
        device: DeviceKey,
        since: Since,
    ) -> Result<MissedChanges, PeerError> {
        let result = self.read_missed(device, since).await;
        self.metrics.count(Operation::MissedChanges, result)
    }

    async fn note_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), PeerError> {
        self.write_told(told).await
    }

    async fn find_twin_versions(
        &self,
        devices: Vec<DeviceKey>,
    ) -> Result<Vec<Option<u64>>, PeerError> {
        Ok(self.deps.twins.find_twin_versions(devices).await?)
    }

    async fn report(&self, device: DeviceKey, change: TwinChange) -> Result<u64, PeerError> {
        let result = self.write_report(device, change).await;
        self.metrics.count(Operation::DeviceUpdate, result)
    }

    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, PeerError> {
        self.read_access(hub, known).await
    }

    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Policy, PeerError> {
        let result = self.write_policy(hub, policy, if_match, by).await;
        self.metrics.count(Operation::PolicyWrite, result)
    }

    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let result = self.remove_policy(hub, name, if_match, by).await;
        self.metrics.count(Operation::PolicyDelete, result)
    }

    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<CertificateAuthority, PeerError> {
        let result = self.write_authority(hub, authority, if_match, by).await;
        self.metrics.count(Operation::AuthorityWrite, result)
    }

    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let result = self.remove_authority(hub, name, if_match, by).await;
        self.metrics.count(Operation::AuthorityDelete, result)
    }
}
