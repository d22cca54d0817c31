//! Settling held messages.

use std::sync::Arc;

use downlink_domain::message::{Settlement, Verdict};
use downlink_ports::{PeerError, SettleError};

use crate::batching::{Group, GroupAnswer, Lanes, divide, flatten, submit};
use crate::service::Shared;

type Outcome = Result<(), SettleError>;

/// Settles held messages and answers by position.
pub(crate) async fn settle(
    shared: &Shared,
    lanes: &Lanes<Settlement, Outcome>,
    settlements: Vec<Settlement>,
) -> Result<Vec<Outcome>, PeerError> {
    submit(lanes, settlements, |settlement| settlement.device, |_| 0)
        .await
        .map_err(|error| shared.call_failed("settle", error))
}

/// Commits one batch of a lane, asks for the devices that have messages to get again to be woken,
/// and tells waiting feedback receivers that records may have come.
pub(crate) async fn commit(
    shared: Arc<Shared>,
    groups: Vec<Group<Settlement>>,
) -> Vec<GroupAnswer<Outcome>> {
    let (settlements, sizes) = flatten(groups);
    let (rules, now) = (shared.options.rules(), shared.deps.clock.now());
    let timer = shared.metrics.batches.start(settlements.len());
    let answer = shared
        .deps
        .messages
        .settle(settlements.clone(), rules, now)
        .await;
    timer.stop();
    if let Ok(outcomes) = &answer {
        on_settled(&shared, &settlements, outcomes);
    }
    divide(answer, &sizes)
}

fn on_settled(shared: &Shared, settlements: &[Settlement], outcomes: &[Outcome]) {
    let settled = || {
        let pairs = settlements.iter().zip(outcomes);
        pairs
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(settlement, _)| settlement)
    };
    let given_back = settled()
        .filter(|settlement| is_given_back(settlement.verdict))
        .map(|settlement| settlement.device);
    let dropped = shared.wakes.push(given_back);
    shared.metrics.wakes.dropped.add(dropped);

    let mut lost = outcomes.len();
    for settlement in settled() {
        shared
            .metrics
            .settlements
            .of(settlement.verdict)
            .increment();
        lost -= 1;
    }
    shared.metrics.settlements.lock_lost.add(lost as u64);
    let ended = settled()
        .filter(|settlement| settlement.verdict != Verdict::ReleaseUndelivered)
        .count();
    shared.on_outcomes(ended);
}

/// Tells whether a message settled so may be received again.
fn is_given_back(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Complete | Verdict::Reject => false,
        Verdict::Abandon | Verdict::ReleaseDelivered | Verdict::ReleaseUndelivered => true,
    }
}
