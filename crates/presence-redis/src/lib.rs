//! Presence of devices, shared by processes through Redis.
//!
//! [`RedisPresence`] is the directory of any number of gateways and services in processes of their
//! own, the leases of the gateways, when devices polled, and what gateways want of rates. Wiring may enter; services see only
//! `downlink_ports::PresenceDirectory`, `GatewayLeases`, `PollThrottle` and `RateShares`.
//!
//! # What is kept where
//!
//! - `<prefix>:{<device key>}`: the route of a device, one key for each, changed by scripts that
//!   each touch this one key, so that a takeover is atomic and a cluster may hold the keys. An
//!   epoch is the server's clock in microseconds, or one above the last if that is more. The key
//!   expires unless its gateway writes it again
//!   ([`RedisOptions::route_ttl`]), which frees what a killed gateway left.
//! - `<prefix>:{<device key>}:poll`: there while the device must not poll again, if polls are throttled.
//! - The sharded channel of the first key's name: every change of the route, told by the script.
//! - `<prefix>:{leases}:ends`, `…:details`: who holds a lease until when, by the server's clock,
//!   and what each gateway says of itself; what has lapsed is removed by the next renewal.
//! - `<prefix>:{rates <hub>}:ends`, `…:wants`: what each gateway wants of the hub's rates, and until when that counts, by
//!   the server's clock; there while the hub has rates.
//! - `<prefix>:{<tag>}:witness:<gateway>`: one on each master; where it is missing, that master
//!   was emptied.
//!
//! # What it asks of the servers
//!
//! Redis 7.0 or later with `maxmemory-policy noeviction`. A user of the server needs the keys and
//! channels `<prefix>:*` and the commands in [`RIGHTS`].
//!
//! # What it may lose
//!
//! Everything. A gateway that renews its lease is told [`LeaseState::Anew`] when a master was
//! emptied, started again or replaced by another since its last renewal, and then writes its
//! entries again.
//!
//! [`LeaseState::Anew`]: downlink_ports::LeaseState::Anew
//!
//! ```no_run
//! use downlink_presence_redis::{RedisOptions, RedisPresence, Topology};
//! use downlink_runtime::Lifecycle;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let lifecycle = Lifecycle::new();
//! let url = "redis://127.0.0.1:6379".to_owned();
//! let options = RedisOptions::new(Topology::Single { url });
//! let presence = RedisPresence::open(options, &lifecycle.child("presence")).await?;
//! presence.ping().await?;
//! # Ok(())
//! # }
//! ```

mod address;
mod cluster;
mod core;
mod dial;
mod directory;
mod ears;
mod entry;
mod error;
mod jitter;
mod keys;
mod leases;
mod link;
mod listener;
mod live;
mod map;
mod options;
mod polls;
mod presence;
mod rates;
mod scripts;
mod shards;
mod slot;
mod survey;
mod watches;

/// What a user of the server must be allowed besides the keys and channels, in the words of
/// `ACL SETUSER`. Under a cluster also `+cluster|info +cluster|slots +asking`.
pub const RIGHTS: &str = "+evalsha +script|load +get +mget +set +del +pexpire +expire +time \
    +zadd +zrem +zscore +zrangebyscore +zrevrangebyscore +hset +hdel +hmget \
    +spublish +ssubscribe +sunsubscribe +ping +role +info";

pub use error::OpenError;
pub use options::{Credentials, Password, RedisOptions, Topology};
pub use presence::RedisPresence;
