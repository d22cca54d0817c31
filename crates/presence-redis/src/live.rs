//! Which gateways hold a lease, as far as this process knows.

use std::collections::HashMap;
use std::time::Duration;

use downlink_domain::id::GatewayId;
use downlink_ports::{GatewayLease, StoreError};
use parking_lot::Mutex;
use redis::Value;
use tokio::time::Instant;

use crate::link::into_text;

/// How long it is believed that a gateway holds the lease it was seen with.
const LIVE_FOR: Duration = Duration::from_secs(1);
/// How long it is believed that a gateway holds no lease.
const ABSENT_FOR: Duration = Duration::from_millis(250);
/// Most gateways.
pub(crate) const MAX_GATEWAYS: usize = 10_000;

/// What this process knows of leases.
#[derive(Default)]
pub(crate) struct LiveSet {
    state: Mutex<State>,
    /// Held by the one that asks, so that others wait for its answer instead of asking too.
    pub(crate) asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// When the last answer was asked for.
    asked_at: Option<Instant>,
    /// Until when each is believed to be held.
    leases: HashMap<GatewayId, Instant>,
    /// Gateways that the last answers did not name, and when those were asked for.
    absent: HashMap<GatewayId, Instant>,
    /// Gateways that renew through this process.
    own: HashMap<GatewayId, Own>,
}

/// A gateway whose word goes through this process.
struct Own {
    /// When its lease ends, on this node's clock: never later than at the server.
    until: Instant,
    /// The connections it spoke of.
    spoken_of: u64,
    /// Connections entered less connections ended since.
    since: i64,
}

/// Whether a gateway holds its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    Live,
    Absent,
    Unknown,
}

impl LiveSet {
    /// Tells what is known of a gateway now, from answers that were asked for after `since` if
    /// they say that it is absent.
    pub(crate) fn of(&self, gateway: &GatewayId, since: Instant) -> Liveness {
        let state = self.state.lock();
        let now = Instant::now();
        if state.own.get(gateway).is_some_and(|own| own.until > now) {
            return Liveness::Live;
        }
        if state.leases.get(gateway).is_some_and(|until| *until > now) {
            return Liveness::Live;
        }
        let asked_later = state.asked_at.is_some_and(|asked_at| asked_at >= since);
        let is_absent = |at: &Instant| now.duration_since(*at) < ABSENT_FOR;
        if asked_later || state.absent.get(gateway).is_some_and(is_absent) {
            return Liveness::Absent;
        }
        Liveness::Unknown
    }

    /// Tells whether what is known is too old to find most gateways in it.
    pub(crate) fn is_stale(&self) -> bool {
        let asked_at = self.state.lock().asked_at;
        asked_at.is_none_or(|asked_at| asked_at.elapsed() >= LIVE_FOR)
    }

    /// When the last answer was asked for.
    pub(crate) fn asked_at(&self) -> Option<Instant> {
        self.state.lock().asked_at
    }

    /// Notes the answer to a question of `asked_at`; returns all leases.
    pub(crate) fn answered(
        &self,
        asked_at: Instant,
        answer: Vec<(GatewayLease, Duration)>,
    ) -> Vec<GatewayLease> {
        let mut state = self.state.lock();
        let all = answer.iter().map(|(lease, _)| lease.clone()).collect();
        let leases: HashMap<_, _> = answer
            .into_iter()
            .map(|(lease, left)| (lease.gateway, asked_at + left.min(LIVE_FOR)))
            .collect();
        if state.asked_at.is_some_and(|last| last > asked_at) {
            // Overtaken by a later answer.
            return all;
        }
        state
            .absent
            .retain(|gateway, at| at.elapsed() < ABSENT_FOR && !leases.contains_key(gateway));
        state.leases = leases;
        state.asked_at = Some(asked_at);
        all
    }

    /// Notes that an answer did not name a gateway; bounded by forgetting all of them.
    pub(crate) fn note_absent(&self, gateway: &GatewayId, asked_at: Instant) {
        let mut state = self.state.lock();
        if state.absent.len() >= MAX_GATEWAYS {
            state.absent.clear();
        }
        state.absent.insert(gateway.clone(), asked_at);
    }

    /// Notes that a lease is held until `until`, renewed through this process.
    pub(crate) fn renewed(&self, lease: &GatewayLease, until: Instant) {
        let mut state = self.state.lock();
        state.absent.remove(&lease.gateway);
        let own = Own {
            until,
            spoken_of: lease.connections,
            since: 0,
        };
        state.own.insert(lease.gateway.clone(), own);
    }

    /// Notes that a lease was given back, or is about to be.
    pub(crate) fn released(&self, gateway: &GatewayId) {
        let mut state = self.state.lock();
        state.own.remove(gateway);
        state.leases.remove(gateway);
    }

    /// Counts a connection that was entered through this process.
    pub(crate) fn entered(&self, gateway: &GatewayId) {
        if let Some(own) = self.state.lock().own.get_mut(gateway) {
            own.since += 1;
        }
    }

    /// Counts a connection that was ended through this process.
    pub(crate) fn left(&self, gateway: &GatewayId) {
        if let Some(own) = self.state.lock().own.get_mut(gateway) {
            own.since -= 1;
        }
    }

    /// How many connections the gateways of `leases` hold: for those of this process to the last
    /// one, for others as of their last word.
    pub(crate) fn count(&self, leases: &[GatewayLease]) -> u64 {
        let state = self.state.lock();
        let of = |lease: &GatewayLease| match state.own.get(&lease.gateway) {
            Some(own) => own.spoken_of.saturating_add_signed(own.since),
            None => lease.connections,
        };
        leases.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// What a gateway says of itself, as it is stored.
pub(crate) fn write_details(lease: &GatewayLease) -> String {
    format!("{} {}", lease.connections, lease.address)
}

/// Reads the answer of the script: gateway, milliseconds left, details, again and again. What is
/// not a lease is passed over.
///
/// # Errors
/// [`StoreError::Corrupt`] when the answer is no list.
pub(crate) fn read_answer(answer: Value) -> Result<Vec<(GatewayLease, Duration)>, StoreError> {
    let Value::Array(parts) = answer else {
        return Err(StoreError::Corrupt {
            table: "presence",
            column: "leases",
            row: "all".to_owned(),
        });
    };
    let mut leases = Vec::with_capacity(parts.len() / 3);
    let mut texts = parts.into_iter().map(into_text);
    while let Some(gateway) = texts.next() {
        let (left, details) = (texts.next().flatten(), texts.next().flatten());
        leases.extend(read_lease(gateway, left, details));
    }
    Ok(leases)
}

fn read_lease(
    gateway: Option<String>,
    left: Option<String>,
    details: Option<String>,
) -> Option<(GatewayLease, Duration)> {
    let left = Duration::from_millis(left?.parse().ok()?);
    let details = details?;
    let (connections, address) = details.split_once(' ')?;
    let lease = GatewayLease {
        gateway: gateway?.parse().ok()?,
        address: address.to_owned(),
        connections: connections.parse().ok()?,
    };
    Some((lease, left))
}
