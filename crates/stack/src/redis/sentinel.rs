//! A Redis master with a replica and three sentinels that watch them.

use std::time::Duration;

use crate::StackError;
use crate::error::expect;
use crate::waiting::until;

use super::node::Node;
use super::resp::Reply;

/// The name under which the sentinels know the master.
const MASTER: &str = "downlink";

const SENTINELS: usize = 3;

/// The longest until everyone knows everyone.
const FORMING_TIMEOUT: Duration = Duration::from_secs(30);

/// One master, one replica and three sentinels, two of which agree on a fail-over.
#[derive(Debug)]
pub struct RedisSentinel {
    sentinels: Vec<Node>,
    servers: [Node; 2],
}

impl RedisSentinel {
    /// Starts the servers and waits until every sentinel knows the others and the replica.
    ///
    /// # Panics
    /// As [`RedisSentinel::try_start`] fails.
    #[track_caller]
    pub fn start() -> Self {
        expect(Self::try_start())
    }

    /// Starts the servers and waits until every sentinel knows the others and the replica.
    ///
    /// # Errors
    /// Redis is not installed, or one of them did not start or find the others.
    pub fn try_start() -> Result<Self, StackError> {
        let master = Node::start(&["--repl-diskless-sync-delay", "0"])?;
        let port = master.port().to_string();
        let replica = Node::start(&["--replicaof", "127.0.0.1", &port])?;
        until("the first copy of the master", FORMING_TIMEOUT, || {
            replica
                .ask(&["INFO", "replication"])
                .and_then(|reply| match reply {
                    Reply::Text(text) if text.contains("master_link_status:up") => Ok(()),
                    other => Err(format!("{other:?}")),
                })
                .into()
        })?;
        let configuration = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {MASTER} 500\n\
             sentinel failover-timeout {MASTER} 3000\n"
        );
        let sentinels = (0..SENTINELS)
            .map(|_| Node::start_sentinel(&configuration))
            .collect::<Result<Vec<_>, _>>()?;
        for sentinel in &sentinels {
            until("the meeting of the sentinels", FORMING_TIMEOUT, || {
                knows_all(sentinel).into()
            })?;
        }
        Ok(Self {
            sentinels,
            servers: [master, replica],
        })
    }

    /// The addresses of the sentinels.
    pub fn sentinel_urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Node::url).collect()
    }

    /// The name under which the sentinels know the master.
    pub fn master_name(&self) -> &'static str {
        MASTER
    }

    /// Says which port the sentinels call the master's now.
    ///
    /// # Panics
    /// The first sentinel does not answer.
    #[track_caller]
    pub fn master_port(&self) -> u16 {
        let reply = self.sentinels[0].ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        let port = match &reply {
            Ok(Reply::List(address)) => address.get(1),
            _ => None,
        };
        match port {
            Some(Reply::Text(port)) => port.parse().ok(),
            _ => None,
        }
        .unwrap_or_else(|| panic!("the sentinel says {reply:?}"))
    }

    /// Ends the master by `SIGKILL`; the sentinels notice and make the replica the master.
    ///
    /// # Panics
    /// Neither server is the master the sentinels name, or it does not run.
    #[track_caller]
    pub fn kill_master(&self) {
        let port = self.master_port();
        let master = self.servers.iter().find(|node| node.port() == port);
        expect(master.map_or_else(
            || Err(StackError::new(format!("the master has port {port}"))),
            Node::kill,
        ));
    }
}

fn knows_all(sentinel: &Node) -> Result<(), String> {
    let master = sentinel.ask(&["SENTINEL", "MASTER", MASTER])?;
    let is = |field, wanted| master.field(field) == Some(wanted);
    if is("num-slaves", "1") && is("num-other-sentinels", "2") && is("flags", "master") {
        Ok(())
    } else {
        Err(format!("{master:?}"))
    }
}
