//! Owns the device registry and the twins.
