//! Devices and modules over AMQP 1.0 (amqp.md §4–§7).
//!
//! A connection may carry any number of them. Each, on each session, is a *unit*: it has a device
//! session of its own, its own links, and its own fate. What ends one leaves the others alone.

mod c2d;
mod calling;
mod certificate;
mod ending;
mod events;
mod kind;
mod messages;
mod methods;
mod opening;
mod ready;
mod sends;
mod telemetry;
mod twin;
mod twin_pair;
mod twin_requests;
mod unit;
mod units;
mod work;

pub(super) use kind::DeviceLink;
pub(super) use units::Units;
pub(super) use work::DeviceDone;

use downlink_amqp::performative::{AmqpError, condition};
use downlink_domain::ErrorCode;

use self::unit::UnitId;
use super::condition::error_of;

/// What the links of a unit are told that lost its right to be there (amqp.md §3.4).
fn token_invalid() -> AmqpError {
    error_of(ErrorCode::IotHubUnauthorized, "Token Invalid.")
}

/// What the links of a unit are told whose identity has connected elsewhere (amqp.md §2.4).
fn stolen() -> AmqpError {
    let text = "another connection of the device took over";
    AmqpError::new(condition::LINK_STOLEN, text)
}
