//! Messages handed out.

use std::collections::BTreeMap;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::message::transition::Standing;
use downlink_domain::message::{DeliveryCounting, Lock, Message, MessageState, QueueRules};
use downlink_ports::{LockedMessage, Receive, StoreError};
use sqlx::postgres::PgRow;
use tracing::error;

use super::properties::StoredProperties;
use super::standing::{count_number, place, standing};
use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

/// Hands messages out; answers by position.
///
/// A message that cannot be read is passed over: its lock ends like any other, and its deliveries
/// are used up sooner or later.
pub(super) async fn receive(
    store: &PostgresStore,
    requests: &[Receive],
    rules: QueueRules,
    now: Timestamp,
) -> Result<Vec<Vec<LockedMessage>>, StoreError> {
    let hand_out = HandOut::of(requests, rules, now);
    let mut answers: Vec<Vec<LockedMessage>> = requests.iter().map(|_| Vec::new()).collect();
    if hand_out.requests.is_empty() {
        return Ok(answers);
    }
    let rows = store.run(&hand_out).await?;
    for (number, row) in in_order(&rows)? {
        let Some(request) = number.checked_sub(1).and_then(|n| hand_out.requests.get(n)) else {
            continue;
        };
        match locked_message(&row, rules.counting) {
            Ok(message) => answers[*request].push(message),
            Err(error) => error!(%error, "a message cannot be handed out"),
        }
    }
    Ok(answers)
}

/// The requests, those for one device together, so that the second gets what comes after what the
/// first got.
struct HandOut {
    devices: Vec<i64>,
    /// By device, how many messages are wanted and how many tokens belong to devices before it.
    most: Vec<i64>,
    before: Vec<i64>,
    /// By token, in the order of devices: the position of its request, until when it locks.
    requests: Vec<usize>,
    locked_until: Vec<i64>,
    tokens: Vec<u8>,
    rules: QueueRules,
    now: Timestamp,
}

impl HandOut {
    fn of(requests: &[Receive], rules: QueueRules, now: Timestamp) -> Self {
        let mut by_device: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (position, request) in requests.iter().enumerate() {
            if !request.tokens.is_empty() {
                by_device
                    .entry(request.device.0)
                    .or_default()
                    .push(position);
            }
        }
        let mut hand_out = Self {
            devices: Vec::with_capacity(by_device.len()),
            most: Vec::with_capacity(by_device.len()),
            before: Vec::with_capacity(by_device.len()),
            requests: Vec::new(),
            locked_until: Vec::new(),
            tokens: Vec::new(),
            rules,
            now,
        };
        for (device, positions) in by_device {
            let before = hand_out.requests.len();
            for position in positions {
                let request = &requests[position];
                for token in &request.tokens {
                    hand_out.requests.push(position);
                    hand_out.locked_until.push(request.locked_until.as_millis());
                    hand_out.tokens.extend_from_slice(&token.0);
                }
            }
            hand_out.devices.push(device);
            hand_out.most.push(length(hand_out.requests.len() - before));
            hand_out.before.push(length(before));
        }
        hand_out
    }
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[async_trait]
impl Work for HandOut {
    type Answer = Vec<PgRow>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Vec<PgRow>, Failure> {
        let (exhausted_at, raised_by) = match self.rules.counting {
            DeliveryCounting::Deliveries => (count_number(self.rules.max_delivery_count), 1),
            DeliveryCounting::Abandons => (i32::MAX, 0),
        };
        let rows = sqlx::query(include_str!("../../queries/receive_messages.sql"))
            .bind(&self.devices)
            .bind(&self.most)
            .bind(&self.before)
            .bind(&self.locked_until)
            .bind(&self.tokens)
            .bind(self.now.as_millis())
            .bind(exhausted_at)
            .bind(raised_by)
            .fetch_all(connection)
            .await?;
        Ok(rows)
    }
}

/// The rows with the numbers of their tokens, in that order, which is the order of each queue.
fn in_order(rows: &[PgRow]) -> Result<Vec<(usize, Fields<'_>)>, StoreError> {
    let mut ordered = Vec::with_capacity(rows.len());
    for row in rows {
        let row = Fields::new(row, "messages", "sequence");
        ordered.push((row.number("number")?, row));
    }
    ordered.sort_unstable_by_key(|(number, _)| *number);
    Ok(ordered)
}

fn locked_message(
    row: &Fields<'_>,
    counting: DeliveryCounting,
) -> Result<LockedMessage, StoreError> {
    let standing: Standing = standing(row)?;
    let MessageState::Invisible { lock } = standing.state else {
        return Err(row.corrupt("lock_token"));
    };
    let properties = row.parse("properties", |text: Option<&str>| match text {
        None => Some(StoredProperties::default()),
        Some(text) => serde_json::from_str(text).ok(),
    })?;
    let (device, sequence) = place(row)?;
    let message = Message {
        device,
        sequence,
        enqueued_at: row.instant("enqueued_at")?,
        expiry: standing.expiry,
        delivery_count: standing.seen_delivery_count(counting),
        ack: standing.ack,
        properties: properties.into_properties(row.get("message_id")?),
        body: row.bytes("body")?,
        state: standing.state,
    };
    let lock: Lock = lock;
    Ok(LockedMessage { message, lock })
}
