//! Records of connections written, with their events.

use std::collections::BTreeSet;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::presence::{ConnectionEnd, ConnectionReport, LeaseEpoch};
use downlink_ports::ConnectionChange;
use downlink_ports::connection_rules::Ledger;

use super::load;
use crate::error::Failure;
use crate::fields::stored;
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

const FIND: &str = include_str!("../../queries/find_connections.sql");
const LOCK: &str = include_str!("../../queries/lock_connections.sql");
const CLAIM: &str = include_str!("../../queries/claim_connections.sql");

pub(super) struct Record {
    pub(super) changes: Vec<ConnectionChange>,
}

#[async_trait]
impl Work for Record {
    type Answer = ();
    const EXTENT: Extent = Extent::Transaction;
    // A report that was taken tells nothing a second time.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<(), Failure> {
        let keys = self.changes.iter().map(|change| change.device.0);
        let keys: Vec<i64> = keys.collect::<BTreeSet<_>>().into_iter().collect();
        let is_assurance = |change: &ConnectionChange| change.report == ConnectionReport::Stands;
        // Whoever says that all is as it was is right nearly always: nothing is locked for it.
        if self.changes.iter().all(is_assurance) {
            let ledger = self.taken(load(connection, FIND, &keys).await?);
            if ledger.is_unchanged() {
                return Ok(());
            }
        }
        let ledger = self.taken(load(connection, LOCK, &keys).await?);
        write(connection, ledger).await
    }
}

impl Record {
    fn taken(&self, mut ledger: Ledger) -> Ledger {
        for change in &self.changes {
            ledger.take(change);
        }
        ledger
    }
}

pub(super) struct Presume {
    pub(super) connections: Vec<(DeviceKey, LeaseEpoch)>,
    pub(super) end: ConnectionEnd,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Presume {
    type Answer = u64;
    const EXTENT: Extent = Extent::Transaction;
    // A second time it ends what is left; only the count would be lower.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<u64, Failure> {
        let keys: Vec<i64> = self
            .connections
            .iter()
            .map(|(device, _)| device.0)
            .collect();
        let mut ledger = load(connection, CLAIM, &keys).await?;
        let mut ended = 0;
        for (device, epoch) in &self.connections {
            let is_ended = ledger.presume_ended(*device, *epoch, self.end, self.now);
            ended += u64::from(is_ended);
        }
        write(connection, ledger).await?;
        Ok(ended)
    }
}

async fn write(connection: &mut Session<'_>, ledger: Ledger) -> Result<(), Failure> {
    let (changed, events) = ledger.finish();
    if changed.is_empty() {
        return Ok(());
    }
    let keys: Vec<i64> = changed.iter().map(|row| row.device.0).collect();
    let numbers = changed.iter().map(|row| row.record.number);
    let epochs: Vec<i64> = numbers.clone().map(|n| stored(n.epoch.0)).collect();
    let turn = |turn: u32| i32::try_from(turn).unwrap_or(i32::MAX);
    let turns: Vec<i32> = numbers.map(|n| turn(n.turn)).collect();
    let connected: Vec<bool> = changed.iter().map(|row| row.record.is_connected).collect();
    let gateways = changed.iter().map(|row| row.record.gateway.as_ref());
    let gateways: Vec<Option<&str>> = gateways.map(|id| id.map(GatewayId::as_str)).collect();
    let state_times = changed.iter().map(|row| row.state_updated_at.as_millis());
    let activity = changed.iter().map(|row| row.active_at.as_millis());
    sqlx::query(include_str!("../../queries/update_connections.sql"))
        .bind(keys)
        .bind(epochs)
        .bind(turns)
        .bind(connected)
        .bind(gateways)
        .bind(state_times.collect::<Vec<i64>>())
        .bind(activity.collect::<Vec<i64>>())
        .execute(&mut *connection)
        .await?;
    outbox::insert(connection, &events).await?;
    Ok(())
}
