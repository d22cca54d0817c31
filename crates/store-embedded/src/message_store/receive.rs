//! Messages handed out.

use std::collections::{BTreeMap, HashSet};

use downlink_domain::Timestamp;
use downlink_domain::message::transition::{self, Standing};
use downlink_domain::message::{DeliveryCounting, Lock, Message, QueueRules};
use downlink_ports::{LockedMessage, Receive, StoreError};
use sqlx::sqlite::SqliteRow;

use super::conclude::Conclusions;
use super::enqueue::StoredProperties;
use super::standing::{place, standing};
use crate::error::store_error;
use crate::fields::Fields;
use crate::statements::FIND_RECEIVABLE;
use crate::writer::Scope;

/// The answer to one request.
pub(crate) type Received = Vec<LockedMessage>;

/// One request.
pub(crate) struct ReceiveItem {
    pub(crate) request: Receive,
    pub(crate) rules: QueueRules,
    pub(crate) now: Timestamp,
}

type Answers = Vec<Result<Received, StoreError>>;

/// Hands messages out; answers by position.
pub(crate) async fn receive(
    scope: &mut Scope<'_>,
    items: Vec<ReceiveItem>,
) -> Result<Answers, StoreError> {
    let mut answers: Answers = items.iter().map(|_| Ok(Vec::new())).collect();
    let mut open: Vec<usize> = (0..items.len()).collect();
    while !open.is_empty() {
        // Of two requests for one device, the second must see the locks of the first.
        let mut devices = HashSet::new();
        let is_first = |position: &usize| devices.insert(items[*position].request.device);
        let (round, later) = open.into_iter().partition(is_first);
        receive_round(scope, &items, round, &mut answers).await?;
        open = later;
    }
    Ok(answers)
}

/// Serves requests of different devices.
async fn receive_round(
    scope: &mut Scope<'_>,
    items: &[ReceiveItem],
    round: Vec<usize>,
    answers: &mut Answers,
) -> Result<(), StoreError> {
    let mut conclusions = Conclusions::default();
    for (most, positions) in by_limit(items, round) {
        let rows = find(scope, items, most, positions).await?;
        for (position, row) in in_order(&rows)? {
            let Ok(answer) = &mut answers[position] else {
                continue;
            };
            match take(&row, &items[position], answer) {
                Ok(Some(next)) => conclusions.stands(place(&row)?, next),
                Ok(None) => {}
                Err(error) => answers[position] = Err(error),
            }
        }
    }
    conclusions.write(scope).await
}

/// The requests by how many messages they want, rounded up to a power of two so that few
/// statements serve them all.
fn by_limit(items: &[ReceiveItem], round: Vec<usize>) -> BTreeMap<usize, Vec<usize>> {
    let mut by_limit: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for position in round {
        let wanted = items[position].request.tokens.len();
        if wanted > 0 {
            let most = wanted.next_power_of_two();
            by_limit.entry(most).or_default().push(position);
        }
    }
    by_limit
}

async fn find(
    scope: &mut Scope<'_>,
    items: &[ReceiveItem],
    most: usize,
    positions: Vec<usize>,
) -> Result<Vec<SqliteRow>, StoreError> {
    let wanted: Vec<_> = positions
        .into_iter()
        .map(|position| (position, &items[position]))
        .collect();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    FIND_RECEIVABLE
        .fetch(
            scope.connection,
            Some(most),
            wanted,
            |query, (position, item)| {
                query
                    .bind(i64::try_from(position).unwrap_or(i64::MAX))
                    .bind(item.request.device.0)
                    .bind(item.now.as_millis())
                    .bind(exhausted_at(&item.rules))
            },
        )
        .await
        .map_err(store_error)
}

/// The rows with the positions of their requests, each request's in sequence order. Sorted here
/// because SQLite would carry the payloads through its sorter.
fn in_order(rows: &[SqliteRow]) -> Result<Vec<(usize, Fields<'_>)>, StoreError> {
    let mut ordered = Vec::with_capacity(rows.len());
    for row in rows {
        let row = Fields::new(row, "messages", "sequence");
        let (_, sequence) = place(&row)?;
        ordered.push((row.number("position")?, sequence, row));
    }
    ordered.sort_unstable_by_key(|(position, sequence, _)| (*position, *sequence));
    let ordered = ordered.into_iter();
    Ok(ordered.map(|(position, _, row)| (position, row)).collect())
}

/// The delivery count at which a message whose lock lapsed is not handed out again.
fn exhausted_at(rules: &QueueRules) -> i64 {
    match rules.counting {
        DeliveryCounting::Deliveries => i64::from(rules.max_delivery_count),
        DeliveryCounting::Abandons => i64::MAX,
    }
}

/// Hands a message out if it may be; returns where it stands then.
fn take(
    row: &Fields<'_>,
    item: &ReceiveItem,
    answer: &mut Received,
) -> Result<Option<Standing>, StoreError> {
    let Some(token) = item.request.tokens.get(answer.len()) else {
        return Ok(None);
    };
    let lock = Lock {
        token: *token,
        until: item.request.locked_until,
    };
    // The statement repeats the guard, so there is nothing it refuses; what does not pass it is
    // left where it stands.
    let Ok(decision) = transition::receive(standing(row)?, lock, &item.rules, item.now) else {
        return Ok(None);
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
        expiry: decision.next.expiry,
        delivery_count: decision.next.seen_delivery_count(item.rules.counting),
        ack: decision.next.ack,
        properties: properties.into_properties(row.get("message_id")?),
        body: row.bytes("body")?,
        state: decision.next.state,
    };
    answer.push(LockedMessage { message, lock });
    Ok(Some(decision.next))
}
