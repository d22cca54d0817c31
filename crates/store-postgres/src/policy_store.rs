//! Hubs and their policies.
