//! Clients that speak the hub's protocols as far as tests need them, on nothing but its doors.

pub mod amqp;
pub mod mqtt;
pub mod rest;
pub mod tls;
