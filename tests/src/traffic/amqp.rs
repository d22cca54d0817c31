//! Traffic over AMQP.
//!
//! The SDKs prove elsewhere that the hub speaks AMQP as others do; this client shares the hub's
//! codec and costs little, so that what is measured is the hub.

pub(super) mod devices;
pub(super) mod sender;

use super::Access;
use crate::wire::amqp::Amqp;

/// Connects to the gateway whose turn it is; the hub shall not be silent for `idle_time_out`
/// milliseconds.
pub(super) async fn connect(
    access: &Access,
    turn: usize,
    idle_time_out: Option<u32>,
) -> anyhow::Result<Amqp> {
    let address = access.door(turn, 5671);
    let io = access.trust.connect(address, &access.host, None).await?;
    Amqp::open(io, &access.host, idle_time_out).await
}
