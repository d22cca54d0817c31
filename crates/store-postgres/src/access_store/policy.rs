//! Policies put and deleted.

use async_trait::async_trait;
use downlink_domain::device::IfMatch;
use downlink_domain::policy::Policy;
use downlink_ports::AccessError;

use super::read::policies;
use super::write::{Order, conclude};
use crate::error::Failure;
use crate::fields::stored;
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

const INSERT: &str = include_str!("../../queries/insert_policy.sql");
const UPDATE: &str = include_str!("../../queries/update_policy.sql");

pub(super) struct PutPolicy {
    pub(super) order: Order,
    pub(super) policy: Policy,
}

#[async_trait]
impl Work for PutPolicy {
    type Answer = Result<Policy, AccessError>;
    const EXTENT: Extent = Extent::Transaction;
    // The first time takes the name, or changes the etag that the condition names.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let Order { hub, if_match, .. } = &self.order;
        let desk = match self.order.desk(connection).await? {
            Ok(desk) => desk,
            Err(error) => return Ok(Err(error)),
        };
        let policies = policies(connection, hub).await?;
        let decided = desk.put_policy(&policies, self.policy.clone(), if_match);
        let (policy, event) = match decided {
            Ok(decided) => decided,
            Err(error) => return Ok(Err(error)),
        };
        let is_new = *if_match == IfMatch::Absent;
        let scope = policy.scope.as_ref();
        sqlx::query(if is_new { INSERT } else { UPDATE })
            .bind(hub.as_str())
            .bind(&policy.name)
            .bind(&policy.keys[0])
            .bind(&policy.keys[1])
            .bind(i32::from(policy.permissions.bits()))
            .bind(scope.map(|scope| scope.to_json().to_string()))
            .bind(stored(policy.etag))
            .execute(&mut *connection)
            .await?;
        conclude(connection, &desk, event).await?;
        Ok(Ok(policy))
    }
}

pub(super) struct DeletePolicy {
    pub(super) order: Order,
    pub(super) name: String,
}

#[async_trait]
impl Work for DeletePolicy {
    type Answer = Result<(), AccessError>;
    const EXTENT: Extent = Extent::Transaction;
    // A second time would find nothing.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let Order { hub, if_match, .. } = &self.order;
        let desk = match self.order.desk(connection).await? {
            Ok(desk) => desk,
            Err(error) => return Ok(Err(error)),
        };
        let policies = policies(connection, hub).await?;
        let event = match desk.delete_policy(&policies, &self.name, if_match) {
            Ok(event) => event,
            Err(error) => return Ok(Err(error)),
        };
        sqlx::query(include_str!("../../queries/delete_policy.sql"))
            .bind(hub.as_str())
            .bind(&self.name)
            .execute(&mut *connection)
            .await?;
        conclude(connection, &desk, event).await?;
        Ok(Ok(()))
    }
}
