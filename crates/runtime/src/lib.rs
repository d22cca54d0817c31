//! Lifecycle, listeners, TLS, telemetry, batching.
