//! The directory: who is connected where.

use async_trait::async_trait;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};
use downlink_ports::{Connected, PresenceDirectory, PresenceWatch, Restored, StoreError};
use redis::Value;
use tracing::debug;

use crate::entry::{self, MAX_EPOCH};
use crate::error::unavailable;
use crate::link::into_text;
use crate::presence::RedisPresence;
use crate::shards::Command;

/// Times that an entry meets a newer one of a gateway without a lease, each time another.
const MAX_MEETINGS: u32 = 4;

#[async_trait]
impl PresenceDirectory for RedisPresence {
    async fn connect(
        &self,
        device: DeviceKey,
        gateway: GatewayId,
        connection: ConnectionId,
        protocol: Protocol,
    ) -> Result<Connected, StoreError> {
        let core = &self.core;
        let tail = entry::tail(connection, protocol, Subscriptions::default(), &gateway);
        let command = core.on_route(device, |key| {
            let mut call = core.scripts.connect.call(&[key]);
            call.arg(tail)
                .arg(core.lowest_epoch())
                .arg(core.route_ttl_millis());
            call
        });
        let (epoch, held) = read_connected(core.run_one(command).await?)?;
        core.saw_epoch(epoch);
        core.live.entered(&gateway);
        let held = held.and_then(|text| entry::parse(&text));
        if let Some(route) = &held {
            core.live.left(&route.gateway);
        }
        // The connection is entered: if its predecessor's gateway cannot be judged, it is taken
        // for alive, and told.
        let judged = core.keep_live(vec![held.clone()]).await;
        let superseded = judged.map_or(held, |mut live| live.pop().flatten());
        Ok(Connected { epoch, superseded })
    }

    async fn subscribe(
        &self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        subscriptions: Subscriptions,
    ) -> Result<(), StoreError> {
        let core = &self.core;
        let command = core.on_route(device, |key| {
            let mut call = core.scripts.subscribe.call(&[key]);
            call.arg(epoch.0)
                .arg(entry::subscription_bits(subscriptions))
                .arg(core.route_ttl_millis());
            call
        });
        core.run_one(command).await.map(drop)
    }

    async fn disconnect(&self, devices: Vec<(DeviceKey, LeaseEpoch)>) -> Result<(), StoreError> {
        let core = &self.core;
        let command = |(device, epoch): (DeviceKey, LeaseEpoch)| {
            core.on_route(device, |key| {
                let mut call = core.scripts.disconnect.call(&[key]);
                call.arg(epoch.0);
                call
            })
        };
        let answers = core
            .shards
            .run(devices.into_iter().map(command).collect())
            .await?;
        for answer in answers {
            if let Value::BulkString(text) = answer
                && let Some(route) = entry::parse(&text)
            {
                core.live.left(&route.gateway);
            }
        }
        Ok(())
    }

    async fn restore(&self, entries: Vec<(DeviceKey, Route)>) -> Result<Vec<Restored>, StoreError> {
        let mut outcomes = vec![Restored::Superseded; entries.len()];
        // An epoch that the scripts cannot count with is not of this directory: its connection
        // closes, and the next one gets one that is.
        let mut left: Vec<Meeting> = (0..entries.len())
            .filter(|place| entries[*place].1.epoch <= MAX_EPOCH)
            .map(|place| Meeting { place, past: 0 })
            .collect();
        for _ in 0..MAX_MEETINGS {
            if left.is_empty() {
                break;
            }
            left = self.restore_once(&entries, left, &mut outcomes).await?;
        }
        Ok(outcomes)
    }

    async fn lookup(&self, devices: &[DeviceKey]) -> Result<Vec<Option<Route>>, StoreError> {
        self.core.lookup(devices).await
    }

    async fn watch(&self, device: DeviceKey) -> Result<Box<dyn PresenceWatch>, StoreError> {
        Ok(Box::new(self.ears.watch(device).await?))
    }

    async fn connected_count(&self) -> Result<u64, StoreError> {
        let leases = self.core.leases().await?;
        Ok(self.core.live.count(&leases))
    }
}

/// An entry to be written again, past a newer one of this epoch whose gateway has no lease.
struct Meeting {
    place: usize,
    past: u64,
}

impl RedisPresence {
    /// Writes entries again; returns those that met a newer one which reads as absent.
    async fn restore_once(
        &self,
        entries: &[(DeviceKey, Route)],
        left: Vec<Meeting>,
        outcomes: &mut [Restored],
    ) -> Result<Vec<Meeting>, StoreError> {
        let commands = left.iter().map(|meeting| {
            let (device, route) = &entries[meeting.place];
            self.restore_command(*device, route, meeting.past)
        });
        let answers = self.core.shards.run(commands.collect()).await?;
        let mut met = Vec::new();
        let mut newer = Vec::new();
        for (meeting, answer) in left.into_iter().zip(answers) {
            let Value::BulkString(text) = answer else {
                self.core.saw_epoch(entries[meeting.place].1.epoch);
                outcomes[meeting.place] = Restored::Stands;
                continue;
            };
            // A newer entry that cannot be read, of a later version perhaps, is left alone.
            if let Some(route) = entry::parse(&text) {
                met.push((meeting.place, route.epoch.0));
                newer.push(Some(route));
            }
        }
        let judged = self.core.keep_live(newer).await?;
        let is_absent = met.into_iter().zip(judged);
        Ok(is_absent
            .filter(|(_, newer)| newer.is_none())
            .map(|((place, past), _)| Meeting { place, past })
            .collect())
    }

    fn restore_command(&self, device: DeviceKey, route: &Route, past: u64) -> Command {
        let core = &self.core;
        let tail = entry::tail(
            route.connection,
            route.protocol,
            route.subscriptions,
            &route.gateway,
        );
        core.on_route(device, |key| {
            let mut call = core.scripts.restore.call(&[key]);
            call.arg(route.epoch.0)
                .arg(tail)
                .arg(core.route_ttl_millis())
                .arg(past);
            call
        })
    }
}

/// What the connect script answers: the epoch, and the entry there was.
fn read_connected(answer: Value) -> Result<(LeaseEpoch, Option<Vec<u8>>), StoreError> {
    let Value::Array(parts) = answer else {
        debug!("connect was answered with no list");
        return Err(unavailable(&"connect was not answered"));
    };
    let mut parts = parts.into_iter();
    let epoch = parts
        .next()
        .and_then(into_text)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| unavailable(&"connect was answered without an epoch"))?;
    let held = match parts.next() {
        Some(Value::BulkString(text)) => Some(text),
        _ => None,
    };
    Ok((LeaseEpoch(epoch), held))
}
