//! Handing messages out under locks.

use std::sync::Arc;
use std::time::Duration;

use downlink_ports::{LockedMessage, PeerError, Receive, ReceiveCall};

use crate::batching::{Group, GroupAnswer, Lanes, divide, flatten, submit};
use crate::service::Shared;

/// Most messages handed out to one device by one call.
const MAX_LIMIT: u16 = 1_000;

/// Longest lock a caller may ask for.
const MAX_LOCK: Duration = Duration::from_hours(1);

/// What a message that may be handed out weighs in its batch: few are larger. At 4 MiB a batch
/// hands out 1,024 messages at most, which hold 64 MiB if all are of the largest size.
const MESSAGE_BYTES: usize = 4 * 1024;

/// Locks the next messages of each device and answers by position.
pub(crate) async fn receive(
    shared: &Shared,
    lanes: &Lanes<Receive, Vec<LockedMessage>>,
    calls: Vec<ReceiveCall>,
) -> Result<Vec<Vec<LockedMessage>>, PeerError> {
    let requests = calls.iter().map(|call| request(shared, call)).collect();
    let received = submit(
        lanes,
        requests,
        |request: &Receive| request.device,
        |request| request.tokens.len() * MESSAGE_BYTES,
    )
    .await
    .map_err(|error| shared.call_failed("receive", error))?;
    Ok(received)
}

fn request(shared: &Shared, call: &ReceiveCall) -> Receive {
    let limit = call.limit.clamp(1, MAX_LIMIT);
    let asked = call.lock_duration.map(|asked| asked.min(MAX_LOCK));
    let lock = asked.unwrap_or(shared.options.lock_duration);
    let tokens = (0..limit).map(|_| shared.deps.ids.lock_token());
    Receive {
        device: call.device,
        tokens: tokens.collect(),
        locked_until: shared.deps.clock.now() + lock,
    }
}

/// Locks one batch of a lane.
pub(crate) async fn lock(
    shared: Arc<Shared>,
    groups: Vec<Group<Receive>>,
) -> Vec<GroupAnswer<Vec<LockedMessage>>> {
    let (requests, sizes) = flatten(groups);
    let (rules, now) = (shared.options.rules(), shared.deps.clock.now());
    let answer = shared.deps.messages.receive(requests, rules, now).await;
    if let Ok(received) = &answer {
        let mut delivered = 0;
        let mut redelivered = 0;
        for locked in received.iter().flatten() {
            delivered += 1;
            redelivered += u64::from(locked.message.delivery_count > 0);
        }
        shared.metrics.deliveries.first.add(delivered - redelivered);
        shared.metrics.deliveries.repeated.add(redelivered);
    }
    divide(answer, &sizes)
}
