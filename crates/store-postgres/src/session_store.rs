//! MQTT sessions.
