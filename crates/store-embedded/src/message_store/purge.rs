//! A queue emptied.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::id::DeviceKey;
use downlink_domain::message::transition;
use downlink_ports::events::{AuditRecord, audit_event};
use downlink_ports::{PurgeOrder, PurgeOutcome, StoreError};

use super::conclude::Conclusions;
use super::standing;
use crate::error::store_error;
use crate::outbox;
use crate::writer::{Scope, Work};

/// One purge.
pub(super) struct Purge {
    pub(super) order: PurgeOrder,
    pub(super) feedback_ttl: Duration,
}

#[async_trait]
impl Work for Purge {
    type Answer = Option<PurgeOutcome>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let key: Option<i64> = sqlx::query_scalar(
            "SELECT device_key FROM identities WHERE hub = ? AND device_id = ? AND module_id = ''",
        )
        .bind(self.order.hub.as_str())
        .bind(self.order.device.as_str())
        .fetch_optional(&mut *scope.connection)
        .await
        .map_err(store_error)?;
        let Some(key) = key else {
            return Ok(None);
        };
        let name = (self.order.hub.clone(), self.order.device.clone());
        scope.memory.forget_device(&name);
        let reported = sqlx::query(include_str!("../../queries/find_reported_of_queue.sql"))
            .bind(key)
            .bind(self.order.at.as_millis())
            .fetch_all(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        let mut conclusions = Conclusions::default();
        for row in &reported {
            let message = standing::stored(row)?;
            let decision = transition::purge(message.standing, self.order.at);
            if let Some(status) = decision.and_then(|decision| decision.feedback) {
                conclusions.report(&message, status, self.feedback_ttl, self.order.at);
            }
        }
        conclusions.write(scope).await?;
        // The guard of `transition::purge`: what is expired is left to the sweep.
        let removed = sqlx::query("DELETE FROM messages WHERE device_key = ? AND expiry > ?")
            .bind(key)
            .bind(self.order.at.as_millis())
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?
            .rows_affected();
        let record = AuditRecord::of_purge(&self.order, DeviceKey(key), removed);
        outbox::insert(scope, vec![audit_event(&record)]).await?;
        Ok(Some(PurgeOutcome { removed }))
    }
}
