//! Policies and certificate authorities.
//!
//! Writers hold the hub's row, so that each decides on what the one before it left. Readers hold
//! nothing.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use downlink_ports::{AccessError, AccessSnapshot, AccessStore, StoreError};

use self::authority::{DeleteAuthority, PutAuthority};
use self::policy::{DeletePolicy, PutPolicy};
use self::read::ReadAccess;
use self::write::Order;
use crate::store::PostgresStore;

mod authority;
mod policy;
mod read;
mod write;

#[async_trait]
impl AccessStore for PostgresStore {
    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, StoreError> {
        self.run(&ReadAccess { hub, known }).await
    }

    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Policy, AccessError>, StoreError> {
        let order = Order::new(hub, if_match, by, now);
        self.run(&PutPolicy { order, policy }).await
    }

    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<(), AccessError>, StoreError> {
        let order = Order::new(hub, if_match, by, now);
        self.run(&DeletePolicy { order, name }).await
    }

    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<CertificateAuthority, AccessError>, StoreError> {
        let order = Order::new(hub, if_match, by, now);
        self.run(&PutAuthority { order, authority }).await
    }

    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<(), AccessError>, StoreError> {
        let order = Order::new(hub, if_match, by, now);
        self.run(&DeleteAuthority { order, name }).await
    }
}
