//! What gateways want of a hub's rates.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::id::{GatewayId, HubName};
use downlink_domain::limits::HubOperation;
use downlink_ports::{MAX_SHARERS, RateShares, StoreError, Wants};
use redis::Value;
use tracing::debug;

use crate::error::unavailable;
use crate::leases::millis;
use crate::link::into_text;
use crate::presence::RedisPresence;
use crate::shards::Command;
use crate::slot::slot_of;

#[async_trait]
impl RateShares for RedisPresence {
    /// One script on the two keys of the hub, which lie in one slot.
    async fn exchange(
        &self,
        hub: &HubName,
        gateway: &GatewayId,
        wants: Wants,
        ttl: Duration,
    ) -> Result<Vec<(GatewayId, Wants)>, StoreError> {
        let [ends, words] = self.core.keys.rates(hub);
        let mut call = self.core.scripts.rates.call(&[&ends, &words]);
        call.arg(gateway.as_str())
            .arg(millis(ttl))
            .arg(write(&wants))
            .arg(MAX_SHARERS);
        let command = Command::new(slot_of(&ends), call);
        let Value::Array(answer) = self.core.run_one(command).await? else {
            return Err(unavailable(&"an answer is no list"));
        };
        let mut texts = answer.into_iter().map(into_text);
        let mut heard = Vec::new();
        while let (Some(name), Some(wants)) = (texts.next(), texts.next()) {
            // What a later version says in another way must not keep the others from being heard.
            let read = name.and_then(|name| Some((name.parse().ok()?, read(&wants?)?)));
            if let Some(word) = read {
                heard.push(word);
            } else {
                debug!("what a gateway wants cannot be read");
            }
        }
        Ok(heard)
    }

    async fn leave(&self, hub: &HubName, gateway: &GatewayId) -> Result<(), StoreError> {
        let [ends, words] = self.core.keys.rates(hub);
        // The same as giving a lease back: a member of the one, a field of the other.
        let mut call = self.core.scripts.release.call(&[&ends, &words]);
        call.arg(gateway.as_str());
        let command = Command::new(slot_of(&ends), call);
        self.core.run_one(command).await.map(drop)
    }
}

fn write(wants: &Wants) -> String {
    let numbers: Vec<String> = wants.iter().map(ToString::to_string).collect();
    numbers.join(",")
}

/// Reads what [`write`] has written. A version with fewer classes wants nothing of the others; of one with more, those
/// that are not known here are left out.
fn read(text: &str) -> Option<Wants> {
    let mut wants = [0; HubOperation::COUNT];
    for (want, number) in wants.iter_mut().zip(text.split(',')) {
        *want = number.parse().ok()?;
    }
    Some(wants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_read_back_and_other_texts_are_none() {
        let mut wants = [7; HubOperation::COUNT];
        wants[3] = u32::MAX;
        assert_eq!(read(&write(&wants)), Some(wants));
        assert_eq!(read(&format!("{},1,2", write(&wants))), Some(wants));
        let mut fewer = [0; HubOperation::COUNT];
        fewer[0] = 5;
        assert_eq!(read("5"), Some(fewer));
        for other in ["", "x", "1,,2", "-1", "4294967296"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
