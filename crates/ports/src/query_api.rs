//! Questions about a whole hub, answered by the twin service.

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::HubName;

use crate::PeerError;

/// Most rows of a page.
pub const MAX_PAGE_ROWS: u32 = 1000;
/// Longest continuation, in characters.
pub const MAX_CONTINUATION: usize = 128;

/// A query, or its next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryCall {
    /// The tenant.
    pub hub: HubName,
    /// The text, at most 8,192 characters.
    pub text: String,
    /// Most rows wanted, 1 to [`MAX_PAGE_ROWS`].
    pub page_size: u32,
    /// What the page before gave; `None` for the first page.
    pub continuation: Option<String>,
}

/// What the rows of a page are (registry.md §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemType {
    /// Whole twins.
    Twin,
    /// What jobs did on devices.
    DeviceJob,
    /// Whatever the query selects.
    Raw,
}

/// A page of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryPage {
    /// What the rows are.
    pub item_type: ItemType,
    /// The rows, each a JSON object as text; none when nothing was found. Together about 3 MiB at
    /// most, which can make them fewer than were wanted.
    pub items: Vec<Bytes>,
    /// Asks for the next page, which has rows unless they change meanwhile; `None` when there is
    /// none.
    pub continuation: Option<String>,
}

impl ItemType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Twin, Self::DeviceJob, Self::Raw];

    /// The word on the wire; case counts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Twin => "Twin",
            Self::DeviceJob => "DeviceJob",
            Self::Raw => "Raw",
        }
    }
}

/// Queries, served by the twin service.
#[async_trait]
pub trait QueryApi: Send + Sync {
    /// Answers a page of a query. Refuses with `ArgumentInvalid`, its text naming the character
    /// where the query goes wrong, or saying that it looks at too much or takes too long; and with
    /// `ThrottlingException` when too many queries run already.
    async fn query(&self, call: QueryCall) -> Result<QueryPage, PeerError>;
}
