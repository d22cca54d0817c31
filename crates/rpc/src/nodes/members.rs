//! Which nodes there are: fixed, or followed by looking names up again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use downlink_ports::PeerError;
use downlink_runtime::{Lifecycle, OnError};
use futures::StreamExt;
use futures::stream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::NodesOptions;
use super::node::Node;
use super::resolve::Resolve;
use super::set::NodeSet;
use crate::carrier::Endpoint;
use crate::mux::backoff::Backoff;
use crate::mux::{CallStream, MuxOptions, Standing};

/// Most nodes of one service; of more, those with the highest addresses are left out.
pub(crate) const MAX_NODES: usize = 1024;
/// Look-ups are never closer together.
const SHORTEST_REFRESH: Duration = Duration::from_millis(50);
/// Look-ups at a time.
const CONCURRENT_LOOKUPS: usize = 8;

/// The nodes of a service.
pub(crate) enum Members<S: CallStream> {
    /// Always these.
    Fixed(Arc<NodeSet<S>>),
    /// Those of the latest look-up; `None` before the first.
    Followed {
        sets: watch::Receiver<Option<Arc<NodeSet<S>>>>,
        _stop: DropGuard,
    },
}

impl<S: CallStream> Members<S> {
    /// Follows what the names of `options` stand for, in a background task of `lifecycle`.
    /// Addresses need no look-up: a set of nothing else is there at once and stays.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn follow(
        options: NodesOptions,
        resolver: impl Resolve,
        lifecycle: &Lifecycle,
    ) -> Self {
        let mut follower = Follower::new(options, resolver, lifecycle);
        if follower.names.iter().all(|name| name.is_literal) {
            return Self::Fixed(follower.apply().unwrap_or_default());
        }
        let (sender, receiver) = watch::channel(None);
        let stop = CancellationToken::new();
        let until = stop.clone();
        lifecycle.spawn_background("rpc-nodes", OnError::Log, async move {
            until.run_until_cancelled(follower.run(sender)).await;
        });
        Self::Followed {
            sets: receiver,
            _stop: stop.drop_guard(),
        }
    }

    /// The nodes as they are now; waits for the first look-up until `deadline`.
    pub(crate) async fn current(&self, deadline: Instant) -> Result<Arc<NodeSet<S>>, PeerError> {
        let service = S::SERVICE;
        let receiver = match self {
            Self::Fixed(set) => return Ok(Arc::clone(set)),
            Self::Followed { sets, .. } => sets,
        };
        if let Some(set) = &*receiver.borrow() {
            return Ok(Arc::clone(set));
        }
        let mut receiver = receiver.clone();
        let first = receiver.wait_for(Option::is_some);
        match tokio::time::timeout_at(deadline, first).await {
            Ok(Ok(set)) => set.clone().ok_or(PeerError::Unavailable { service }),
            Ok(Err(_)) => Err(PeerError::Unavailable { service }),
            Err(_) => Err(PeerError::DeadlineExceeded { service }),
        }
    }
}

/// One of the names given, and what is known of it.
struct Name {
    text: Arc<str>,
    is_literal: bool,
    /// What it stood for when it was last looked up with success.
    addresses: Vec<SocketAddr>,
    is_failing: bool,
}

impl Name {
    fn new(text: String) -> Self {
        let literal: Option<SocketAddr> = text.parse().ok();
        Self {
            text: text.into(),
            is_literal: literal.is_some(),
            addresses: literal.into_iter().collect(),
            is_failing: false,
        }
    }

    /// Keeps what was known when the look-up failed.
    fn on_looked_up(&mut self, service: &'static str, found: io::Result<Vec<SocketAddr>>) {
        let found = found.and_then(|found| {
            let is_empty = found.is_empty();
            let none = || io::ErrorKind::NotFound.into();
            (!is_empty).then_some(found).ok_or_else(none)
        });
        match found {
            Ok(found) => {
                self.addresses = found;
                self.is_failing = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    warn!(service, name = &*self.text, %error, "a name cannot be looked up");
                }
            }
        }
    }
}

/// Keeps the set of nodes that the names stand for.
struct Follower<S: CallStream, R> {
    names: Vec<Name>,
    refresh: Duration,
    mux: MuxOptions,
    resolver: R,
    lifecycle: Lifecycle,
    nodes: BTreeMap<SocketAddr, Arc<Node<S>>>,
    is_cut: bool,
}

impl<S: CallStream, R: Resolve> Follower<S, R> {
    fn new(options: NodesOptions, resolver: R, lifecycle: &Lifecycle) -> Self {
        let names = options.addresses.into_iter().take(MAX_NODES);
        Self {
            names: names.map(Name::new).collect(),
            refresh: options.refresh.max(SHORTEST_REFRESH),
            mux: options.mux,
            resolver,
            lifecycle: lifecycle.clone(),
            nodes: BTreeMap::new(),
            is_cut: false,
        }
    }

    async fn run(mut self, sender: watch::Sender<Option<Arc<NodeSet<S>>>>) {
        let mut backoff = Backoff::new();
        loop {
            self.look_up().await;
            let set = self.apply();
            if set.is_some() || sender.borrow().is_none() {
                // Nobody listening is no reason to end: whoever drops the receiver stops this.
                let _ = sender.send(Some(set.unwrap_or_default()));
            }
            let is_complete = self.names.iter().all(|name| !name.addresses.is_empty());
            let pause = if is_complete {
                self.refresh
            } else {
                backoff.next().min(self.refresh)
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look_up(&mut self) {
        let resolver = &self.resolver;
        let mut lookups = Vec::new();
        for (index, name) in self.names.iter().enumerate() {
            if !name.is_literal {
                let name = Arc::clone(&name.text);
                lookups.push(async move { (index, resolver.resolve(&name).await) });
            }
        }
        let found: Vec<_> = stream::iter(lookups)
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .collect()
            .await;
        for (index, found) in found {
            self.names[index].on_looked_up(S::SERVICE, found);
        }
    }

    /// Starts the nodes that came and forgets those that left; the new set if it changed.
    fn apply(&mut self) -> Option<Arc<NodeSet<S>>> {
        let service = S::SERVICE;
        let addresses = self.names.iter().flat_map(|name| &name.addresses);
        let mut wanted: BTreeSet<SocketAddr> = addresses.copied().collect();
        // The lowest, so that all callers leave out the same.
        let cut = wanted.iter().nth(MAX_NODES).copied();
        if let Some(first_out) = cut {
            wanted.split_off(&first_out);
        }
        if cut.is_some() && !std::mem::replace(&mut self.is_cut, true) {
            warn!(
                service,
                max = MAX_NODES,
                "too many nodes, the rest is left out"
            );
        }
        if wanted.iter().eq(self.nodes.keys()) {
            return None;
        }
        let before = self.nodes.len();
        self.nodes.retain(|address, _| wanted.contains(address));
        let left = before - self.nodes.len();
        // A node that comes to others gets its share once it was reached.
        let standing = if before == 0 {
            Standing::Ready
        } else {
            Standing::Joining
        };
        for address in wanted {
            self.nodes.entry(address).or_insert_with(|| {
                let name = address.to_string();
                let endpoint = Endpoint::tcp(&name);
                Node::start(&name, &endpoint, &self.mux, standing, &self.lifecycle)
            });
        }
        let nodes = self.nodes.len();
        info!(
            service,
            nodes,
            joined = nodes + left - before,
            left,
            "nodes of a service changed"
        );
        let set = NodeSet::new(self.nodes.values().cloned().collect(), self.mux.lanes);
        Some(Arc::new(set))
    }
}
