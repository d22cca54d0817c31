//! One device connection without its protocol: presence, the message window, settlements,
//! telemetry, twin requests, method calls. The MQTT and AMQP doors drive it.

mod calls;
mod messages;
mod recheck;
mod running;
mod session;
mod stay;
mod telemetry;
#[cfg(test)]
mod tests;
mod work;

pub use session::{DeviceSession, Operation, OperationOutcome, SessionEvent, StoredSession};
pub use stay::{Departing, OpenError};
pub use telemetry::{Stamp, StampedBy, Telemetry};
