//! One device connection without its protocol: presence, the message window, settlements,
//! telemetry, twin requests, method calls. The MQTT and AMQP doors drive it.

mod calls;
mod desired;
mod messages;
mod pace;
mod recheck;
pub(crate) mod reported;
mod running;
mod session;
mod stay;
pub(crate) mod system_property;
mod telemetry;
#[cfg(test)]
mod tests;
mod work;

pub(crate) use reported::TwinRefusal;
pub use session::{DeviceSession, Operation, OperationOutcome, SessionEvent, StoredSession};
pub use stay::{Departing, OpenError};
pub use telemetry::{Stamp, StampedBy, Telemetry};
