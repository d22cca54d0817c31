//! What all writes of policies and authorities have in common.

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::event::Event;
use downlink_domain::id::HubName;
use downlink_ports::access_rules::Desk;
use downlink_ports::{AccessError, StoreError};

use super::read::version;
use crate::error::store_error;
use crate::fields::stored;
use crate::outbox;
use crate::writer::Scope;

/// Who wants a write, of which hub, on what condition.
pub(super) struct Order {
    pub(super) hub: HubName,
    pub(super) if_match: IfMatch,
    by: Actor,
    now: Timestamp,
}

impl Order {
    pub(super) fn new(hub: HubName, if_match: IfMatch, by: Actor, now: Timestamp) -> Self {
        Self {
            hub,
            if_match,
            by,
            now,
        }
    }

    /// Where the write is decided.
    pub(super) async fn desk(
        &self,
        scope: &mut Scope<'_>,
    ) -> Result<Result<Desk<'_>, AccessError>, StoreError> {
        let Some(version) = version(scope.connection, &self.hub).await? else {
            return Ok(Err(AccessError::NotFound(self.hub.to_string())));
        };
        Ok(Ok(Desk {
            hub: &self.hub,
            version: version + 1,
            by: &self.by,
            now: self.now,
        }))
    }
}

/// Ends a write that was made: the version rises and the event waits to be relayed.
pub(super) async fn conclude(
    scope: &mut Scope<'_>,
    desk: &Desk<'_>,
    event: Event,
) -> Result<(), StoreError> {
    sqlx::query(include_str!("../../queries/update_access_version.sql"))
        .bind(desk.hub.as_str())
        .bind(stored(desk.version))
        .execute(&mut *scope.connection)
        .await
        .map_err(store_error)?;
    outbox::insert(scope, vec![event]).await
}
