//! Events to Kafka topics: `<prefix>.feedback`, `.telemetry`, `.twin-changes`,
//! `.device-lifecycle`, `.connection-events` and `.audit`.
//!
//! Processes that relay an outbox enter, through their wiring; services see
//! [`downlink_ports::EventSink`] alone.
//!
//! # A record
//!
//! | part | what it is |
//! |---|---|
//! | key | the device id, `deviceId/moduleId` for a module: what consumers group and join by. The hub is a header instead of a part of the key: two hubs' devices of one name may share a partition, which harms no order, but hubs that share a *compacted* topic need prefixes of their own |
//! | value | the event's body as it is |
//! | timestamp | when the event happened |
//! | `id` | header: the event's stable id as a UUID; the same event sent twice has the same |
//! | `type` | header: the kind, as in the topic's name |
//! | `hub` | header: the hub's full name |
//! | others | the event's properties in their order, `content-type` and `traceparent` among them; one that is named like a header above is written as `property.<name>` |
//!
//! Partitions are chosen as the Java client does (murmur2), so that other producers and stream
//! processors agree with us on where a key belongs.
//!
//! # Order
//!
//! The promise: *in every partition the first occurrences of a device's events stand in the order
//! in which the events were stored*. An event may occur again later; its `id` tells.
//!
//! Call what one call of `publish` hands over a *series*. The promise follows from two rules.
//!
//! 1. A series starts at an event before which everything is in the log: the outbox removes events
//!    only from the front, once they are acknowledged.
//! 2. A series is written *without gaps*: it may be cut short anywhere, but no event of it is
//!    written unless those before it in the same partition are.
//!
//! Take the first occurrence of an event. The series that wrote it either wrote the device's
//! preceding event before it (rule 2) or started with it, and then that one was there already (rule
//! 1). So it does not matter how many relays write, whether a claim lapsed and two write the same
//! events, or whether a dead process' last request arrives late: whole series may overlap and
//! interleave, and nothing but repetitions comes of it.
//!
//! What keeps rule 2, case by case:
//!
//! - *Lost requests, retries, a new leader*: the idempotent producer numbers its records, and the
//!   broker takes each partition's numbers in sequence only. A request that comes late or twice
//!   is refused or recognised. Retries are unlimited.
//! - *Timeouts*: a producer that lets queued records expire drops the old ones and goes on with
//!   those behind them, under a new epoch; `enable.gapless.guarantee` does not cover this. So
//!   records never expire by themselves (`message.timeout.ms` is 0); the deadline is that of
//!   `publish`.
//! - *A record that the broker refuses for good*: by default the producer passes over it. With
//!   `enable.gapless.guarantee` it stops for ever instead.
//! - *The deadline of `publish`*: what is queued cannot be taken back one by one. The producer as a
//!   whole is condemned: first it takes no more records, then everything queued is dropped, and a
//!   new producer with a new identity follows. Other calls that wait on it return with what was
//!   acknowledged.
//! - *Anything else that fails*: the same. A condemned producer is never used again, and a call
//!   never continues its series on another producer.
//! - *A call that is dropped, a process that dies*: a series that is cut short.
//!
//! A topic that is deleted, or gets more partitions, while events flow is outside the promise: its
//! log is another one, and keys move.
//!
//! # When Kafka is away
//!
//! [`KafkaSink::open`] needs no Kafka. Until one answers, nothing is queued: `publish` waits up to
//! its deadline and returns 0. Memory is bounded by [`KafkaOptions::max_queued_events`] and
//! [`KafkaOptions::max_queued_bytes`]; at the bound `publish` waits for room, within its deadline.
//!
//! ```
//! use downlink_events_kafka::KafkaOptions;
//!
//! let options = KafkaOptions {
//!     brokers: vec!["kafka-1:9092".to_owned(), "kafka-2:9092".to_owned()],
//!     ..KafkaOptions::default()
//! };
//! assert!(options.validate().is_ok());
//! ```

mod call;
mod cloud_event;
mod keeper;
mod metrics;
mod options;
mod producer;
mod record;
mod sink;
mod topics;

pub use options::{Compression, EventForm, KafkaOptions, OptionsError};
pub use sink::{KafkaSink, OpenError, PingError};
