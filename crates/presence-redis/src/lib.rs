//! Presence of devices, shared by processes through Redis.
