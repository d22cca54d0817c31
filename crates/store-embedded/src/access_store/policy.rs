//! Policies put and deleted.

use async_trait::async_trait;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use downlink_ports::{AccessError, StoreError};
use sqlx::SqliteConnection;

use super::read::policies;
use super::write::{Order, conclude};
use crate::error::store_error;
use crate::fields::stored;
use crate::writer::{Scope, Work};

const INSERT: &str = include_str!("../../queries/insert_policy.sql");
const UPDATE: &str = include_str!("../../queries/update_policy.sql");

pub(super) struct PutPolicy {
    pub(super) order: Order,
    pub(super) policy: Policy,
}

#[async_trait]
impl Work for PutPolicy {
    type Answer = Result<Policy, AccessError>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let Order { hub, if_match, .. } = &self.order;
        let desk = match self.order.desk(scope).await? {
            Ok(desk) => desk,
            Err(error) => return Ok(Err(error)),
        };
        let policies = policies(scope.connection, hub).await?;
        let (policy, event) = match desk.put_policy(&policies, self.policy, if_match) {
            Ok(decided) => decided,
            Err(error) => return Ok(Err(error)),
        };
        let is_new = *if_match == IfMatch::Absent;
        let statement = if is_new { INSERT } else { UPDATE };
        write(scope.connection, statement, hub, &policy).await?;
        conclude(scope, &desk, event).await?;
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

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let Order { hub, if_match, .. } = &self.order;
        let desk = match self.order.desk(scope).await? {
            Ok(desk) => desk,
            Err(error) => return Ok(Err(error)),
        };
        let policies = policies(scope.connection, hub).await?;
        let event = match desk.delete_policy(&policies, &self.name, if_match) {
            Ok(event) => event,
            Err(error) => return Ok(Err(error)),
        };
        sqlx::query(include_str!("../../queries/delete_policy.sql"))
            .bind(hub.as_str())
            .bind(&self.name)
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        conclude(scope, &desk, event).await?;
        Ok(Ok(()))
    }
}

/// Writes a policy behind the others.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    hub: &HubName,
    policy: &Policy,
) -> Result<(), StoreError> {
    write(connection, INSERT, hub, policy).await
}

async fn write(
    connection: &mut SqliteConnection,
    statement: &'static str,
    hub: &HubName,
    policy: &Policy,
) -> Result<(), StoreError> {
    let scope = policy.scope.as_ref();
    sqlx::query(statement)
        .bind(hub.as_str())
        .bind(&policy.name)
        .bind(&policy.keys[0])
        .bind(&policy.keys[1])
        .bind(i64::from(policy.permissions.bits()))
        .bind(scope.map(|scope| scope.to_json().to_string()))
        .bind(stored(policy.etag))
        .execute(connection)
        .await
        .map_err(store_error)?;
    Ok(())
}
