//! Finds the masters, again and again: who they are, and whether they still answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::address::Address;
use crate::cluster;
use crate::dial::Dialer;
use crate::error::LinkError;
use crate::link::{Link, into_text};
use crate::map::{Holding, Map};
use crate::options::Topology;
use crate::scripts::Scripts;

/// How many servers of a cluster are asked at once who holds what.
const ASKED: usize = 3;

/// What finds the masters.
pub(crate) struct Survey {
    pub(crate) topology: Topology,
    /// The servers that the options name.
    pub(crate) seeds: Vec<Address>,
    /// To the servers that hold entries.
    pub(crate) dialer: Dialer,
    /// To the sentinels.
    pub(crate) sentinel_dialer: Dialer,
    pub(crate) scripts: Arc<Scripts>,
    /// Told when a link breaks.
    pub(crate) nudge: Arc<Notify>,
    pub(crate) call_timeout: Duration,
    /// The sentinel that answered last.
    pub(crate) sentinel: Option<(Address, MultiplexedConnection)>,
}

impl Survey {
    /// Makes the map that takes the place of `known`. Connections that still serve are kept.
    pub(crate) async fn run(&mut self, known: &Map) -> Result<Map, LinkError> {
        match &self.topology {
            Topology::Single { .. } => {
                let at = self.seeds.first().ok_or(LinkError::Nobody)?.clone();
                Ok(Map::single(self.keep_or_open(known, &at).await?))
            }
            Topology::Sentinel { master, .. } => {
                let master = master.clone();
                let at = self.ask_sentinels(&master).await?;
                let link = self.keep_or_open(known, &at).await;
                if link.is_err() {
                    // Another sentinel may know better.
                    self.sentinel = None;
                }
                Ok(Map::single(link?))
            }
            Topology::Cluster { .. } => self.cluster(known).await,
        }
    }

    /// The connection there is, if its server is still a master that answers, or a new one.
    async fn keep_or_open(&self, known: &Map, at: &Address) -> Result<Arc<Link>, LinkError> {
        if let Some(link) = known.link_to(at) {
            match link.check_role(Instant::now() + self.call_timeout).await {
                Ok(()) => return Ok(Arc::clone(link)),
                Err(error) => {
                    link.give_up();
                    if matches!(error, LinkError::NotMaster { .. }) {
                        return Err(error);
                    }
                }
            }
        }
        let (dialer, scripts) = (&self.dialer, &self.scripts);
        let link = Link::open(dialer, at, scripts, &self.nudge, self.call_timeout).await?;
        Ok(Arc::new(link))
    }

    /// Asks the sentinel that answered last, then all at once.
    async fn ask_sentinels(&mut self, master: &str) -> Result<Address, LinkError> {
        if let Some((at, connection)) = &self.sentinel {
            let mut connection = connection.clone();
            if let Ok(found) = ask_sentinel(at, &mut connection, master, self.call_timeout).await {
                return Ok(found);
            }
        }
        self.sentinel = None;
        let asked = self.seeds.iter().map(|at| async {
            let mut connection = self.sentinel_dialer.connect(at, |_| ()).await?;
            let found = ask_sentinel(at, &mut connection, master, self.call_timeout).await?;
            Ok((found, (at.clone(), connection)))
        });
        let (found, sentinel) = first_of(asked).await?;
        self.sentinel = Some(sentinel);
        Ok(found)
    }

    async fn cluster(&self, known: &Map) -> Result<Map, LinkError> {
        let holdings = self.ask_cluster(known).await?;
        let opened = join_all(
            holdings
                .iter()
                .map(|holding| self.keep_or_open(known, &holding.at)),
        )
        .await;
        let mut links = BTreeMap::new();
        let mut failure = None;
        for outcome in opened {
            match outcome {
                Ok(link) => drop(links.insert(link.at.clone(), link)),
                Err(error) => failure = Some(error),
            }
        }
        if let (true, Some(failure)) = (links.is_empty(), failure) {
            return Err(failure);
        }
        Ok(Map::cluster(&holdings, |at| links.get(at).map(Arc::clone)))
    }

    /// Asks some that are connected who holds what, then those that the options name.
    async fn ask_cluster(&self, known: &Map) -> Result<Vec<Holding>, LinkError> {
        let connected = known.links().take(ASKED).map(|link| async {
            let pipeline = cluster::question();
            let deadline = Instant::now() + self.call_timeout;
            let answer = link.send(&pipeline, deadline).await?;
            cluster::read(&link.at, answer)
        });
        if let Ok(holdings) = first_of(connected).await {
            return Ok(holdings);
        }
        let named = self.seeds.iter().map(|at| async {
            let mut connection = self.dialer.connect(at, |_| ()).await?;
            let answer = ask(at, &mut connection, &cluster::question(), self.call_timeout).await?;
            cluster::read(at, answer)
        });
        first_of(named).await
    }
}

/// The first good answer, or the last failure.
async fn first_of<T>(
    asked: impl Iterator<Item = impl Future<Output = Result<T, LinkError>>>,
) -> Result<T, LinkError> {
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut failure = LinkError::Nobody;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn ask(
    at: &Address,
    connection: &mut MultiplexedConnection,
    pipeline: &Pipeline,
    within: Duration,
) -> Result<Vec<Value>, LinkError> {
    let sent = connection.send_packed_commands(pipeline, 0, pipeline.len());
    match timeout(within, sent).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(LinkError::Refused {
            at: at.clone(),
            error,
        }),
        Err(_) => Err(LinkError::TimedOut { at: at.clone() }),
    }
}

/// Where a sentinel says that the master is.
async fn ask_sentinel(
    at: &Address,
    connection: &mut MultiplexedConnection,
    master: &str,
    within: Duration,
) -> Result<Address, LinkError> {
    let mut pipeline = Pipeline::new();
    pipeline
        .cmd("SENTINEL")
        .arg("GET-MASTER-ADDR-BY-NAME")
        .arg(master);
    let mut answer = ask(at, connection, &pipeline, within).await?.into_iter();
    match answer.next() {
        Some(Value::Array(parts)) => {
            let mut parts = parts.into_iter().map(into_text);
            let host = parts.next().flatten();
            let port = parts.next().flatten().and_then(|port| port.parse().ok());
            host.zip(port)
                .map(|(host, port)| Address::new(&host, port))
                .ok_or(LinkError::Answer {
                    at: at.clone(),
                    what: "where the master is",
                })
        }
        Some(Value::ServerError(error)) => Err(LinkError::Refused {
            at: at.clone(),
            error: error.into(),
        }),
        _ => Err(LinkError::NoMaster {
            master: master.to_owned(),
        }),
    }
}
