//! The nodes of a service at one moment, and the choice among them.

use std::hash::Hash;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::node::Node;
use super::rank::{hash_of, lane_of, score};
use crate::mux::{CallStream, Place, Standing};

/// Reads that are asked of a second node at a time. Enough to go on at full speed beside a node
/// that is stopped; when all nodes are slow, they are not given twice the work.
const MAX_HEDGES: usize = 64;

/// The nodes of a service at one moment. Calls hold the set that they were made with, so that a
/// node that left it is there until its last call has ended.
pub(crate) struct NodeSet<S: CallStream> {
    nodes: Vec<Arc<Node<S>>>,
    lanes: usize,
    /// For a second attempt while the first is still under way.
    pub(super) hedges: Semaphore,
}

/// No nodes.
impl<S: CallStream> Default for NodeSet<S> {
    fn default() -> Self {
        Self::new(Vec::new(), 1)
    }
}

impl<S: CallStream> NodeSet<S> {
    /// Makes a set of nodes with `lanes` lanes each.
    pub(crate) fn new(nodes: Vec<Arc<Node<S>>>, lanes: usize) -> Self {
        let is_alone = nodes.len() <= 1;
        for node in &nodes {
            node.set_alone(is_alone);
        }
        Self {
            nodes,
            lanes: lanes.clamp(1, 64),
            hedges: Semaphore::new(MAX_HEDGES),
        }
    }

    pub(crate) fn node(&self, index: usize) -> &Arc<Node<S>> {
        &self.nodes[index]
    }

    /// Whether there is at most one node: then there is nothing to choose and nothing to retry.
    pub(crate) fn is_single(&self) -> bool {
        self.nodes.len() <= 1
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Hash of a key; not computed where nothing depends on it.
    pub(crate) fn hash_of(&self, key: &(impl Hash + ?Sized)) -> u64 {
        if self.is_single() && self.lanes == 1 {
            return 0;
        }
        hash_of(key)
    }

    /// The node for a key: of those that stand best for its lane, the one with the highest score.
    /// Leaves out `except`. Draining nodes are chosen before those that cannot be reached: they
    /// still answer.
    pub(crate) fn pick(&self, hash: u64, except: Option<usize>) -> Option<usize> {
        if self.nodes.len() == 1 && except.is_none() {
            return Some(0);
        }
        let standing = |index: usize| self.nodes[index].lane(hash).standing();
        self.highest(hash, except, standing)
    }

    /// As [`Self::pick`], but a node that is ready or none.
    pub(crate) fn pick_ready(&self, hash: u64, except: usize) -> Option<usize> {
        let picked = self.pick(hash, Some(except))?;
        let is_ready = self.nodes[picked].lane(hash).standing() == Standing::Ready;
        is_ready.then_some(picked)
    }

    /// Chooses for many keys, all by how the nodes stand now: equal keys get the same place.
    pub(crate) fn picker(&self) -> Picker<'_, S> {
        let standings = if self.is_single() {
            Vec::new()
        } else {
            let nodes = self.nodes.iter();
            nodes
                .flat_map(|node| (0..self.lanes).map(|lane| node.standing(lane)))
                .collect()
        };
        Picker {
            set: self,
            standings,
        }
    }

    fn highest(
        &self,
        hash: u64,
        except: Option<usize>,
        standing: impl Fn(usize) -> Standing,
    ) -> Option<usize> {
        (0..self.nodes.len())
            .filter(|index| Some(*index) != except)
            .max_by_key(|index| (standing(*index), score(hash, self.nodes[*index].id())))
    }
}

/// Chooses among nodes as they stood at one moment.
pub(crate) struct Picker<'a, S: CallStream> {
    set: &'a NodeSet<S>,
    /// By node and lane; empty when there is nothing to choose.
    standings: Vec<Standing>,
}

impl<S: CallStream> Picker<'_, S> {
    /// Number of slots: lanes of all nodes.
    pub(crate) fn slots(&self) -> usize {
        self.set.nodes.len().max(1) * self.set.lanes
    }

    /// Where a key goes.
    pub(crate) fn place(&self, key: &(impl Hash + ?Sized)) -> Place {
        let hash = self.set.hash_of(key);
        let lanes = self.set.lanes;
        let lane = lane_of(hash, lanes);
        let node = if self.standings.is_empty() {
            0
        } else {
            let standing = |node: usize| self.standings[node * lanes + lane];
            self.set.highest(hash, None, standing).unwrap_or(0)
        };
        Place {
            slot: node * lanes + lane,
            hash,
        }
    }

    /// The node that a slot belongs to.
    pub(crate) fn node_of(&self, slot: usize) -> usize {
        slot / self.set.lanes
    }
}
