//! Measures presence in Redis: look-ups in batches, connects at the same time, entries written
//! again. Starts a server of its own, a cluster with the word `cluster`:
//!
//! ```text
//! cargo run --release -p downlink-presence-redis --example presence [cluster]
//! ```

use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};
use downlink_ports::{GatewayLease, GatewayLeases, PresenceDirectory};
use downlink_presence_redis::{RedisOptions, RedisPresence, Topology};
use downlink_runtime::Lifecycle;
use downlink_stack::{Redis, RedisCluster};
use futures::{StreamExt, TryStreamExt, stream};

type Outcome = Result<(), Box<dyn Error>>;

/// Devices that are connected.
const DEVICES: i64 = 100_000;
const BATCH: usize = 1000;

#[tokio::main]
async fn main() -> Outcome {
    if std::env::args().any(|word| word == "cluster") {
        let cluster = RedisCluster::try_start()?;
        let urls = cluster.urls();
        measure(Topology::Cluster { urls }).await
    } else {
        let redis = Redis::try_start()?;
        measure(Topology::Single { url: redis.url() }).await
    }
}

async fn measure(topology: Topology) -> Outcome {
    let mut options = RedisOptions::new(topology);
    options.call_timeout = Duration::from_secs(5);
    let presence = RedisPresence::open(options, &Lifecycle::new()).await?;
    let gateway: GatewayId = "gateway-1".parse()?;
    let lease = GatewayLease {
        gateway: gateway.clone(),
        address: String::new(),
        connections: 0,
    };
    presence.renew(lease, Duration::from_mins(10)).await?;
    for at_once in [1, 64, 1024] {
        connects(&presence, &gateway, at_once).await?;
    }
    restores(&presence, &gateway).await?;
    for at_once in [1, 4] {
        lookups(&presence, at_once).await?;
    }
    disconnects(&presence).await
}

async fn connects(presence: &Arc<RedisPresence>, gateway: &GatewayId, at_once: usize) -> Outcome {
    let count = if at_once == 1 { DEVICES / 10 } else { DEVICES };
    let began = Instant::now();
    stream::iter(0..count)
        .map(|device| {
            let id = ConnectionId(device.cast_unsigned());
            presence.connect(DeviceKey(device), gateway.clone(), id, Protocol::Mqtt)
        })
        .buffer_unordered(at_once)
        .try_for_each(async |_| Ok(()))
        .await?;
    report(&format!("connects, {at_once} at once"), count, began)
}

async fn restores(presence: &Arc<RedisPresence>, gateway: &GatewayId) -> Outcome {
    let route = |device: i64| Route {
        gateway: gateway.clone(),
        connection: ConnectionId(device.cast_unsigned()),
        // Above those of the clock, so that every entry is written.
        epoch: LeaseEpoch(1 << 52),
        protocol: Protocol::Mqtt,
        subscriptions: Subscriptions::default(),
    };
    for what in ["entries written again", "entries found standing"] {
        let began = Instant::now();
        for batch in batches() {
            let entries = batch.into_iter().map(|key| (key, route(key.0))).collect();
            presence.restore(entries).await?;
        }
        report(what, DEVICES, began)?;
    }
    Ok(())
}

async fn lookups(presence: &Arc<RedisPresence>, at_once: usize) -> Outcome {
    const ROUNDS: usize = 10;
    let began = Instant::now();
    let all: Vec<Vec<DeviceKey>> = (0..ROUNDS).flat_map(|_| batches()).collect();
    stream::iter(&all)
        .map(|batch| presence.lookup(batch))
        .buffer_unordered(at_once)
        .try_for_each(async |routes| {
            assert!(routes.iter().all(Option::is_some), "every device is found");
            Ok(())
        })
        .await?;
    let what = format!("look-ups, {BATCH} in a batch, {at_once} batches at once");
    report(&what, DEVICES * i64::try_from(ROUNDS)?, began)
}

async fn disconnects(presence: &Arc<RedisPresence>) -> Outcome {
    let began = Instant::now();
    for batch in batches() {
        let gone = batch.into_iter().map(|key| (key, LeaseEpoch(1 << 52)));
        presence.disconnect(gone.collect()).await?;
    }
    report("disconnects", DEVICES, began)
}

fn batches() -> impl Iterator<Item = Vec<DeviceKey>> {
    let keys: Vec<_> = (0..DEVICES).map(DeviceKey).collect();
    let batches: Vec<_> = keys.chunks(BATCH).map(<[_]>::to_vec).collect();
    batches.into_iter()
}

fn report(what: &str, count: i64, began: Instant) -> Outcome {
    let took = began.elapsed();
    let millis = i64::try_from(took.as_millis())?.max(1);
    let a_second = count * 1000 / millis;
    writeln!(
        std::io::stdout(),
        "{what}: {a_second} a second ({count} in {took:?})"
    )?;
    Ok(())
}
