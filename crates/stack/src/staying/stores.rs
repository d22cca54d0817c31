//! The stores that stay: the servers of [`crate`], with settings that survive a loss of power.

use crate::kafka::KafkaServer;
use crate::postgres::{Durability, PostgresServer};
use crate::redis::RedisServer;
use crate::{Signal, StackError};

use super::StayingStack;

/// The database of the local stack.
const DATABASE: &str = "downlink";

const POSTGRES: &str = "postgres";
const REDIS: &str = "redis";
const KAFKA: &str = "kafka";

impl StayingStack {
    /// Starts Postgres, waits until it answers, and gives the address of the stack's database.
    ///
    /// # Errors
    /// It is not installed or did not start; the error carries its log.
    pub fn start_postgres(&mut self) -> Result<String, StackError> {
        let folder = self.make_folder(POSTGRES)?;
        let server = PostgresServer::new(&folder, self.port(POSTGRES)?, Durability::PowerLoss)?;
        server.initialize()?;
        // The fast shutdown: clients are cut off, the data is written.
        self.start(POSTGRES, &server.words(), &[], Signal::Int)?;
        server
            .wait_until_ready(|| self.is_running(POSTGRES))
            .map_err(|error| self.explain(POSTGRES, error))?;
        server.ensure_database(DATABASE)?;
        Ok(server.url(DATABASE))
    }

    /// Starts Redis, waits until it answers, and gives its address.
    ///
    /// # Errors
    /// It is not installed or did not start; the error carries its log.
    pub fn start_redis(&mut self) -> Result<String, StackError> {
        let folder = self.make_folder(REDIS)?;
        let server = RedisServer::new(&folder, self.port(REDIS)?)?;
        self.start(REDIS, &server.words(), &[], Signal::Term)?;
        server
            .wait_until_ready(|| self.is_running(REDIS))
            .map_err(|error| self.explain(REDIS, error))?;
        Ok(server.url())
    }

    /// Starts Kafka, waits until it answers, and gives its address.
    ///
    /// # Errors
    /// Java is not installed, the archives cannot be had, or it did not start; the error then
    /// carries its log.
    pub fn start_kafka(&mut self) -> Result<String, StackError> {
        let folder = self.make_folder(KAFKA)?;
        let controller = self.port("kafka-controller")?;
        let server = KafkaServer::new(&folder, self.port(KAFKA)?, controller)?;
        server.initialize()?;
        self.start(KAFKA, &server.words(), &[], Signal::Term)?;
        server
            .wait_until_ready(|| self.is_running(KAFKA))
            .map_err(|error| self.explain(KAFKA, error))?;
        Ok(server.bootstrap())
    }

    fn make_folder(&self, name: &str) -> Result<std::path::PathBuf, StackError> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)
            .map_err(StackError::from_io(format!("make {}", folder.display())))?;
        Ok(folder)
    }

    /// Adds to an error of waiting for a program what it said before it ended, if it has.
    pub fn explain(&self, name: &str, error: StackError) -> StackError {
        if self.is_running(name) {
            return error;
        }
        StackError::new(format!("{name} ended; it said: {}", self.log_tail(name)))
    }
}
