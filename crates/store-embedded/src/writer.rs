//! The one writer: takes what waits, makes one transaction of it, answers after the commit.

use std::future::Future;
use std::pin::pin;

use downlink_ports::StoreError;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc;
use tracing::error;

pub(crate) use self::group::Group;
pub(crate) use self::job::{Job, Work};
pub(crate) use self::memory::{Memory, Target};
pub(crate) use self::queue::Queue;
use self::queue::Queued;
use crate::error::store_error;
use crate::store::StoreOptions;

mod group;
mod job;
mod memory;
mod queue;

/// What a write works with: the connection inside its transaction, and what the writer remembers.
pub(crate) struct Scope<'a> {
    pub(crate) connection: &'a mut SqliteConnection,
    pub(crate) memory: &'a mut Memory,
}

/// Owner of the connection that writes.
pub(crate) struct Writer {
    connection: SqliteConnection,
    memory: Memory,
    waiting: mpsc::Receiver<Queued>,
    max_jobs: usize,
    max_items: usize,
}

impl Writer {
    pub(crate) fn new(
        connection: SqliteConnection,
        last_number: u64,
        waiting: mpsc::Receiver<Queued>,
        options: &StoreOptions,
    ) -> Self {
        Self {
            connection,
            memory: Memory::new(last_number),
            waiting,
            max_jobs: options.max_group_jobs.max(1),
            max_items: options.max_group_items.max(1),
        }
    }

    /// Writes until `stop` is there or every handle of the store is gone, and then what waits.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> SqliteConnection {
        let mut stop = pin!(stop);
        let mut is_stopping = false;
        let mut jobs = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = &mut stop, if !is_stopping => {
                    // Refuses new jobs; those that wait are still received.
                    self.waiting.close();
                    is_stopping = true;
                    continue;
                }
                count = self.waiting.recv_many(&mut jobs, self.max_jobs) => {
                    if count == 0 {
                        return self.connection;
                    }
                }
            }
            let mut left = jobs.drain(..).peekable();
            while left.peek().is_some() {
                let group = Group::take(&mut left, self.max_items);
                Self::write(&mut self.connection, &mut self.memory, group).await;
            }
        }
    }

    /// Runs a group as one transaction and answers it.
    async fn write(connection: &mut SqliteConnection, memory: &mut Memory, mut group: Group) {
        let outcome = Self::commit(connection, memory, &mut group).await;
        if let Err(error) = &outcome {
            memory.forget();
            error!(%error, "a group of writes failed");
        }
        group.answer(&outcome);
    }

    async fn commit(
        connection: &mut SqliteConnection,
        memory: &mut Memory,
        group: &mut Group,
    ) -> Result<(), StoreError> {
        // Dropped without a commit, the transaction is rolled back before the next begins.
        let mut transaction = connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(store_error)?;
        let mut scope = Scope {
            connection: &mut transaction,
            memory,
        };
        group.run(&mut scope).await?;
        transaction.commit().await.map_err(store_error)
    }
}
