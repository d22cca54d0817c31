//! A lane claimed, and given back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::event::Event;
use downlink_ports::{ClaimedEvents, StoreError};
use sqlx::{Postgres, Transaction};
use tokio::sync::OwnedSemaphorePermit;

use super::floors::{Floors, Look, Reading};
use super::{LANES, LOCK_CLASS, Relay, in_turn};
use crate::error::{Failure, store_error};
use crate::fields::Fields;
use crate::outbox::event;
use crate::session::{Session, Terms};

/// Most events of a claim.
const MOST_EVENTS: u32 = 10_000;
/// Bytes of payloads and properties at which a claim takes no further event.
const MOST_BYTES: i64 = 16 * 1024 * 1024;

/// A lane that is held by an open transaction.
pub(super) struct Claim {
    transaction: Transaction<'static, Postgres>,
    events: Vec<Event>,
    terms: Terms,
    floors: Arc<Floors>,
    _room: OwnedSemaphorePermit,
}

/// What came of looking for a lane.
enum Taken {
    /// A lane with its events.
    Lane(Vec<Event>),
    /// A lane that another relay has emptied in the meantime.
    Emptied,
    /// None has events, or all that do are held.
    Nothing,
}

impl Relay {
    pub(super) async fn claim(
        &self,
        limit: u32,
        hold: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let room = self.room().await?;
        let claimed = self.take(limit.clamp(1, MOST_EVENTS), hold).await;
        if claimed.is_err() {
            self.floors.forget();
        }
        let claimed = claimed?.map(|(transaction, events)| Claim {
            transaction,
            events,
            terms: self.terms,
            floors: Arc::clone(&self.floors),
            _room: room,
        });
        Ok(claimed)
    }

    async fn take(
        &self,
        limit: u32,
        hold: Duration,
    ) -> Result<Option<(Transaction<'static, Postgres>, Vec<Event>)>, Failure> {
        // Each lane can turn out to be empty once: there are others who empty them.
        for _ in 0..LANES {
            self.mark().await?;
            let mut transaction = self.begin().await?;
            let mut session = Session::of(&mut transaction, self.terms);
            match self.take_lane(&mut session, limit, hold).await? {
                Taken::Lane(events) => return Ok(Some((transaction, events))),
                Taken::Nothing => {
                    self.terms.in_time(transaction.rollback()).await?;
                    return Ok(None);
                }
                // Only the end of the transaction lets go of the lane.
                Taken::Emptied => self.terms.in_time(transaction.rollback()).await?,
            }
        }
        Ok(None)
    }

    async fn take_lane(
        &self,
        connection: &mut Session<'_>,
        limit: u32,
        hold: Duration,
    ) -> Result<Taken, Failure> {
        let look = self.floors.look();
        let lanes: Vec<usize> = in_turn(self.turn()).collect();
        let floors: Vec<i64> = lanes.iter().map(|lane| look.floors[*lane]).collect();
        let numbers: Vec<i32> = lanes.iter().map(|lane| number(*lane)).collect();
        let row = sqlx::query(include_str!("../../queries/take_lane.sql"))
            .bind(numbers)
            .bind(floors)
            .bind(LOCK_CLASS)
            .bind(hold.as_millis().clamp(1, i32::MAX as u128).to_string())
            .fetch_one(&mut *connection)
            .await?;
        let row = Fields::new(&row, "outbox", "lane");
        let reading = Reading {
            drawn: row.number("drawn")?,
            over_below: row.number("over_below")?,
            server: row.number("server")?,
        };
        let look = self.floors.on_reading(&look, reading);
        let lane: Option<i32> = row.get("lane")?;
        let Some(lane) = lane else {
            return Ok(Taken::Nothing);
        };
        let lane = usize::try_from(lane).map_err(|_| row.corrupt("lane"))?;
        // Before anything can fail: a lane that cannot be read must not keep its turn.
        self.on_taken(lane);
        let events = self.read_lane(connection, &look, lane, limit).await?;
        Ok(if events.is_empty() {
            Taken::Emptied
        } else {
            Taken::Lane(events)
        })
    }

    async fn read_lane(
        &self,
        connection: &mut Session<'_>,
        look: &Look,
        lane: usize,
        limit: u32,
    ) -> Result<Vec<Event>, Failure> {
        let rows = sqlx::query(include_str!("../../queries/read_lane.sql"))
            .bind(number(lane))
            .bind(look.floors[lane])
            .bind(i64::from(limit))
            .bind(MOST_BYTES)
            .fetch_all(connection)
            .await?;
        let first = rows.first();
        let first = first.map(|row| Fields::new(row, "outbox", "position").number("position"));
        self.floors.on_read(look, lane, first.transpose()?);
        let events = rows.iter().map(event).collect::<Result<_, _>>();
        Ok(events?)
    }

    /// Asks for a transaction id when the floors want one, in a transaction of its own.
    async fn mark(&self) -> Result<(), Failure> {
        let look = self.floors.look();
        if self.floors.wants_mark(&look) {
            let mut transaction = self.begin().await?;
            let id: i64 = sqlx::query_scalar("SELECT pg_current_xact_id()::text::bigint")
                .fetch_one(&mut Session::of(&mut transaction, self.terms))
                .await?;
            self.terms.in_time(transaction.commit()).await?;
            self.floors.on_mark(&look, id);
        }
        Ok(())
    }
}

/// The number of a lane in the database.
fn number(lane: usize) -> i32 {
    i32::try_from(lane).expect("lanes are few")
}

#[async_trait]
impl ClaimedEvents for Claim {
    fn events(&self) -> &[Event] {
        &self.events
    }

    async fn finish(self: Box<Self>, sent: usize) -> Result<(), StoreError> {
        let floors = Arc::clone(&self.floors);
        let finished = self.remove(sent).await;
        finished.map_err(|error| {
            floors.forget();
            store_error(error)
        })
    }
}

impl Claim {
    /// Removes the first `sent` events and ends the transaction.
    async fn remove(mut self, sent: usize) -> sqlx::Result<()> {
        let sent = &self.events[..sent.min(self.events.len())];
        if sent.is_empty() {
            return self.terms.in_time(self.transaction.rollback()).await;
        }
        let keys: Vec<i64> = sent.iter().map(|event| event.device_key.0).collect();
        let ids: Vec<&[u8]> = sent.iter().map(|event| &event.id[..]).collect();
        sqlx::query(include_str!("../../queries/delete_events.sql"))
            .bind(keys)
            .bind(ids)
            .execute(&mut Session::of(&mut self.transaction, self.terms))
            .await?;
        self.terms.in_time(self.transaction.commit()).await
    }
}
