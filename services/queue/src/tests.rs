//! The service on stores in memory and a clock that moves by hand.

mod bounds;
mod carrier;
mod feedback;
mod lifecycle_of_a_message;
pub(crate) mod support;
mod wake_ups;
