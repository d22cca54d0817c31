//! Twins found by what is in them.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::device::Device;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::query::{Field, Filter, GroupValue, Source};
use downlink_domain::twin::{Object, Twin};
use thiserror::Error;

use crate::StoreError;

pub use self::count::{Counting, TooManyGroups};
pub use self::evaluate::{Found, find, holds};

mod count;
mod evaluate;

/// Which parts of a row the caller reads; what it does not need may be left out of the row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each names one part of a row, any mixture of them is meant"
)]
pub struct Needs {
    /// `Twin::tags`; else empty.
    pub tags: bool,
    /// Values and metadata of `Twin::desired`; else empty. Its version is always there.
    pub desired: bool,
    /// Values and metadata of `Twin::reported`; else empty. Its version is always there.
    pub reported: bool,
    /// [`ScanRow::configurations`]; else empty.
    pub configurations: bool,
    /// [`ScanRow::waiting`]; else `None`.
    pub waiting: bool,
}

/// An order to read some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// The tenant; rows of others are never seen.
    pub hub: HubName,
    /// Which identities.
    pub source: Source,
    /// Which of them.
    pub filter: Filter,
    /// Only keys above this one.
    pub after: Option<DeviceKey>,
    /// Most rows to return, 1 to 10,000.
    pub limit: u32,
    /// What the caller reads of them.
    pub needs: Needs,
    /// The time, for the messages that wait.
    pub now: Timestamp,
}

/// One identity with its twin.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanRow {
    /// The identity; its keys may be left out (empty keys, no thumbprints), the way of its
    /// authentication and the thumbprints of a self-signed one may not. Of a module, `status`,
    /// `status_reason` and `status_updated_at` are those of its device.
    pub device: Device,
    /// Its twin.
    pub twin: Twin,
    /// Per configuration that targets it, by id: `{"status": "Targeted" | "Applied"}`.
    pub configurations: Object,
    /// Messages waiting for it, as `MessageStore::count` has it; of a module always zero.
    pub waiting: Option<u64>,
}

/// What a [`Scan`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanPage {
    /// In rising order of `device.key`, at most `Scan::limit`.
    pub rows: Vec<ScanRow>,
    /// Where to go on: every row with a key up to this one has been looked at. `None` when there
    /// is no further row that matched at the time of the scan. A page may have fewer rows than
    /// its limit, even none, and still go on.
    pub next: Option<DeviceKey>,
}

/// An order to count rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// The tenant; rows of others are never seen.
    pub hub: HubName,
    /// Which identities.
    pub source: Source,
    /// Which of them.
    pub filter: Filter,
    /// Rows that agree in all of these are one group; empty: all rows are one group. At most 8.
    pub group_by: Vec<Field>,
    /// Most groups to return, 1 to 10,000.
    pub max_groups: u32,
}

/// Rows that have something in common.
#[derive(Clone, Debug, PartialEq)]
pub struct TallyGroup {
    /// By position, what they have in common: one per `Tally::group_by`.
    pub values: Vec<GroupValue>,
    /// How many there are; never zero, but for the one group of a tally without `group_by`.
    pub count: u64,
}

/// What a [`Tally`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Tallied {
    /// All groups, each once, in any order; exactly one when there is nothing to group by.
    Groups(Vec<TallyGroup>),
    /// There are more than `Tally::max_groups`.
    TooManyGroups,
}

/// Why a store did not answer a query.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TwinQueryError {
    /// It took longer than a statement may take; asking for less helps, asking again does not.
    #[error("the query took longer than a query may take")]
    TooSlow,
    /// The store could not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Twins of a hub, found by what is in them.
///
/// Filters are answered exactly as `downlink_domain::query` says, over what was committed when
/// the statement began. What is in a filter reaches the database as parameters only.
#[async_trait]
pub trait TwinQueries: Send + Sync {
    /// Reads rows in rising order of their keys. An identity keeps its key for life, so whoever
    /// walks from page to page sees every row once that is there and matches throughout, however
    /// rows change meanwhile.
    async fn scan(&self, scan: Scan) -> Result<ScanPage, TwinQueryError>;

    /// Counts rows.
    async fn tally(&self, tally: Tally) -> Result<Tallied, TwinQueryError>;
}
