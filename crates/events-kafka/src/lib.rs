//! Events to Kafka topics.
