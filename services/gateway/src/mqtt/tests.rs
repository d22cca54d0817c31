//! The door as a device meets it: packets over a pipe, the services in memory.

mod catalogue;
mod certificates;
mod client;
mod connect;
mod lifetime;
mod limits;
mod messages;
mod methods;
mod policies;
mod telemetry;
mod twins;
