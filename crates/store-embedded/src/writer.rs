//! The one writer: takes what waits, makes one transaction of it, answers after the commit.

use std::future::Future;
use std::pin::pin;

use downlink_ports::StoreError;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
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
    /// `None` after a transaction that failed: what state it left the connection in is not known
    /// (a full disk ends a transaction unasked), so the next one gets a new connection.
    connection: Option<SqliteConnection>,
    reconnect: SqliteConnectOptions,
    memory: Memory,
    waiting: mpsc::Receiver<Queued>,
    max_jobs: usize,
    max_items: usize,
}

impl Writer {
    pub(crate) fn new(
        (connection, reconnect): (SqliteConnection, SqliteConnectOptions),
        last_number: u64,
        waiting: mpsc::Receiver<Queued>,
        options: &StoreOptions,
    ) -> Self {
        Self {
            connection: Some(connection),
            reconnect,
            memory: Memory::new(last_number),
            waiting,
            max_jobs: options.max_group_jobs.max(1),
            max_items: options.max_group_items.max(1),
        }
    }

    /// Writes until `stop` is there or every handle of the store is gone, and then what waits.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) -> Option<SqliteConnection> {
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
                self.write(group).await;
            }
        }
    }

    /// Runs a group as one transaction and answers it.
    async fn write(&mut self, mut group: Group) {
        let outcome = self.commit(&mut group).await;
        if let Err(error) = &outcome {
            error!(%error, "a group of writes failed");
            self.memory.forget();
            self.connection = None;
        }
        group.answer(&outcome);
    }

    async fn commit(&mut self, group: &mut Group) -> Result<(), StoreError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.reconnect.connect().await.map_err(store_error)?),
        };
        let mut transaction = connection
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(store_error)?;
        let mut scope = Scope {
            connection: &mut transaction,
            memory: &mut self.memory,
        };
        group.run(&mut scope).await?;
        transaction.commit().await.map_err(store_error)
    }
}
