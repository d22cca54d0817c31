//! Turns of devices to poll.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_ports::{PollThrottle, PollTurn, StoreError};
use redis::{Value, cmd};

use crate::leases::millis;
use crate::link::into_text;
use crate::presence::RedisPresence;
use crate::shards::Command;
use crate::slot::slot_of;

#[async_trait]
impl PollThrottle for RedisPresence {
    /// One command: it sets the key unless it is there, and answers what is. The key ends by the server's clock; its
    /// value, the end by the clock of the node that set it, serves to tell the wait alone.
    async fn take_turn(
        &self,
        device: DeviceKey,
        interval: Duration,
        now: Timestamp,
    ) -> Result<PollTurn, StoreError> {
        let key = self.core.keys.poll(device);
        let mut set = cmd("SET");
        set.arg(&key)
            .arg((now + interval).as_millis())
            .arg("NX")
            .arg("PX")
            .arg(millis(interval))
            .arg("GET");
        let command = Command::new(slot_of(&key), set);
        let held = self.core.run_one(command).await?;
        if held == Value::Nil {
            return Ok(PollTurn::Taken);
        }
        let until: Option<i64> = into_text(held).and_then(|text| text.parse().ok());
        let wait = until.map_or(interval, |until| {
            let wait = until.saturating_sub(now.as_millis()).max(0);
            Duration::from_millis(wait.unsigned_abs())
        });
        Ok(PollTurn::TooSoon {
            wait: wait.min(interval),
        })
    }
}
