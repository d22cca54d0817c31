//! Policies and certificate authorities.

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
use self::write::Order;
use crate::store::Store;

mod authority;
mod policy;
mod read;
mod write;

pub(crate) use self::policy::insert as insert_policy;
pub(crate) use self::read::version;

#[async_trait]
impl AccessStore for Store {
    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, StoreError> {
        let mut reader = self.reader().await?;
        // First the version: a write that comes in between is in what is read, under the version
        // before it, and is read once more when its own version is seen.
        let version = read::version(&mut reader, &hub).await?.unwrap_or(0);
        if known == Some(version) {
            return Ok(None);
        }
        Ok(Some(AccessSnapshot {
            version,
            policies: read::policies(&mut reader, &hub).await?,
            authorities: read::authorities(&mut reader, &hub).await?,
        }))
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
        self.queue.call(PutPolicy { order, policy }).await
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
        self.queue.call(DeletePolicy { order, name }).await
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
        self.queue.call(PutAuthority { order, authority }).await
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
        self.queue.call(DeleteAuthority { order, name }).await
    }
}
