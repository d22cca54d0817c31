//! Real Postgres, Redis and Kafka on this machine, for tests and for the local stack.
