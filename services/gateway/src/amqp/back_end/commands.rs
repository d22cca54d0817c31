//! Messages of one link that wait for the queue, or are on their way to it.

use std::collections::VecDeque;

use downlink_amqp::engine::DeliveryId;

use super::command::Command;
use super::work::IdReading;

/// Most messages of one batch to the queue.
const MAX_BATCH_MESSAGES: usize = 512;
/// Memory of its messages after which a batch to the queue is closed, in bytes.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Messages of one link on their way to the queue. Their number is bounded by the link's credit,
/// their bytes by the connection, which stops reading.
#[derive(Default)]
pub(in crate::amqp) struct Commands {
    waiting: VecDeque<(DeliveryId, Command)>,
    is_in_flight: bool,
    pub(super) reading: IdReading,
}

impl Commands {
    pub(super) fn push(&mut self, delivery: DeliveryId, command: Command) {
        self.waiting.push_back((delivery, command));
    }

    /// Takes the next batch, unless one is on its way already.
    pub(super) fn take_batch(&mut self) -> Option<Vec<(DeliveryId, Command)>> {
        if self.is_in_flight || self.waiting.is_empty() {
            return None;
        }
        let mut bytes: usize = 0;
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH_MESSAGES && bytes < MAX_BATCH_BYTES {
            let Some(next) = self.waiting.pop_front() else {
                break;
            };
            bytes = bytes.saturating_add(next.1.cost);
            batch.push(next);
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        self.is_in_flight = true;
        Some(batch)
    }

    /// Notes that the batch on its way has come back.
    pub(super) fn on_batch_done(&mut self) {
        self.is_in_flight = false;
    }

    /// About the memory that the waiting messages take.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(|(_, command)| command.cost).sum()
    }

    /// Messages that wait.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }
}
