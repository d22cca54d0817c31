//! Messages: each call is one statement over the rows of all its devices.
//!
//! A statement that performs a transition repeats the guard of
//! `downlink_domain::message::transition` and names it; what must be told to a sender is decided by
//! the transition itself, and written by a statement that takes effect only on what still stands
//! as it was read.
//!
//! Which call is made again when nobody knows whether it was made (see [`crate::retry`]): none but
//! the count. An enqueue would store its messages twice; a receive would hand out the next ones
//! under tokens that hold others already; a settlement that was made would answer that the lock
//! was lost; a purge and a sweep would forget what they ended.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::message::{NewMessage, QueueRules, Settlement};
use downlink_ports::{
    EnqueueError, EnqueueRules, Enqueued, LockedMessage, MessageStore, PurgeOrder, PurgeOutcome,
    Receive, SettleError, StoreError, Swept,
};

use crate::store::PostgresStore;

pub(crate) use self::depths::Depths;

mod count;
mod depths;
mod ending;
mod enqueue;
mod properties;
mod purge;
mod receive;
mod settle;
mod standing;
mod sweep;

#[async_trait]
impl MessageStore for PostgresStore {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
        rules: EnqueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, StoreError> {
        enqueue::enqueue(self, messages, rules, now).await
    }

    async fn receive(
        &self,
        requests: Vec<Receive>,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Vec<Vec<LockedMessage>>, StoreError> {
        receive::receive(self, &requests, rules, now).await
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<(), SettleError>>, StoreError> {
        settle::settle(self, &settlements, rules, now).await
    }

    async fn purge(
        &self,
        order: PurgeOrder,
        rules: QueueRules,
    ) -> Result<Option<PurgeOutcome>, StoreError> {
        purge::purge(self, &order, rules).await
    }

    async fn count(&self, devices: Vec<DeviceKey>, now: Timestamp) -> Result<Vec<u64>, StoreError> {
        count::count(self, devices, now).await
    }

    async fn sweep(
        &self,
        limit: u32,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Swept, StoreError> {
        sweep::sweep(self, limit, rules, now).await
    }
}
