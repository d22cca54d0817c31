//! Messages settled.
//!
//! Settlements that nobody is told of are one statement. Those that are reported are read by it
//! and left as they are; a second statement ends them, with record and event, if the lock still
//! holds them then.

use std::collections::HashMap;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::transition;
use downlink_domain::message::{DeliveryCounting, QueueRules, Settlement, Verdict};
use downlink_ports::{SettleError, StoreError};
use sqlx::postgres::PgRow;
use tracing::error;

use super::ending::{Endings, Ordered};
use super::standing::{self, HEARS_OF_COMPLETION, HEARS_OF_FAILURE, Place, Stored, count_number};
use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

/// Settles messages; answers by position.
pub(super) async fn settle(
    store: &PostgresStore,
    settlements: &[Settlement],
    rules: QueueRules,
    now: Timestamp,
) -> Result<Vec<Result<(), SettleError>>, StoreError> {
    let mut answers = vec![Err(SettleError::LockLost); settlements.len()];
    if settlements.is_empty() {
        return Ok(answers);
    }
    let first = First::of(settlements, rules, now);
    let rows = store.run(&first).await?;
    let mut reported: HashMap<Place, usize> = HashMap::new();
    let mut endings = Endings::at(now, rules.feedback_ttl);
    for row in &rows {
        let fields = Fields::new(row, "messages", "sequence");
        let place: usize = fields.number("place")?;
        let position = first.order[place - 1];
        if !fields.get::<bool>("is_reported")? {
            answers[position] = Ok(());
            continue;
        }
        let message = standing::stored(row)?;
        let sequence = message.place.1;
        if let Some((message, status)) = decide(message, &settlements[position], &rules, now) {
            reported.insert(message.place, position);
            endings.add(message, status);
        } else {
            error!(
                message.sequence = sequence.0,
                "a statement and its transition disagree about a settlement"
            );
        }
    }
    if !endings.is_empty() {
        let ended = store.run(&Second(endings.in_lock_order())).await?;
        for place in ended {
            if let Some(position) = reported.get(&place) {
                answers[*position] = Ok(());
            }
        }
    }
    store.depths.on_ended(ended_keys(settlements, &answers));
    Ok(answers)
}

/// The devices of the messages that may have ended.
fn ended_keys(
    settlements: &[Settlement],
    answers: &[Result<(), SettleError>],
) -> impl Iterator<Item = DeviceKey> {
    settlements
        .iter()
        .zip(answers)
        .filter(|(settlement, answer)| {
            answer.is_ok() && matches!(settlement.verdict, Verdict::Complete | Verdict::Reject)
        })
        .map(|(settlement, _)| settlement.device)
}

/// What the transition says of a message that ends with a report; `None` when it says otherwise.
fn decide(
    message: Stored,
    settlement: &Settlement,
    rules: &QueueRules,
    now: Timestamp,
) -> Option<(Stored, Option<FeedbackStatus>)> {
    let (token, verdict) = (settlement.token, settlement.verdict);
    let decision = transition::settle(message.standing, token, verdict, rules, now).ok()?;
    let is_end = decision.next.state.is_terminal();
    is_end.then_some((message, decision.feedback))
}

/// The settlements in the order in which rows are locked.
struct First {
    /// The position of each.
    order: Vec<usize>,
    settlements: Vec<Settlement>,
    rules: QueueRules,
    now: Timestamp,
}

impl First {
    /// Sorts settlements. Of several by one lock the first counts: each of them ends the hold.
    fn of(settlements: &[Settlement], rules: QueueRules, now: Timestamp) -> Self {
        let key = |position: &usize| {
            let it = &settlements[*position];
            (it.device, it.sequence, it.token.0)
        };
        let mut order: Vec<usize> = (0..settlements.len()).collect();
        // Stable: the first of several stays the first.
        order.sort_by_key(key);
        order.dedup_by_key(|position| key(position));
        Self {
            settlements: order
                .iter()
                .map(|position| settlements[*position])
                .collect(),
            order,
            rules,
            now,
        }
    }
}

/// A verdict in the terms of `settle_messages.sql`: the delivery count from which on the message
/// ends, who hears of that end, what giving it back adds to the count.
fn terms(verdict: Verdict, rules: &QueueRules) -> (i32, i16, i32) {
    const NEVER: i32 = i32::MAX;
    let max = count_number(rules.max_delivery_count);
    match (verdict, rules.counting) {
        (Verdict::Complete, _) => (0, HEARS_OF_COMPLETION, 0),
        (Verdict::Reject, _) => (0, HEARS_OF_FAILURE, 0),
        (Verdict::Abandon | Verdict::ReleaseDelivered, DeliveryCounting::Deliveries) => {
            (max, HEARS_OF_FAILURE, 0)
        }
        (Verdict::Abandon, DeliveryCounting::Abandons) => (max, HEARS_OF_FAILURE, 1),
        (Verdict::ReleaseDelivered | Verdict::ReleaseUndelivered, DeliveryCounting::Abandons) => {
            (NEVER, HEARS_OF_FAILURE, 0)
        }
        (Verdict::ReleaseUndelivered, DeliveryCounting::Deliveries) => {
            (NEVER, HEARS_OF_FAILURE, -1)
        }
    }
}

#[async_trait]
impl Work for First {
    type Answer = Vec<PgRow>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Vec<PgRow>, Failure> {
        let settlements = || self.settlements.iter();
        let devices: Vec<_> = settlements().map(|it| it.device.0).collect();
        let sequences: Vec<_> = settlements().map(|it| stored(it.sequence.0)).collect();
        let tokens: Vec<&[u8]> = settlements().map(|it| &it.token.0[..]).collect();
        let now = self.now.as_millis();
        if settlements().all(|it| it.verdict == Verdict::Complete) {
            let rows = sqlx::query(include_str!("../../queries/complete_messages.sql"))
                .bind(devices)
                .bind(sequences)
                .bind(tokens)
                .bind(now)
                .fetch_all(connection)
                .await?;
            return Ok(rows);
        }
        let terms = || settlements().map(|it| terms(it.verdict, &self.rules));
        let ends_at: Vec<_> = terms().map(|terms| terms.0).collect();
        let reported_to: Vec<_> = terms().map(|terms| terms.1).collect();
        let raised_by: Vec<_> = terms().map(|terms| terms.2).collect();
        let rows = sqlx::query(include_str!("../../queries/settle_messages.sql"))
            .bind(devices)
            .bind(sequences)
            .bind(tokens)
            .bind(ends_at)
            .bind(reported_to)
            .bind(raised_by)
            .bind(now)
            .fetch_all(connection)
            .await?;
        Ok(rows)
    }
}

/// The endings that are reported.
struct Second(Ordered);

#[async_trait]
impl Work for Second {
    type Answer = Vec<Place>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Vec<Place>, Failure> {
        let ended = self.0.write(connection).await?;
        Ok(ended.into_iter().map(|message| message.place).collect())
    }
}
