//! A Kafka node's folder, command line and readiness, whoever runs it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::owned::run_to_end;
use crate::waiting::{Attempt, until};
use crate::{StackError, folder, machine};

use super::{artifacts, wire};

/// The longest a start may take: on two busy cores, with logs to recover.
const START_TIMEOUT: Duration = Duration::from_mins(3);

/// The node's cluster: any 16 bytes in unpadded base64.
const CLUSTER_ID: &str = "ZG93bmxpbmstc3RhY2stMA";

/// One Java runtime for one broker: little heap, quick start.
const JAVA_OPTIONS: [&str; 6] = [
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
];

/// The place of one node: its programs, its folder, its ports.
#[derive(Debug)]
pub(crate) struct KafkaServer {
    java: PathBuf,
    libraries: PathBuf,
    folder: PathBuf,
    port: u16,
    controller_port: u16,
}

impl KafkaServer {
    pub(crate) fn new(folder: &Path, port: u16, controller_port: u16) -> Result<Self, StackError> {
        Ok(Self {
            java: machine::get_program("java", "default-jre-headless")?,
            libraries: artifacts::provide()?,
            folder: folder.to_owned(),
            port,
            controller_port,
        })
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Writes the node's configuration, and formats its storage unless it has been before.
    pub(crate) fn initialize(&self) -> Result<(), StackError> {
        folder::write(&self.folder.join("log4j.properties"), LOG_SETTINGS)?;
        folder::write(&self.settings(), &self.settings_text())?;
        if self.data().join("meta.properties").exists() {
            return Ok(());
        }
        let mut words = self.java_words("kafka.tools.StorageTool");
        words.extend(["format", "--cluster-id", CLUSTER_ID, "--config"].map(OsString::from));
        words.push(self.settings().into());
        run_to_end("kafka's StorageTool", words, self.log(), START_TIMEOUT)
    }

    /// The command line of the node.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = self.java_words("kafka.Kafka");
        words.push(self.settings().into());
        words
    }

    /// Waits until the broker answers; gives up when `is_running` says no.
    pub(crate) fn wait_until_ready(&self, is_running: impl Fn() -> bool) -> Result<(), StackError> {
        until("the start of kafka", START_TIMEOUT, || {
            if !is_running() {
                return Attempt::Hopeless(StackError::new("kafka ended"));
            }
            wire::ask_for_brokers(self.port).into()
        })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    fn java_words(&self, main: &str) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.java.clone().into()];
        words.extend(JAVA_OPTIONS.map(OsString::from));
        let mut logging = OsString::from("-Dlog4j.configuration=file:");
        logging.push(self.folder.join("log4j.properties"));
        words.push(logging);
        // It unpacks a compression library there, which a killed process leaves behind.
        let mut scratch = OsString::from("-Djava.io.tmpdir=");
        scratch.push(&self.folder);
        words.push(scratch);
        words.extend(["-cp".into(), self.libraries.join("*").into(), main.into()]);
        words
    }

    fn settings_text(&self) -> String {
        let (port, controller) = (self.port, self.controller_port);
        let data = self.data();
        let data = data.display();
        format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={data}\n\
             {FIXED_SETTINGS}"
        )
    }
}

/// One node has one replica of everything; threads and buffers fit a small heap; topics are made
/// by who needs them; a killed node need not wait long for its own former session to lapse.
const FIXED_SETTINGS: &str = "\
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=8388608
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
";

const LOG_SETTINGS: &str = "\
log4j.rootLogger=WARN, stdout
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n
";
