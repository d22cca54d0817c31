//! The built binary, started as a user starts it and met through its own ports.

mod hostile;
mod hubs;
mod secrets;
mod start;
mod support;
mod wire;
