//! Events on their way out.
//!
//! Lanes are held in memory: one process works on the file. Positions rise with every commit, so
//! what is new is found after the last position that was looked at; each claim looks at a bounded
//! number of new events (which lane, from where to where) and reads those of one lane. What was
//! sent is deleted with the writer's next group of writes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::event::Event;
use downlink_ports::{Backlog, ClaimedEvents, EventRelay, StoreError};
use parking_lot::Mutex;
use sqlx::{Sqlite, pool::PoolConnection};

use self::lanes::{Lanes, Span};
use crate::error::store_error;
use crate::fields::Fields;
use crate::outbox::event;
use crate::statements::DELETE_EVENTS;
use crate::store::Store;
use crate::writer::{Queue, Scope, Work};

mod lanes;

/// Most events of one claim.
const MAX_CLAIM: u32 = 10_000;
/// A claim takes no further event once it has this many bytes of bodies and properties.
const MAX_CLAIM_BYTES: i64 = 8 * 1024 * 1024;

/// What the relay knows of the outbox.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    lanes: Arc<Mutex<Lanes>>,
    /// The last position looked at. Locked across the look, so that no two claims make the same.
    surveyed: tokio::sync::Mutex<i64>,
}

impl Relay {
    /// Looks at what was written since the last look.
    async fn survey(&self, reader: &mut PoolConnection<Sqlite>) -> Result<(), StoreError> {
        let mut surveyed = self.surveyed.lock().await;
        let rows = sqlx::query(include_str!("../queries/survey_lanes.sql"))
            .bind(*surveyed)
            .fetch_all(&mut **reader)
            .await
            .map_err(store_error)?;
        let mut lanes = self.lanes.lock();
        for row in &rows {
            let row = Fields::new(row, "outbox", "first");
            let (first, last) = (row.get("first")?, row.get("last")?);
            lanes.learn(row.number("lane")?, Span { first, last });
            *surveyed = last.max(*surveyed);
        }
        Ok(())
    }

    fn hold(&self) -> Option<(Held, Span)> {
        let (lane, span) = self.lanes.lock().hold()?;
        let lanes = Arc::clone(&self.lanes);
        Some((Held { lanes, lane }, span))
    }
}

/// A lane that is held until this is dropped.
struct Held {
    lanes: Arc<Mutex<Lanes>>,
    lane: usize,
}

impl Held {
    /// The oldest events of the lane with their positions, and how far the span was looked at.
    async fn read(
        &self,
        reader: &mut PoolConnection<Sqlite>,
        span: Span,
        limit: u32,
    ) -> Result<(Vec<i64>, Vec<Event>), StoreError> {
        let lane = i64::try_from(self.lane).expect("lanes are few");
        let rows = sqlx::query(include_str!("../queries/read_lane.sql"))
            .bind(lane)
            .bind(span.first)
            .bind(span.last)
            .bind(i64::from(limit.clamp(1, MAX_CLAIM)))
            .bind(MAX_CLAIM_BYTES)
            .fetch_all(&mut **reader)
            .await
            .map_err(store_error)?;
        let events = rows.iter().map(|row| {
            let row = Fields::new(row, "outbox", "position");
            Ok((row.get("position")?, event(&row)?))
        });
        let events: Result<Vec<(i64, Event)>, StoreError> = events.collect();
        Ok(events?.into_iter().unzip())
    }

    fn pass(&self, position: i64) {
        self.lanes.lock().pass(self.lane, position);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lanes.lock().free(self.lane);
    }
}

#[async_trait]
impl EventRelay for Store {
    async fn claim(
        &self,
        limit: u32,
        _hold: Duration,
    ) -> Result<Option<Box<dyn ClaimedEvents>>, StoreError> {
        let mut reader = self.reader().await?;
        self.relay.survey(&mut reader).await?;
        // A lane may turn out to be empty, its events shed; each lane is looked at once at most.
        for _ in 0..lanes::LANES {
            let Some((held, span)) = self.relay.hold() else {
                return Ok(None);
            };
            let (positions, events) = held.read(&mut reader, span, limit).await?;
            if let Some(first) = positions.first() {
                held.pass(first - 1);
                let queue = self.queue.clone();
                return Ok(Some(Box::new(Claim {
                    held,
                    positions,
                    events,
                    queue,
                })));
            }
            held.pass(span.last);
        }
        Ok(None)
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let mut reader = self.reader().await?;
        let row = sqlx::query(include_str!("../queries/count_events.sql"))
            .fetch_one(&mut *reader)
            .await
            .map_err(store_error)?;
        let row = Fields::new(&row, "outbox", "events");
        let oldest: Option<i64> = row.get("oldest")?;
        Ok(Backlog {
            events: row.number("events")?,
            oldest: oldest.map(Timestamp::from_millis),
        })
    }
}

/// Events of a lane that is held.
struct Claim {
    held: Held,
    positions: Vec<i64>,
    events: Vec<Event>,
    queue: Queue,
}

#[async_trait]
impl ClaimedEvents for Claim {
    fn events(&self) -> &[Event] {
        &self.events
    }

    async fn finish(mut self: Box<Self>, sent: usize) -> Result<(), StoreError> {
        self.positions.truncate(sent);
        let Some(last) = self.positions.last().copied() else {
            return Ok(());
        };
        let positions = std::mem::take(&mut self.positions);
        self.queue.call(Remove { positions }).await?;
        self.held.pass(last);
        Ok(())
    }
}

/// Deletes events that were sent.
struct Remove {
    positions: Vec<i64>,
}

#[async_trait]
impl Work for Remove {
    type Answer = ();

    fn bytes(&self) -> usize {
        size_of_val(&*self.positions)
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        let positions = self.positions;
        let removed = DELETE_EVENTS
            .execute(scope.connection, positions, |query, position| {
                query.bind(position)
            })
            .await
            .map_err(store_error)?;
        if let Some(events) = &mut scope.memory.events {
            *events = events.saturating_sub(removed);
        }
        Ok(())
    }
}
