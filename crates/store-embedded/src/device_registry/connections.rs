//! Connects and disconnects.

use async_trait::async_trait;
use downlink_ports::events::connection_event;
use downlink_ports::{ConnectionChange, StoreError};

use crate::error::store_error;
use crate::outbox;
use crate::statements::RECORD_CONNECTIONS;
use crate::writer::{Scope, Work};

/// Bytes that a change holds while it waits, roughly.
const CHANGE_BYTES: usize = 256;

pub(super) struct RecordConnections {
    pub(super) changes: Vec<ConnectionChange>,
}

#[async_trait]
impl Work for RecordConnections {
    type Answer = ();

    fn bytes(&self) -> usize {
        self.changes.len() * CHANGE_BYTES
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        let events = self.changes.iter().map(connection_event).collect();
        RECORD_CONNECTIONS
            .execute(scope.connection, self.changes, |query, change| {
                query
                    .bind(change.connection.device.0)
                    .bind(change.at.as_millis())
            })
            .await
            .map_err(store_error)?;
        outbox::insert(scope, events).await
    }
}
