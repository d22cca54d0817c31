//! Connects and disconnects.

use std::collections::BTreeMap;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::event::Event;
use downlink_ports::ConnectionChange;
use downlink_ports::events::connection_event;

use crate::error::Failure;
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};

pub(super) struct RecordConnections {
    /// Keys of identities, each once, in order.
    keys: Vec<i64>,
    /// The latest instant of each.
    instants: Vec<i64>,
    events: Vec<Event>,
}

impl RecordConnections {
    pub(super) fn of(changes: &[ConnectionChange]) -> Self {
        let mut latest = BTreeMap::new();
        for change in changes {
            let at = latest.entry(change.connection.device.0).or_insert(i64::MIN);
            *at = change.at.as_millis().max(*at);
        }
        let (keys, instants) = latest.into_iter().unzip();
        Self {
            keys,
            instants,
            events: changes.iter().map(connection_event).collect(),
        }
    }
}

#[async_trait]
impl Work for RecordConnections {
    type Answer = ();
    const EXTENT: Extent = Extent::Transaction;
    // Times only move forward, and events have ids of their own.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<(), Failure> {
        sqlx::query(include_str!("../../queries/record_connections.sql"))
            .bind(&self.keys)
            .bind(&self.instants)
            .execute(&mut *connection)
            .await?;
        outbox::insert(connection, &self.events).await?;
        Ok(())
    }
}
