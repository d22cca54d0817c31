//! Events in the order of their commit.

use std::str::FromStr;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::DeviceKey;
use downlink_ports::{EventOutbox, OutboxBounds, StoreError};

use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::statements::INSERT_EVENTS;
use crate::store::Store;
use crate::writer::{Job, Scope, Work};

/// Bytes that an event holds besides payload and properties, roughly.
const EVENT_BYTES: usize = 256;

#[async_trait]
impl EventOutbox for Store {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        let bytes = events.iter().map(held_bytes).sum();
        self.queue.merge(Job::Append, events, bytes).await?;
        Ok(())
    }

    async fn read_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, Event)>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(include_str!("../queries/read_events.sql"))
            .bind(stored(after))
            .bind(i64::from(limit))
            .fetch_all(&mut *reader)
            .await
            .map_err(store_error)?;
        let events = rows.iter().map(|row| {
            let row = Fields::new(row, "outbox", "position");
            Ok((row.number("position")?, event(&row)?))
        });
        events.collect()
    }

    async fn trim(&self, bounds: OutboxBounds, now: Timestamp) -> Result<u64, StoreError> {
        self.queue.call(Trim { bounds, now }).await
    }
}

/// Appends the events of many callers.
pub(crate) async fn append(
    scope: &mut Scope<'_>,
    events: Vec<Event>,
) -> Result<Vec<Result<(), StoreError>>, StoreError> {
    let answers = events.iter().map(|_| Ok(())).collect();
    insert(scope, events).await?;
    Ok(answers)
}

/// Writes events with the change that they report.
pub(crate) async fn insert(scope: &mut Scope<'_>, events: Vec<Event>) -> Result<(), StoreError> {
    let added = INSERT_EVENTS
        .execute(scope.connection, events, |query, event| {
            let properties = serde_json::to_string(&event.properties);
            query
                .bind(event.hub.as_str())
                .bind(&event.id[..])
                .bind(event.device_key.0)
                .bind(event.device.as_ref().map_or("", |device| device.as_str()))
                .bind(event.module.as_ref().map_or("", |module| module.as_str()))
                .bind(event.kind.as_str())
                .bind(event.at.as_millis())
                .bind(properties.expect("texts are always JSON"))
                .bind(&event.body[..])
        })
        .await
        .map_err(store_error)?;
    if let Some(events) = &mut scope.memory.events {
        *events += added;
    }
    Ok(())
}

/// Reads an event.
pub(crate) fn event(row: &Fields<'_>) -> Result<Event, StoreError> {
    Ok(Event {
        id: row.parse("event_id", |bytes: &[u8]| bytes.try_into().ok())?,
        hub: row.text("hub")?,
        device_key: DeviceKey(row.get("device_key")?),
        device: row.parse("device_id", optional)?,
        module: row.parse("module_id", optional)?,
        kind: row.parse("kind", EventKind::parse)?,
        at: row.instant("at")?,
        properties: row.json("properties")?,
        body: row.bytes("body")?,
    })
}

/// The empty text stands for none.
#[expect(
    clippy::option_option,
    reason = "whether it can be read, and whether there is one"
)]
fn optional<T: FromStr>(text: &str) -> Option<Option<T>> {
    match text {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    }
}

fn held_bytes(event: &Event) -> usize {
    let properties = event.properties.iter();
    let properties: usize = properties.map(|(k, v)| k.len() + v.len()).sum();
    event.body.len() + properties + EVENT_BYTES
}

struct Trim {
    bounds: OutboxBounds,
    now: Timestamp,
}

#[async_trait]
impl Work for Trim {
    type Answer = u64;

    async fn run(self, scope: &mut Scope<'_>) -> Result<u64, StoreError> {
        let events = match scope.memory.events {
            Some(events) => events,
            None => sqlx::query_scalar("SELECT COUNT(*) FROM outbox")
                .fetch_one(&mut *scope.connection)
                .await
                .map_err(store_error)?,
        };
        scope.memory.events = Some(events);
        let oldest_kept = self.now - self.bounds.retention;
        let last: Option<i64> =
            sqlx::query_scalar(include_str!("../queries/find_shed_position.sql"))
                .bind(oldest_kept.as_millis())
                .bind(stored(self.bounds.max_events))
                .bind(stored(events))
                .fetch_one(&mut *scope.connection)
                .await
                .map_err(store_error)?;
        let Some(last) = last else {
            return Ok(0);
        };
        let shed = sqlx::query("DELETE FROM outbox WHERE position <= ?")
            .bind(last)
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?
            .rows_affected();
        scope.memory.events = Some(events.saturating_sub(shed));
        Ok(shed)
    }
}
