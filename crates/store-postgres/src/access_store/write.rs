//! What all writes of policies and authorities have in common.

use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::event::Event;
use downlink_domain::id::HubName;
use downlink_ports::AccessError;
use downlink_ports::access_rules::Desk;

use super::read::version;
use crate::error::Failure;
use crate::fields::stored;
use crate::outbox;
use crate::session::Session;

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

    /// Where the write is decided; holds the hub until the end of the transaction.
    pub(super) async fn desk(
        &self,
        connection: &mut Session<'_>,
    ) -> Result<Result<Desk<'_>, AccessError>, Failure> {
        let row = sqlx::query(include_str!("../../queries/lock_access.sql"))
            .bind(self.hub.as_str())
            .fetch_optional(connection)
            .await?;
        let Some(row) = row else {
            return Ok(Err(AccessError::NotFound(self.hub.to_string())));
        };
        Ok(Ok(Desk {
            hub: &self.hub,
            version: version(&row)? + 1,
            by: &self.by,
            now: self.now,
        }))
    }
}

/// Ends a write that was made: the version rises and the event waits to be relayed.
pub(super) async fn conclude(
    connection: &mut Session<'_>,
    desk: &Desk<'_>,
    event: Event,
) -> Result<(), Failure> {
    sqlx::query(include_str!("../../queries/update_access_version.sql"))
        .bind(desk.hub.as_str())
        .bind(stored(desk.version))
        .execute(&mut *connection)
        .await?;
    outbox::insert(connection, &[event]).await?;
    Ok(())
}
