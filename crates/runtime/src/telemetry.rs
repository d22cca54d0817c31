//! What a process tells about itself: logs on stderr, metrics, probes.

pub use self::instruments::{
    HotCounter, HotGauge, InstrumentSpec, hot_counters, hot_gauge, hot_gauges,
};
pub use self::logging::{LogFormat, LoggingError, init_logging};
pub use self::metrics::{Metrics, MetricsError};
pub use self::operations::serve_operations;

mod instruments;
mod logging;
mod metrics;
mod operations;
