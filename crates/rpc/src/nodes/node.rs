//! One node of a service: its lanes and its channel for unary calls.

use std::sync::Arc;

use downlink_runtime::{Lifecycle, OnError};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;

use super::rank::{hash_of, lane_of};
use crate::carrier::Endpoint;
use crate::mux::{CallStream, Lane, MuxOptions, Standing, link};

/// One node. Dropping it closes its connections; calls hold it while they are under way.
pub(crate) struct Node<S: CallStream> {
    /// Hash of its address.
    id: u64,
    lanes: Box<[Arc<Lane<S>>]>,
    channel: Channel,
    _stop: DropGuard,
}

impl<S: CallStream> Node<S> {
    /// Begins to connect to the node called `name`, which its share of the keys depends on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn start(
        name: &str,
        endpoint: &Endpoint,
        options: &MuxOptions,
        standing: Standing,
        lifecycle: &Lifecycle,
    ) -> Arc<Self> {
        let stop = CancellationToken::new();
        let lanes: Box<[_]> = (0..options.lanes.clamp(1, 64))
            .map(|_| Lane::new(options, standing))
            .collect();
        for lane in &lanes {
            let link = link::keep(Arc::clone(lane), endpoint.clone(), stop.clone());
            // In the background: whatever drains may still have to call.
            lifecycle.spawn_background("rpc-lane", OnError::Log, link);
        }
        Arc::new(Self {
            id: hash_of(name),
            lanes,
            channel: endpoint.connect_lazy(),
            _stop: stop.drop_guard(),
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The lane that calls with a key of this hash take.
    pub(crate) fn lane(&self, hash: u64) -> &Arc<Lane<S>> {
        &self.lanes[lane_of(hash, self.lanes.len())]
    }

    pub(crate) fn standing(&self, lane: usize) -> Standing {
        self.lanes[lane].standing()
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// States whether there is another node that calls may go to.
    pub(crate) fn set_alone(&self, is_alone: bool) {
        for lane in &self.lanes {
            lane.set_alone(is_alone);
        }
    }
}
