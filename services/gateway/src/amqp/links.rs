//! The links of a connection: what stands at the hub's end of each, and which of them may go on.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use downlink_amqp::engine::{DeliveryId, LinkId};

use super::address::Address;
use super::back_end::{Commands, FeedbackNode};
use super::device::DeviceLink;

/// What stands at the hub's end of a link.
pub(super) enum Node {
    /// Requests with tokens come in here; replies that wait for credit are kept with it.
    TokenRequests {
        /// Requests that are answered but not yet replied to, oldest first. Each holds a place in
        /// the link's window, which bounds them.
        replies: VecDeque<(DeliveryId, Bytes)>,
    },
    /// Replies to tokens go out here.
    TokenReplies,
    /// Messages for devices come in here.
    Commands(Box<Commands>),
    /// Feedback goes out here.
    Feedback(FeedbackNode),
    /// Notifications of uploaded files would go out here; there are none.
    FileNotifications,
    /// A link of a device or module.
    Device(DeviceLink),
}

impl Node {
    /// The address that a token of a policy must cover for the link to stay.
    pub(super) fn address(&self) -> Option<Address> {
        match self {
            Self::TokenRequests { .. } | Self::TokenReplies | Self::Device(_) => None,
            Self::Commands(_) => Some(Address::Commands),
            Self::Feedback(_) => Some(Address::Feedback),
            Self::FileNotifications => Some(Address::FileNotifications),
        }
    }
}

/// The links of a connection. A multiplexed one has thousands, so nothing walks over all of them
/// for what concerns a few: what may go on is in a set, and so is what waits for the peer.
#[derive(Default)]
pub(super) struct Links {
    nodes: HashMap<LinkId, Node>,
    channels: BTreeMap<u16, Channel>,
    /// Links to look at: something has happened from which they may go on.
    marked: BTreeSet<LinkId>,
    /// Links on which the hub could not send, for want of window, room or a settlement.
    blocked: BTreeSet<LinkId>,
}

/// The links of one session.
#[derive(Default)]
struct Channel {
    count: usize,
    /// Those of the `$cbs` node.
    tokens: Vec<LinkId>,
}

impl Links {
    pub(super) fn insert(&mut self, link: LinkId, node: Node) {
        let channel = self.channels.entry(link.channel()).or_default();
        channel.count += 1;
        if is_of_tokens(&node) {
            channel.tokens.push(link);
        }
        self.nodes.insert(link, node);
        self.marked.insert(link);
    }

    pub(super) fn remove(&mut self, link: LinkId) -> Option<Node> {
        let node = self.nodes.remove(&link)?;
        self.marked.remove(&link);
        self.blocked.remove(&link);
        if let Some(channel) = self.channels.get_mut(&link.channel()) {
            channel.count -= 1;
            if is_of_tokens(&node) {
                channel.tokens.retain(|other| *other != link);
            }
            if channel.count == 0 {
                self.channels.remove(&link.channel());
            }
        }
        Some(node)
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&Node> {
        self.nodes.get(&link)
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut Node> {
        self.nodes.get_mut(&link)
    }

    /// Every link, in no order; for what is rare.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Node)> {
        self.nodes.iter().map(|(link, node)| (*link, node))
    }

    /// Whether there is a link besides those of the `$cbs` nodes.
    pub(super) fn has_more_than_tokens(&self) -> bool {
        let of_tokens = self.channels.values().map(|channel| channel.tokens.len());
        self.nodes.len() > of_tokens.sum()
    }

    /// Links of a session.
    pub(super) fn count_in(&self, channel: u16) -> usize {
        self.channels
            .get(&channel)
            .map_or(0, |channel| channel.count)
    }

    /// The links of the `$cbs` node of a session, oldest first.
    pub(super) fn token_links(&self, channel: u16) -> &[LinkId] {
        self.channels
            .get(&channel)
            .map_or(&[], |channel| &channel.tokens)
    }

    /// Has a link looked at: it may go on.
    pub(super) fn mark(&mut self, link: LinkId) {
        self.marked.insert(link);
    }

    /// Takes the next link to look at.
    pub(super) fn take_marked(&mut self) -> Option<LinkId> {
        self.marked.pop_first()
    }

    /// Notes that the peer must do something before the hub can send on a link.
    pub(super) fn block(&mut self, link: LinkId) {
        self.blocked.insert(link);
    }

    pub(super) fn has_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Has the blocked links of a session looked at.
    pub(super) fn unblock_in(&mut self, channel: u16) {
        if self.blocked.is_empty() {
            return;
        }
        self.blocked.retain(|link| {
            let is_here = link.channel() == channel;
            if is_here {
                self.marked.insert(*link);
            }
            !is_here
        });
    }

    /// Has every blocked link looked at.
    pub(super) fn unblock_all(&mut self) {
        self.marked.append(&mut self.blocked);
    }
}

fn is_of_tokens(node: &Node) -> bool {
    match node {
        Node::TokenRequests { .. } | Node::TokenReplies => true,
        Node::Commands(_) | Node::Feedback(_) | Node::FileNotifications | Node::Device(_) => false,
    }
}
