//! Tests across services: contract and end to end.
