//! What a connection's tokens allow.

use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::policy::Permission;

use super::address::Address;
use crate::authenticate::Principal;

/// Live tokens of a connection. A renewal is one more token; the old one lapses by itself
/// (amqp.md §3.4). At [`Self::MAX`] the one that lapses first makes room.
#[derive(Default)]
pub(super) struct Grants {
    live: Vec<Grant>,
}

/// What a checked token stands for.
pub(super) enum Grant {
    /// A policy.
    Service(Principal),
    /// A device or module, whose links this door does not serve yet.
    Device {
        /// When the token ends.
        expires_at: Timestamp,
    },
}

impl Grant {
    fn expires_at(&self) -> Timestamp {
        match self {
            Self::Service(principal) => principal.expires_at,
            Self::Device { expires_at } => *expires_at,
        }
    }
}

impl Grants {
    /// Most tokens of one connection.
    const MAX: usize = 16;

    pub(super) fn add(&mut self, grant: Grant) {
        if self.live.len() >= Self::MAX {
            let first = self
                .live
                .iter()
                .enumerate()
                .min_by_key(|(_, grant)| grant.expires_at());
            if let Some((index, _)) = first {
                self.live.swap_remove(index);
            }
        }
        self.live.push(grant);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Tells whether a token lets its holder use what stands at `address`.
    pub(super) fn allow(&self, address: Address) -> bool {
        let path: &[&str] = match address {
            Address::Cbs => return true,
            Address::Device => return false,
            Address::Commands => &["messages", "devicebound"],
            Address::Feedback => &["messages", "serviceBound", "feedback"],
            Address::FileNotifications => &["messages", "serviceBound", "filenotifications"],
        };
        self.principals()
            .any(|principal| principal.allows(Permission::ServiceConnect, path))
    }

    /// Name of a policy that the connection has shown a token of, for the log.
    pub(super) fn policy(&self) -> Option<&str> {
        self.principals().next().map(Principal::policy)
    }

    fn principals(&self) -> impl Iterator<Item = &Principal> {
        self.live.iter().filter_map(|grant| match grant {
            Grant::Service(principal) => Some(principal),
            Grant::Device { .. } => None,
        })
    }

    /// When the next token ends, `grace` included.
    pub(super) fn next_expiry(&self, grace: Duration) -> Option<Timestamp> {
        self.live
            .iter()
            .map(|grant| grant.expires_at() + grace)
            .min()
    }

    /// Drops the tokens that have ended, `grace` included.
    pub(super) fn expire(&mut self, grace: Duration, now: Timestamp) {
        self.live.retain(|grant| grant.expires_at() + grace > now);
    }
}
