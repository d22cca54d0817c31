//! Presence of devices in the memory of one process.
