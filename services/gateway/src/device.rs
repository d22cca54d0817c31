//! One device connection without its protocol: presence, the message window, settlements,
//! telemetry, twin requests, method calls. The MQTT and AMQP doors drive it.

mod calls;
mod messages;
mod session;
mod telemetry;
#[cfg(test)]
mod tests;

pub use session::{Departing, DeviceSession, OpenError, Operation, OperationOutcome, SessionEvent};
pub use telemetry::{Stamp, StampedBy, Telemetry};
