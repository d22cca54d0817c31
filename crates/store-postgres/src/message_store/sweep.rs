//! What time alone has done, made visible.

use std::time::Duration;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::message::transition;
use downlink_domain::message::{DeadLetterReason, MessageState, QueueRules};
use downlink_ports::{StoreError, Swept};
use sqlx::postgres::PgRow;
use tracing::error;

use super::ending::Endings;
use super::standing::{self, Place, count_number};
use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

/// How long a message that cannot be read is left alone: it must neither take the place of others
/// in each sweep nor be forgotten.
const LEFT_ALONE: Duration = Duration::from_hours(1);

/// Sweeps once.
pub(super) async fn sweep(
    store: &PostgresStore,
    limit: u32,
    rules: QueueRules,
    now: Timestamp,
) -> Result<Swept, StoreError> {
    let (swept, ended) = store.run(&Sweep { limit, rules, now }).await?;
    store.depths.on_ended(ended);
    Ok(swept)
}

struct Sweep {
    limit: u32,
    rules: QueueRules,
    now: Timestamp,
}

#[async_trait]
impl Work for Sweep {
    type Answer = (Swept, Vec<DeviceKey>);
    const EXTENT: Extent = Extent::Transaction;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let rows = sqlx::query(include_str!("../../queries/find_due.sql"))
            .bind(self.now.as_millis())
            // One more tells whether more is due.
            .bind(i64::from(self.limit) + 1)
            .fetch_all(&mut *connection)
            .await?;
        let mut swept = Swept {
            more: rows.len() > limit,
            ..Swept::default()
        };
        let mut endings = Endings::at(self.now, self.rules.feedback_ttl);
        let mut returned: Vec<(Place, u32)> = Vec::new();
        let mut unreadable: Vec<Place> = Vec::new();
        let mut ended = Vec::new();
        for row in rows.iter().take(limit) {
            let message = match standing::stored(row) {
                Ok(message) => message,
                Err(error) => {
                    error!(%error, "a message cannot be swept");
                    unreadable.push(place(row)?);
                    continue;
                }
            };
            let Some(decision) = transition::due(message.standing, &self.rules, self.now) else {
                // Its `due_at` was wrong, or this node's clock is behind: it is looked at again
                // with the others then.
                unreadable.push(message.place);
                continue;
            };
            if count(&mut swept, &decision.next.state) {
                // An expired one may not have been counted.
                if self.now < message.standing.expiry {
                    ended.push(message.place.0);
                }
                endings.add(message, decision.feedback);
            } else {
                swept.lapsed.push(message.place.0);
                returned.push((message.place, decision.next.delivery_count));
            }
        }
        if !endings.is_empty() {
            endings.in_lock_order().write(&mut *connection).await?;
        }
        give_back(connection, &returned).await?;
        postpone(connection, &unreadable, self.now + LEFT_ALONE).await?;
        swept.lapsed.sort_unstable();
        swept.lapsed.dedup();
        Ok((swept, ended))
    }
}

fn place(row: &PgRow) -> Result<Place, StoreError> {
    standing::place(&Fields::new(row, "messages", "sequence"))
}

/// Counts an end; tells whether it was one.
fn count(swept: &mut Swept, next: &MessageState) -> bool {
    match next {
        MessageState::DeadLettered {
            reason: DeadLetterReason::Expired,
            ..
        } => swept.expired += 1,
        MessageState::DeadLettered { .. } => swept.exhausted += 1,
        MessageState::Enqueued
        | MessageState::Invisible { .. }
        | MessageState::Completed { .. } => return false,
    }
    true
}

async fn give_back(connection: &mut Session<'_>, returned: &[(Place, u32)]) -> Result<(), Failure> {
    if returned.is_empty() {
        return Ok(());
    }
    let (devices, sequences) = columns(returned.iter().map(|(place, _)| place));
    let counts: Vec<_> = returned
        .iter()
        .map(|(_, count)| count_number(*count))
        .collect();
    sqlx::query(include_str!("../../queries/return_messages.sql"))
        .bind(devices)
        .bind(sequences)
        .bind(counts)
        .execute(connection)
        .await?;
    Ok(())
}

async fn postpone(
    connection: &mut Session<'_>,
    places: &[Place],
    until: Timestamp,
) -> Result<(), Failure> {
    if places.is_empty() {
        return Ok(());
    }
    let (devices, sequences) = columns(places.iter());
    sqlx::query(include_str!("../../queries/postpone_messages.sql"))
        .bind(devices)
        .bind(sequences)
        .bind(until.as_millis())
        .execute(connection)
        .await?;
    Ok(())
}

fn columns<'a>(places: impl Iterator<Item = &'a Place>) -> (Vec<i64>, Vec<i64>) {
    places
        .map(|(key, sequence)| (key.0, stored(sequence.0)))
        .unzip()
}
