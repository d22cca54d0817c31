//! Events on their way out.
//!
//! A claim is a transaction. It takes its lane by an advisory lock that ends with it, reads the
//! lane's oldest events, and stays open while they are published; to finish is to delete what was
//! published and to commit. Whoever dies holding a lane gives it back with its connection, and no
//! clock decides who holds what. It is bound to the transaction, so it works behind a pooler.
//!
//! **Order of one device.** All events of a device are in one lane, and a lane has one holder.
//! What the holder reads is in the order of positions, and an event that another one follows from
//! stands before it: positions are drawn from one sequence while the rows that the events report
//! are locked, so of two writes that had to wait for each other the later has the higher
//! position, and whoever sees it sees the earlier one too. That holds for the writes of one twin
//! and for creation, writes and deletion of one identity. Ends of different messages of one
//! device, and connects at different gateways, lock no row in common; where the first was
//! committed before the second began, the same holds for them, and where they ran side by side
//! there is no order to keep.
//!
//! **Late commits.** A transaction may draw a position and commit after higher ones have left.
//! Rows are therefore removed by key, and a lane is read from its oldest row on; see [`floors`]
//! for how that stays cheap.
//!
//! **While a claim is held** its transaction has written nothing, so it has no id and keeps no
//! snapshot: it does not hold back vacuum.
//!
//! The relay has a few connections of its own: a slow consumer of events takes none from the
//! paths of messages and twins, and a crowd there does not stop the events.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_ports::{Backlog, ClaimedEvents, EventRelay, StoreError};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::floors::Floors;
use crate::error::Failure;
use crate::fields::Fields;
use crate::options::PostgresOptions;
use crate::outbox::trim::Excess;
use crate::session::{Session, Terms};
use crate::store::PostgresStore;

mod claim;
mod floors;

/// Lanes that devices are spread over; the schema computes the lane of an event.
const LANES: usize = 16;
/// Class of the advisory locks: `pg_locks.classid` of those who hold a lane, whose number is
/// `objid`. "outb" in bytes.
pub(crate) const LOCK_CLASS: i32 = i32::from_be_bytes(*b"outb");
/// The lock of the one who trims: the number after those of the lanes.
pub(crate) const TRIM_LOCK: i32 = 16;
/// Claims that may be held at once.
const MOST_CLAIMS: usize = 3;
/// Connections: one for each claim, one for what else there is to do.
pub(crate) const CONNECTIONS: u32 = 4;

/// The way out for events.
#[derive(Debug)]
pub(crate) struct Relay {
    pool: PgPool,
    /// What opens a transaction.
    begin: Arc<str>,
    pub(crate) terms: Terms,
    acquire_timeout: Duration,
    claims: Arc<Semaphore>,
    /// The lane whose turn is next.
    turn: AtomicUsize,
    floors: Arc<Floors>,
    pub(crate) excess: Excess,
}

impl Relay {
    /// Makes the relay over a pool of [`CONNECTIONS`].
    pub(crate) fn new(pool: PgPool, begin: Arc<str>, options: &PostgresOptions) -> Self {
        // A fresh state is seeded by chance: relays that start together do not walk together.
        let chance = RandomState::new().hash_one(LOCK_CLASS);
        let turn = usize::try_from(chance % LANES as u64).unwrap_or(0);
        Self {
            pool,
            begin,
            terms: Terms::of(options),
            acquire_timeout: options.acquire_timeout,
            claims: Arc::new(Semaphore::new(MOST_CLAIMS)),
            turn: AtomicUsize::new(turn),
            floors: Arc::default(),
            excess: Excess::default(),
        }
    }

    /// Opens a transaction under the settings of the options.
    pub(crate) async fn begin(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let begin = AssertSqlSafe(Arc::clone(&self.begin));
        self.terms.in_time(self.pool.begin_with(begin)).await
    }

    /// Room for one more claim, once there is some.
    async fn room(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let room = Arc::clone(&self.claims).acquire_owned();
        match tokio::time::timeout(self.acquire_timeout, room).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(StoreError::Overloaded),
        }
    }

    async fn backlog(&self) -> Result<Backlog, Failure> {
        let look = self.floors.look();
        let mut transaction = self.begin().await?;
        let row = sqlx::query(include_str!("../queries/count_backlog.sql"))
            .bind(&look.floors[..])
            .fetch_one(&mut Session::of(&mut transaction, self.terms))
            .await?;
        self.terms.in_time(transaction.rollback()).await?;
        let row = Fields::new(&row, "outbox", "events");
        let counted: u64 = row.number("events")?;
        let events = if row.get("is_more")? {
            row.number::<u64>("estimate")?.max(counted)
        } else {
            counted
        };
        let oldest: Option<i64> = row.get("oldest")?;
        Ok(Backlog {
            events,
            oldest: oldest.map(Timestamp::from_millis),
        })
    }
}

#[async_trait]
impl EventRelay for PostgresStore {
    /// At most three claims of one store are held at once; a fourth call waits for one to end, and
    /// is refused with [`StoreError::Overloaded`] when that takes longer than a connection may.
    async fn claim(
        &self,
        limit: u32,
        hold: Duration,
    ) -> Result<Option<Box<dyn ClaimedEvents>>, StoreError> {
        let claimed = self.relay.claim(limit, hold).await?;
        Ok(claimed.map(|claimed| Box::new(claimed) as _))
    }

    /// Counted up to 1,000 events of each lane, beyond that as the server estimates its tables.
    async fn backlog(&self) -> Result<Backlog, StoreError> {
        Ok(self.relay.backlog().await?)
    }
}

/// The lanes, beginning with the one whose turn it is.
fn in_turn(first: usize) -> impl Iterator<Item = usize> {
    (first..first + LANES).map(|lane| lane % LANES)
}

impl Relay {
    fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    fn on_taken(&self, lane: usize) {
        self.turn.store((lane + 1) % LANES, Ordering::Relaxed);
    }
}
