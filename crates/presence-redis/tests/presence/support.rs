//! Servers that tests share, and what most tests begin with.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};
use downlink_ports::{Connected, GatewayLease, GatewayLeases, LeaseState, PresenceDirectory};
use downlink_presence_redis::{RedisOptions, RedisPresence, Topology};
use downlink_runtime::Lifecycle;
use downlink_stack::{Redis, RedisCluster, RedisSentinel};

/// Longer than any test.
pub const LEASE: Duration = Duration::from_mins(2);
/// How long anything may take that must happen in the end, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Options on `topology`, with keys of their own and a call timeout fit for a busy machine.
pub fn options(topology: Topology) -> RedisOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut options = RedisOptions::new(topology);
    options.key_prefix = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    options.connect_timeout = Duration::from_secs(10);
    options.call_timeout = Duration::from_secs(5);
    options
}

pub fn on(redis: &Redis) -> RedisOptions {
    options(Topology::Single { url: redis.url() })
}

/// The server that tests share which do it no harm.
pub fn single() -> RedisOptions {
    on(Redis::shared())
}

pub fn sentinel() -> RedisOptions {
    static SHARED: OnceLock<RedisSentinel> = OnceLock::new();
    let servers = SHARED.get_or_init(RedisSentinel::start);
    watched_by(servers)
}

pub fn watched_by(servers: &RedisSentinel) -> RedisOptions {
    options(Topology::Sentinel {
        urls: servers.sentinel_urls(),
        master: servers.master_name().to_owned(),
    })
}

pub fn cluster() -> RedisOptions {
    static SHARED: OnceLock<RedisCluster> = OnceLock::new();
    let urls = SHARED.get_or_init(RedisCluster::start).urls();
    options(Topology::Cluster { urls })
}

pub async fn open(options: RedisOptions) -> Arc<RedisPresence> {
    let opened = RedisPresence::open(options, &Lifecycle::new()).await;
    opened.unwrap_or_else(|error| panic!("{error}"))
}

pub fn gateway(name: &str) -> GatewayId {
    name.parse().unwrap()
}

pub fn lease(name: &str) -> GatewayLease {
    GatewayLease {
        gateway: gateway(name),
        address: String::new(),
        connections: 0,
    }
}

/// Takes or renews a lease that outlives the test.
pub async fn renew(presence: &RedisPresence, name: &str) -> LeaseState {
    presence.renew(lease(name), LEASE).await.unwrap()
}

/// Renews a lease as soon as the server can be reached.
pub async fn renew_when_back(presence: &RedisPresence, name: &str) -> LeaseState {
    eventually("renew the lease", async || {
        presence.renew(lease(name), LEASE).await.ok()
    })
    .await
}

pub async fn connect(
    presence: &RedisPresence,
    device: DeviceKey,
    name: &str,
    connection: u64,
) -> Connected {
    let id = ConnectionId(connection);
    presence
        .connect(device, gateway(name), id, Protocol::Mqtt)
        .await
        .unwrap()
}

pub async fn route_of(presence: &RedisPresence, device: DeviceKey) -> Option<Route> {
    presence.lookup(&[device]).await.unwrap().remove(0)
}

pub fn route(name: &str, connection: u64, epoch: u64) -> Route {
    Route {
        gateway: gateway(name),
        connection: ConnectionId(connection),
        epoch: LeaseEpoch(epoch),
        protocol: Protocol::Mqtt,
        subscriptions: Subscriptions::default(),
    }
}

/// Asks again until there is an answer.
#[track_caller]
pub fn eventually<T>(
    what: &str,
    mut asked: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    let within = async move {
        loop {
            if let Some(answer) = asked().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let failure = format!("could not {what} in time");
    async move {
        tokio::time::timeout(PATIENCE, within)
            .await
            .expect(&failure)
    }
}

/// Waits for an event that must come.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, event).await;
    came.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Sends one command to the server at `url`.
pub async fn tell(url: &str, words: &[&str]) -> redis::Value {
    let answer = ask(url, words).await;
    answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// Sends one command to the server at `url`; `None` when it refuses or is not there.
pub async fn try_tell(url: &str, words: &[&str]) -> Option<redis::Value> {
    ask(url, words).await.ok()
}

async fn ask(url: &str, words: &[&str]) -> redis::RedisResult<redis::Value> {
    // The defaults of the client are too short for a busy machine.
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    let client = redis::Client::open(url)?;
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
