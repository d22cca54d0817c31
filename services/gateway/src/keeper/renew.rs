//! Taking, renewing and giving back the lease.

use std::sync::Arc;
use std::time::Duration;

use downlink_ports::{LeaseState, StoreError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Keeper, LeaseHealth};

/// Renewals that fail in a row before the gateway counts as away from presence.
const FAILURES_TO_BE_AWAY: u32 = 2;
/// Times that a failed renewal is tried again within one interval.
const TRIES_PER_INTERVAL: u32 = 4;

/// Renews until the scope drains, then gives the lease back.
pub(super) async fn run(keeper: Arc<Keeper>, drain: CancellationToken) {
    let mut failures = 0;
    while let Some(renewed) = drain.run_until_cancelled(renew_once(&keeper)).await {
        let pause = match renewed {
            Renewed::Held => {
                failures = 0;
                keeper.renew_interval
            }
            Renewed::Stopped => Duration::ZERO,
            Renewed::Failed => {
                failures += 1;
                keeper.renew_interval / TRIES_PER_INTERVAL
            }
        };
        tell_health(&keeper, failures);
        if drain.run_until_cancelled(sleep(pause)).await.is_none() {
            break;
        }
    }
    release(&keeper).await;
}

enum Renewed {
    Held,
    Failed,
    /// The process was stopped while it asked: the answer is about the time before.
    Stopped,
}

async fn renew_once(keeper: &Keeper) -> Renewed {
    note_stop(keeper);
    let renewal = keeper.leases.renew(keeper.lease(), keeper.ttl);
    let answer = timeout(keeper.call_deadline(), renewal).await;
    if note_stop(keeper) {
        return Renewed::Stopped;
    }
    match answer {
        Ok(Ok(state)) => {
            keeper.metrics.renewed.increment();
            if state == LeaseState::Anew {
                info!("the lease is new, entries in presence are written again");
            }
            keeper.standing.renewed(state);
            Renewed::Held
        }
        Ok(Err(error)) => failed(keeper, &error),
        Err(_) => failed(keeper, &StoreError::Unavailable("no answer in time".into())),
    }
}

/// Beats; answers whether the process was stopped past its lease.
fn note_stop(keeper: &Keeper) -> bool {
    let ran = keeper.standing.beat();
    if !ran {
        warn!(
            "the process was stopped past its lease: messages wait until its connections are checked"
        );
    }
    !ran
}

fn failed(keeper: &Keeper, error: &StoreError) -> Renewed {
    debug!(%error, "the lease could not be renewed");
    keeper.metrics.failed.increment();
    Renewed::Failed
}

fn tell_health(keeper: &Keeper, failures: u32) {
    let before = *keeper.health.borrow();
    let now = match (failures, before) {
        (0, _) => LeaseHealth::Held,
        (_, LeaseHealth::Held) if failures >= FAILURES_TO_BE_AWAY => LeaseHealth::Away,
        (_, before) => before,
    };
    if now == before {
        return;
    }
    match now {
        LeaseHealth::Held => info!(gateway.id = %keeper.gateway, "the lease is held"),
        LeaseHealth::Away => warn!(
            gateway.id = %keeper.gateway,
            "presence does not answer: new connections are refused until it does"
        ),
        LeaseHealth::Waiting => {}
    }
    keeper.health.send_replace(now);
}

/// Without it the lease lapses by itself.
async fn release(keeper: &Keeper) {
    let released = keeper.leases.release(&keeper.gateway);
    match timeout(keeper.call_deadline(), released).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the lease could not be given back, it will lapse"),
        Err(_) => warn!("the lease was not given back in time, it will lapse"),
    }
}
