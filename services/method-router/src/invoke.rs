//! One call: find the device, hand the call over once, wait for the answer (methods.md §4.1).

use std::time::Duration;

use downlink_domain::method::{MethodAnswer, MethodCall, MethodError, MethodTimeouts};
use downlink_domain::presence::{LeaseEpoch, Route};
use downlink_ports::{MethodDelivery, StoreError};
use serde::de::IgnoredAny;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::service::Shared;

/// Times that a call is offered to gateways that take nothing; each needs a change of presence,
/// so only a device that comes and goes all the time gets here.
const MAX_OFFERS: u32 = 16;

/// The two ends of a call's time, on this node's clock.
#[derive(Clone, Copy)]
struct Budget {
    /// Until when the device is waited for; not after `answer_until`.
    connect_until: Instant,
    /// Until when its answer is waited for.
    answer_until: Instant,
}

/// What offering a call to a gateway led to.
enum Offer {
    /// The call was handed over, or may have been: this is its one outcome.
    Outcome(Result<MethodAnswer, MethodError>),
    /// The gateway took nothing: the route is stale.
    NotTaken,
}

impl Budget {
    fn new(timeouts: MethodTimeouts, margin: Duration) -> Self {
        let now = Instant::now();
        let answer_until = now + timeouts.response().saturating_sub(margin);
        Self {
            connect_until: answer_until.min(now + timeouts.connect()),
            answer_until,
        }
    }
}

/// Carries out one call.
pub(crate) async fn invoke(shared: &Shared, call: MethodCall) -> Result<MethodAnswer, MethodError> {
    let budget = Budget::new(call.timeouts, shared.options.answer_margin);
    if shared.drain.is_cancelled() {
        return Err(MethodError::Unavailable);
    }
    if call.payload.len() > shared.options.max_payload_bytes {
        return Err(MethodError::PayloadTooLarge);
    }
    let _place = shared.in_flight.enter(call.device)?;
    let mut stale = None;
    for _ in 0..MAX_OFFERS {
        let route = find_route(shared, &call, budget, stale).await?;
        let epoch = route.epoch;
        match offer(shared, &call, route, budget).await {
            Offer::Outcome(outcome) => return check_answer(outcome, shared),
            Offer::NotTaken => stale = Some(epoch),
        }
    }
    Err(MethodError::NotOnline)
}

/// Finds the connection that answers methods; waits for it within the connect timeout.
///
/// A route whose epoch is not above `stale` was tried: it counts again only after a change.
async fn find_route(
    shared: &Shared,
    call: &MethodCall,
    budget: Budget,
    stale: Option<LeaseEpoch>,
) -> Result<Route, MethodError> {
    let first = look_up(shared, call, budget).await?;
    let mut seen = match Seen::of(first, stale) {
        Ok(route) => return Ok(route),
        Err(seen) => seen,
    };
    if budget.connect_until <= Instant::now() {
        return Err(seen.error());
    }
    // The watch comes before the second look: who connects in between is seen by one of them.
    let watch = shared.deps.presence.watch(call.device);
    let mut watch = within(budget, watch).await?;
    let second = look_up(shared, call, budget).await?;
    seen = match Seen::of(second, stale) {
        Ok(route) => return Ok(route),
        Err(seen) => seen,
    };
    let connected = async {
        loop {
            // A change brings back a route that was tried.
            match Seen::of(watch.changed().await, None) {
                Ok(route) => return route,
                Err(now) => seen = now,
            }
        }
    };
    let waited = tokio::select! {
        // Nothing was handed over: another node may take the call.
        () = shared.drain.cancelled() => return Err(MethodError::Unavailable),
        waited = timeout_at(budget.connect_until, connected) => waited,
    };
    waited.map_err(|_| seen.error())
}

/// Why a device cannot be called now.
#[derive(Clone, Copy)]
enum Seen {
    /// Nobody is there.
    Nobody,
    /// Somebody is who takes no calls.
    Deaf,
}

impl Seen {
    /// Takes the route if it is one that answers methods and was not tried before.
    fn of(route: Option<Route>, stale: Option<LeaseEpoch>) -> Result<Route, Self> {
        let is_new = |route: &Route| stale.is_none_or(|stale| route.epoch > stale);
        match route.filter(is_new) {
            None => Err(Self::Nobody),
            Some(route) if route.subscriptions.methods => Ok(route),
            Some(_) => Err(Self::Deaf),
        }
    }

    fn error(self) -> MethodError {
        match self {
            Self::Nobody => MethodError::NotOnline,
            Self::Deaf => MethodError::NotSubscribed,
        }
    }
}

/// The device's connection, if there is one.
async fn look_up(
    shared: &Shared,
    call: &MethodCall,
    budget: Budget,
) -> Result<Option<Route>, MethodError> {
    let device = [call.device];
    let mut routes = within(budget, shared.deps.presence.lookup(&device)).await?;
    Ok(routes.pop().flatten())
}

/// Asks presence within the time of the call.
async fn within<T>(
    budget: Budget,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, MethodError> {
    match timeout_at(budget.answer_until, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            warn!(%error, "presence is unavailable");
            Err(MethodError::Unavailable)
        }
        Err(_) => Err(MethodError::Unavailable),
    }
}

/// Offers the call to the gateway of `route` and waits for its outcome.
async fn offer(shared: &Shared, call: &MethodCall, route: Route, budget: Budget) -> Offer {
    let Some(gateway) = shared.deps.gateways.find(&route.gateway) else {
        debug!(gateway.id = %route.gateway, "presence names a gateway that is not known");
        return Offer::NotTaken;
    };
    let delivery = MethodDelivery {
        device: call.device,
        epoch: route.epoch,
        name: call.name.clone(),
        payload: call.payload.clone(),
        timeout: budget
            .answer_until
            .saturating_duration_since(Instant::now()),
    };
    match timeout_at(budget.answer_until, gateway.invoke(delivery)).await {
        Err(_) => Offer::Outcome(Err(MethodError::TimedOut)),
        Ok(Err(MethodError::NotOnline | MethodError::NotSubscribed)) => Offer::NotTaken,
        // The gateway or the way to it broke: the device may have the call, so it is not sent
        // again, and "try again" would be the wrong advice (methods.md §4.2).
        Ok(Err(MethodError::Unavailable)) => Offer::Outcome(Err(MethodError::ConnectionLost)),
        Ok(outcome) => Offer::Outcome(outcome),
    }
}

/// Lets pass what is no larger than allowed and JSON, or nothing at all (methods.md §1.3).
fn check_answer(
    outcome: Result<MethodAnswer, MethodError>,
    shared: &Shared,
) -> Result<MethodAnswer, MethodError> {
    let answer = outcome?;
    if answer.payload.len() > shared.options.max_payload_bytes {
        return Err(MethodError::BadAnswer);
    }
    if answer.payload.is_empty() || is_json(&answer.payload) {
        Ok(answer)
    } else {
        Err(MethodError::BadAnswer)
    }
}

/// Tells whether `bytes` is one JSON value. Skipping over a value leaves text unchecked, hence the
/// check of the encoding.
fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_json;

    #[test]
    fn json_of_every_kind_is_told_from_other_bytes() {
        for text in [
            "null",
            "true",
            "-1.5e3",
            "\"é\"",
            "[1, [2]]",
            "{\"a\": {}}",
            " 1 ",
        ] {
            assert!(is_json(text.as_bytes()), "{text}");
        }
        for bytes in [&b"{"[..], b"1 2", b"nul", b"\"\xff\"", b"{'a': 1}", b" "] {
            assert!(!is_json(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn nesting_of_any_depth_is_checked_without_recursion() {
        let deep = "[".repeat(60_000) + &"]".repeat(60_000);
        assert!(is_json(deep.as_bytes()));
    }
}
