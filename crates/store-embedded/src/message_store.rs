//! Messages: what is asked goes to the writer, which merges the calls of many.
//!
//! A transition is decided by `downlink_domain::message::transition` between the read and the
//! write of one transaction; with one writer nothing can come between them. The guards that SQL
//! repeats only narrow what is read.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::message::{NewMessage, QueueRules, Settlement};
use downlink_ports::{
    EnqueueError, EnqueueRules, Enqueued, LockedMessage, MessageStore, PurgeOrder, PurgeOutcome,
    Receive, SettleError, StoreError, Swept,
};

use crate::error::store_error;
use crate::fields::Fields;
use crate::statements::COUNT_MESSAGES;
use crate::store::Store;
use crate::writer::Job;

pub(crate) use self::enqueue::{Accepted, EnqueueItem, enqueue};
pub(crate) use self::receive::{ReceiveItem, Received, receive};
pub(crate) use self::settle::{SettleItem, Settled, settle};

mod conclude;
mod enqueue;
mod purge;
mod receive;
mod settle;
mod standing;
mod sweep;

/// Bytes that an item without a payload holds while it waits, roughly.
const ITEM_BYTES: usize = 128;

#[async_trait]
impl MessageStore for Store {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
        rules: EnqueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, StoreError> {
        let payloads: usize = messages.iter().map(NewMessage::counted_bytes).sum();
        let bytes = payloads + messages.len() * ITEM_BYTES;
        let items = messages.into_iter().map(|message| EnqueueItem {
            message,
            max_depth: u64::from(rules.max_depth),
            now,
        });
        self.queue.merge(Job::Enqueue, items.collect(), bytes).await
    }

    async fn receive(
        &self,
        requests: Vec<Receive>,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Vec<Vec<LockedMessage>>, StoreError> {
        let bytes = requests.len() * ITEM_BYTES;
        let items = requests.into_iter().map(|request| ReceiveItem {
            request,
            rules,
            now,
        });
        self.queue.merge(Job::Receive, items.collect(), bytes).await
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<(), SettleError>>, StoreError> {
        let bytes = settlements.len() * ITEM_BYTES;
        let items = settlements.into_iter().map(|settlement| SettleItem {
            settlement,
            rules,
            now,
        });
        self.queue.merge(Job::Settle, items.collect(), bytes).await
    }

    async fn purge(
        &self,
        order: PurgeOrder,
        rules: QueueRules,
    ) -> Result<Option<PurgeOutcome>, StoreError> {
        let work = purge::Purge {
            order,
            feedback_ttl: rules.feedback_ttl,
        };
        self.queue.call(work).await
    }

    async fn count(&self, devices: Vec<DeviceKey>, now: Timestamp) -> Result<Vec<u64>, StoreError> {
        let mut counts = vec![0; devices.len()];
        let wanted: Vec<_> = (0_i64..).zip(devices).collect();
        let mut reader = self.reader().await?;
        let rows = COUNT_MESSAGES
            .fetch(&mut reader, Some(now.as_millis()), wanted, |query, row| {
                query.bind(row.0).bind(row.1.0)
            })
            .await
            .map_err(store_error)?;
        for row in &rows {
            let row = Fields::new(row, "messages", "position");
            let position: usize = row.number("position")?;
            counts[position] = row.number("waiting")?;
        }
        Ok(counts)
    }

    async fn sweep(
        &self,
        limit: u32,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Swept, StoreError> {
        self.queue.call(sweep::Sweep { limit, rules, now }).await
    }
}
