//! What time alone has done, made visible.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::message::transition;
use downlink_domain::message::{DeadLetterReason, MessageState, QueueRules};
use downlink_ports::{StoreError, Swept};
use tracing::error;

use super::conclude::Conclusions;
use super::standing;
use crate::error::store_error;
use crate::writer::{Scope, Work};

/// One sweep.
pub(super) struct Sweep {
    pub(super) limit: u32,
    pub(super) rules: QueueRules,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Sweep {
    type Answer = Swept;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Swept, StoreError> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let rows = sqlx::query(include_str!("../../queries/find_due.sql"))
            .bind(self.now.as_millis())
            // One more tells whether more is due.
            .bind(i64::from(self.limit) + 1)
            .fetch_all(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        let mut swept = Swept {
            more: rows.len() > limit,
            ..Swept::default()
        };
        let mut conclusions = Conclusions::default();
        for row in rows.iter().take(limit) {
            let message = match standing::stored(row) {
                Ok(message) => message,
                Err(error) => {
                    // It must not keep the others from being swept.
                    error!(%error, "a message cannot be swept");
                    continue;
                }
            };
            let Some(decision) = transition::due(message.standing, &self.rules, self.now) else {
                continue;
            };
            count(&mut swept, message.place.0, &decision.next.state);
            conclusions.stands(message.place, decision.next);
            if let Some(status) = decision.feedback {
                conclusions.report(&message, status, self.rules.feedback_ttl, self.now);
            }
        }
        conclusions.write(scope).await?;
        swept.lapsed.sort_unstable();
        swept.lapsed.dedup();
        Ok(swept)
    }
}

fn count(swept: &mut Swept, device: downlink_domain::id::DeviceKey, next: &MessageState) {
    match next {
        MessageState::DeadLettered {
            reason: DeadLetterReason::Expired,
            ..
        } => swept.expired += 1,
        MessageState::DeadLettered { .. } => swept.exhausted += 1,
        MessageState::Enqueued
        | MessageState::Invisible { .. }
        | MessageState::Completed { .. } => swept.lapsed.push(device),
    }
}
