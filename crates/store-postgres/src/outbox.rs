//! Events that wait to be relayed.
//!
//! An event is written in the transaction of its cause and gets its position there, from a
//! sequence. Events of different devices may become visible out of the order of their positions;
//! of one device, what was committed before another transaction began to write stands before it.

use std::str::FromStr;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::DeviceKey;
use downlink_ports::{EventOutbox, OutboxBounds, StoreError};
use sqlx::postgres::PgRow;

use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

pub(crate) mod trim;

#[async_trait]
impl EventOutbox for PostgresStore {
    async fn append(&self, events: Vec<Event>) -> Result<(), StoreError> {
        self.run(&Append { events }).await
    }

    /// An event whose transaction commits late may get a position below one that was read: a
    /// reader that must miss nothing is an [`EventRelay`](downlink_ports::EventRelay).
    async fn read_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, Event)>, StoreError> {
        self.run(&ReadAfter { after, limit }).await
    }

    /// One trim at a time over all processes; others shed nothing meanwhile.
    async fn trim(&self, bounds: OutboxBounds, now: Timestamp) -> Result<u64, StoreError> {
        self.relay.trim(bounds, now).await
    }
}

struct Append {
    events: Vec<Event>,
}

#[async_trait]
impl Work for Append {
    type Answer = ();
    const EXTENT: Extent = Extent::Statement;
    // An id that is there is skipped; one that was relayed meanwhile goes out again under its id.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<(), Failure> {
        insert(connection, &self.events).await?;
        Ok(())
    }
}

struct ReadAfter {
    after: u64,
    limit: u32,
}

#[async_trait]
impl Work for ReadAfter {
    type Answer = Vec<(u64, Event)>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let rows = sqlx::query(include_str!("../queries/read_events.sql"))
            .bind(stored(self.after))
            .bind(i64::from(self.limit))
            .fetch_all(connection)
            .await?;
        let events = rows.iter().map(|row| {
            let position = Fields::new(row, "outbox", "position").number("position")?;
            Ok((position, event(row)?))
        });
        let events: Result<_, StoreError> = events.collect();
        Ok(events?)
    }
}

/// Writes events with the change that they report, after the rows that this change locks. One
/// statement; an id that is there already is skipped.
pub(crate) async fn insert(connection: &mut Session<'_>, events: &[Event]) -> sqlx::Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let keys: Vec<i64> = events.iter().map(|event| event.device_key.0).collect();
    let ids: Vec<&[u8]> = events.iter().map(|event| &event.id[..]).collect();
    let hubs: Vec<&str> = events.iter().map(|event| event.hub.as_str()).collect();
    let devices: Vec<&str> = events.iter().map(device_text).collect();
    let modules: Vec<&str> = events.iter().map(module_text).collect();
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    let instants: Vec<i64> = events.iter().map(|event| event.at.as_millis()).collect();
    let properties: Vec<String> = events.iter().map(properties_text).collect();
    let bodies: Vec<&[u8]> = events.iter().map(|event| &event.body[..]).collect();
    sqlx::query(include_str!("../queries/insert_events.sql"))
        .bind(keys)
        .bind(ids)
        .bind(hubs)
        .bind(devices)
        .bind(modules)
        .bind(kinds)
        .bind(instants)
        .bind(properties)
        .bind(bodies)
        .execute(connection)
        .await?;
    Ok(())
}

/// Empty for an event of the hub itself.
fn device_text(event: &Event) -> &str {
    event.device.as_ref().map_or("", |device| device.as_str())
}

fn module_text(event: &Event) -> &str {
    event.module.as_ref().map_or("", |module| module.as_str())
}

fn properties_text(event: &Event) -> String {
    serde_json::to_string(&event.properties).expect("texts are always JSON")
}

/// Reads a row of `outbox`.
pub(crate) fn event(row: &PgRow) -> Result<Event, StoreError> {
    let row = Fields::new(row, "outbox", "position");
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
