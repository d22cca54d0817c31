//! What the operator decides.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::address::Address;

/// Most servers named in the options.
const MAX_URLS: usize = 64;

/// A secret text; it prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Who a connection says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// User, `None` for the default one.
    pub username: Option<String>,
    /// Password, `None` when the server asks for none.
    pub password: Option<Password>,
}

/// How many servers there are and how they belong together. URLs are `redis://host:port`, or
/// `rediss://host:port` for TLS, without user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single {
        /// The server.
        url: String,
    },
    /// A master and its replicas, watched by sentinels; a fail-over is followed.
    Sentinel {
        /// The sentinels, 1 to 64; any one that answers is enough.
        urls: Vec<String>,
        /// Name of the master that they watch.
        master: String,
    },
    /// A Redis Cluster; its servers are found from any one.
    Cluster {
        /// Some of its servers, 1 to 64.
        urls: Vec<String>,
    },
}

impl Topology {
    pub(crate) fn urls(&self) -> &[String] {
        match self {
            Self::Single { url } => std::slice::from_ref(url),
            Self::Sentinel { urls, .. } | Self::Cluster { urls } => urls,
        }
    }
}

/// Options of [`RedisPresence`](crate::RedisPresence).
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// The servers.
    pub topology: Topology,
    /// For the servers that hold the entries.
    pub credentials: Credentials,
    /// For the sentinels, which have users of their own.
    pub sentinel_credentials: Credentials,
    /// PEM certificates of the authorities to trust under `rediss://`; `None` for those that the
    /// machine trusts.
    pub root_certificates: Option<Vec<u8>>,
    /// First part of every key, 1 to 64 letters, digits and `-_.:`. Those who share a Redis need
    /// different ones.
    pub key_prefix: String,
    /// How long an entry stays that is not written again, 1 minute to 30 days. Entries of a
    /// gateway that was killed are freed by it; a gateway must therefore
    /// [`restore`](downlink_ports::PresenceDirectory::restore) each of its entries in less time
    /// than this, so let it be several times the interval in which it does.
    pub route_ttl: Duration,
    /// Time to connect to a server, 10 ms to 1 minute.
    pub connect_timeout: Duration,
    /// How long the servers may take to answer, 10 ms to 1 minute. A call asks once, or twice when
    /// it meets a gateway that this process has not heard of.
    pub call_timeout: Duration,
    /// Entries that may be on their way at a time, read or written, 1 to 1,000,000. Further calls
    /// wait within their timeout and are then refused as overloaded. Servers work off some hundred
    /// thousand a second, so let it be less than they do in the call timeout.
    pub max_in_flight: usize,
    /// Watches at a time, 1 to 1,000,000; a further one is refused as overloaded.
    pub max_watches: usize,
}

impl RedisOptions {
    /// Options with every default: prefix `downlink`, entries stay an hour, 3 s to connect, 1 s
    /// for a call, 16,384 entries in flight, 65,536 watches.
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            credentials: Credentials::default(),
            sentinel_credentials: Credentials::default(),
            root_certificates: None,
            key_prefix: "downlink".to_owned(),
            route_ttl: Duration::from_hours(1),
            connect_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(1),
            max_in_flight: 16_384,
            max_watches: 65_536,
        }
    }

    /// The servers named, and whether they speak TLS.
    ///
    /// # Errors
    /// One line for each fault.
    pub(crate) fn check(&self) -> Result<Servers, Vec<String>> {
        let mut faults = Vec::new();
        let servers = self.servers(&mut faults);
        let mut require = |holds: bool, fault: &str| {
            if !holds {
                faults.push(fault.to_owned());
            }
        };
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        require(
            (1..=64).contains(&self.key_prefix.len()) && self.key_prefix.bytes().all(is_plain),
            "the key prefix must be 1 to 64 letters, digits, and any of - _ . :",
        );
        if let Topology::Sentinel { master, .. } = &self.topology {
            require(!master.is_empty(), "the name of the master is empty");
        }
        let (instant, minute) = (Duration::from_millis(10), Duration::from_mins(1));
        require(
            (minute..=minute * 60 * 24 * 30).contains(&self.route_ttl),
            "the ttl of routes must be 1 minute to 30 days",
        );
        require(
            (instant..=minute).contains(&self.connect_timeout),
            "the connect timeout must be 10 ms to 1 minute",
        );
        require(
            (instant..=minute).contains(&self.call_timeout),
            "the call timeout must be 10 ms to 1 minute",
        );
        require(
            (1..=1_000_000).contains(&self.max_in_flight),
            "entries in flight must be 1 to 1,000,000",
        );
        require(
            (1..=1_000_000).contains(&self.max_watches),
            "watches must be 1 to 1,000,000",
        );
        if faults.is_empty() {
            Ok(servers)
        } else {
            Err(faults)
        }
    }

    fn servers(&self, faults: &mut Vec<String>) -> Servers {
        let urls = self.topology.urls();
        if urls.is_empty() || urls.len() > MAX_URLS {
            faults.push(format!(
                "1 to {MAX_URLS} urls are needed, not {}",
                urls.len()
            ));
        }
        let mut servers = Servers::default();
        for (index, url) in urls.iter().take(MAX_URLS).enumerate() {
            // The text may hold a secret, so it is named by its place.
            let mut fault = |fault| faults.push(format!("url {} {fault}", index + 1));
            if url.contains('@') {
                fault("holds a user or password: they are options of their own");
                continue;
            }
            let Some((address, is_tls)) = read_url(url) else {
                fault("is not of the form redis://host:port");
                continue;
            };
            if servers.addresses.is_empty() {
                servers.is_tls = is_tls;
            } else if servers.is_tls != is_tls {
                fault("differs from the first in its use of TLS");
            }
            servers.addresses.push(address);
        }
        servers
    }
}

/// The server that a URL names, and whether it speaks TLS.
fn read_url(url: &str) -> Option<(Address, bool)> {
    match url.into_connection_info().ok()?.addr() {
        ConnectionAddr::Tcp(host, port) => Some((Address::new(host, *port), false)),
        ConnectionAddr::TcpTls { host, port, .. } => Some((Address::new(host, *port), true)),
        _ => None,
    }
}

/// The servers that the options name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers {
    pub(crate) addresses: Vec<Address>,
    pub(crate) is_tls: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(url: &str) -> RedisOptions {
        RedisOptions::new(Topology::Single {
            url: url.to_owned(),
        })
    }

    #[test]
    fn a_secret_is_not_printed() {
        let mut options = single("redis://127.0.0.1:6379");
        options.credentials.password = Some(Password::new("hunter2"));
        options.sentinel_credentials.password = Some(Password::new("hunter2"));
        let printed = format!("{options:?}");
        assert!(!printed.contains("hunter2") && printed.contains("***"));
    }

    #[test]
    fn servers_are_read_from_urls() {
        let servers = single("rediss://redis.example:7000").check().unwrap();
        assert!(servers.is_tls);
        assert_eq!(servers.addresses[0].to_string(), "redis.example:7000");
        let servers = single("redis://[::1]:7000").check().unwrap();
        assert_eq!(servers.addresses[0].to_string(), "[::1]:7000");
    }

    #[test]
    fn every_fault_is_told_and_no_secret_with_it() {
        let mut options = RedisOptions::new(Topology::Sentinel {
            urls: vec![
                "redis://a:1".to_owned(),
                "rediss://b:2".to_owned(),
                "http://c:3".to_owned(),
                "redis://:hunter2@d:4".to_owned(),
            ],
            master: String::new(),
        });
        options.key_prefix = "a{b}".to_owned();
        options.route_ttl = Duration::from_secs(1);
        options.connect_timeout = Duration::ZERO;
        options.call_timeout = Duration::from_secs(61);
        options.max_in_flight = 0;
        options.max_watches = 0;
        let faults = options.check().unwrap_err();
        assert_eq!(faults.len(), 10, "{faults:?}");
        assert!(!faults.concat().contains("hunter2"));
        let none = RedisOptions::new(Topology::Cluster { urls: Vec::new() });
        assert_eq!(none.check().unwrap_err().len(), 1);
    }
}
