//! Devices and modules over AMQP 1.0 (amqp.md §4–§7).
#![cfg_attr(not(test), expect(dead_code, reason = "units make use of it"))]

mod c2d;
mod methods;
mod telemetry;
mod twin;
