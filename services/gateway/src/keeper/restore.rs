//! Writing entries of connections into presence again.
//!
//! What is written is what a connection was a moment ago; it may have left or subscribed while the
//! call was on its way. Hence the second look after each call: a connection first notes what it
//! does in its handle and then tells presence, so whatever presence could have heard too early is
//! seen here and told again.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::DeviceKey;
use downlink_domain::presence::{DisconnectReason, Route};
use downlink_ports::{Restored, StoreError};
use futures::StreamExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Keeper;
use crate::connections::{Connections, Handle};

/// Entries of one call.
const MAX_ENTRIES: usize = 1_000;
/// Pause before a call that failed is made again.
const PAUSE: Duration = Duration::from_millis(250);
/// Corrections under way at a time; there are few.
const CORRECTIONS: usize = 16;

/// Writes entries again whenever they may have been lost, and otherwise all of them slowly, shard
/// by shard: a connection that was not told that it is superseded hears of it so, and an entry
/// that was lost without a sign comes back.
pub(super) async fn run(keeper: Arc<Keeper>, drain: CancellationToken) {
    drain.run_until_cancelled(restore(&keeper)).await;
}

async fn restore(keeper: &Keeper) {
    let shards = u32::try_from(Connections::SHARDS).unwrap_or(1);
    let pause = keeper.reassert_interval / shards;
    let mut due = Instant::now() + pause;
    for shard in (0..Connections::SHARDS).cycle() {
        loop {
            if !keeper.standing.is_restored() {
                restore_all(keeper).await;
            }
            tokio::select! {
                () = keeper.standing.entries_lost() => {}
                () = sleep_until(due) => break,
            }
        }
        due = Instant::now() + pause;
        // One that fails has its turn again in the next round.
        let _ = restore_shard(keeper, shard, Then::Nothing).await;
    }
}

/// What becomes of a connection whose entry stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// It is woken: wake-ups were lost while presence did not know it.
    Wake,
    /// Nothing.
    Nothing,
}

/// Writes all entries, as often as it takes; begins again when they may have been lost once more.
async fn restore_all(keeper: &Keeper) {
    let standing = &keeper.standing;
    'begin: loop {
        let generation = standing.generation();
        let started_at = Instant::now();
        let mut count = 0;
        for shard in 0..Connections::SHARDS {
            loop {
                // A suspended gateway asks for nothing yet; it wakes everyone when it resumes.
                let then = if standing.is_suspended() {
                    Then::Nothing
                } else {
                    Then::Wake
                };
                match restore_shard(keeper, shard, then).await {
                    Ok(written) => {
                        count += written;
                        break;
                    }
                    Err(error) => debug!(%error, "entries could not be written again"),
                }
                sleep(PAUSE).await;
            }
            if standing.generation() != generation {
                continue 'begin;
            }
        }
        standing.restored(generation);
        keeper.restored.send_replace(generation);
        if count > 0 {
            info!(count, took = ?started_at.elapsed(), "entries were written to presence again");
        }
        if standing.resume() {
            wake_all(keeper).await;
        }
        return;
    }
}

/// Wakes every connection that takes messages, at the pace of restoring.
async fn wake_all(keeper: &Keeper) {
    for shard in 0..Connections::SHARDS {
        let due = Instant::now() + pace(keeper, keeper.connections.of_shard(shard).len());
        keeper.connections.wake_shard(shard);
        sleep_until(due).await;
    }
}

/// Writes the entries of one shard, paced; returns how many.
async fn restore_shard(keeper: &Keeper, shard: usize, then: Then) -> Result<usize, StoreError> {
    let handles = keeper.connections.of_shard(shard);
    for part in handles.chunks(MAX_ENTRIES) {
        let due = Instant::now() + pace(keeper, part.len());
        restore_part(keeper, part, then).await?;
        sleep_until(due).await;
    }
    Ok(handles.len())
}

async fn restore_part(
    keeper: &Keeper,
    part: &[(DeviceKey, Arc<Handle>)],
    then: Then,
) -> Result<(), StoreError> {
    let entry =
        |(device, handle): &(DeviceKey, Arc<Handle>)| (*device, handle.route(&keeper.gateway));
    let entries: Vec<(DeviceKey, Route)> = part.iter().map(entry).collect();
    let written: Vec<_> = entries
        .iter()
        .map(|(_, route)| route.subscriptions)
        .collect();
    let call = timeout(keeper.call_deadline(), keeper.presence.restore(entries));
    let late = |_| StoreError::Unavailable("no answer in time".into());
    let outcomes = call.await.map_err(late)??;
    let mut changed = Vec::new();
    let mut gone = Vec::new();
    let mut standing = Vec::new();
    for (((device, handle), outcome), written) in part.iter().zip(outcomes).zip(written) {
        match outcome {
            Restored::Superseded => {
                handle.mailbox.close(DisconnectReason::Superseded);
                keeper.metrics.superseded.increment();
            }
            Restored::Stands if handle.is_ending() => gone.push((*device, handle.epoch)),
            Restored::Stands => {
                keeper.metrics.restored.increment();
                standing.push((*device, handle.epoch));
                if handle.subscriptions() != written {
                    changed.push((*device, Arc::clone(handle)));
                }
                if then == Then::Wake && handle.subscriptions().c2d {
                    handle.mailbox.wake();
                }
            }
        }
    }
    // Twin may have taken this gateway for lost, or not have heard of them.
    keeper.reports.stand(standing, keeper.clock.now());
    correct(keeper, changed, gone).await
}

/// Tells presence what changed while entries were on their way.
async fn correct(
    keeper: &Keeper,
    changed: Vec<(DeviceKey, Arc<Handle>)>,
    gone: Vec<(DeviceKey, downlink_domain::presence::LeaseEpoch)>,
) -> Result<(), StoreError> {
    let late = |_| StoreError::Unavailable("no answer in time".into());
    if !gone.is_empty() {
        let call = timeout(keeper.call_deadline(), keeper.presence.disconnect(gone));
        call.await.map_err(late)??;
    }
    let mut corrections = futures::stream::iter(changed)
        .map(|(device, handle)| async move {
            let call = subscribe(keeper, device, &handle);
            timeout(keeper.call_deadline(), call).await.map_err(late)?
        })
        .buffer_unordered(CORRECTIONS);
    while let Some(corrected) = corrections.next().await {
        corrected?;
    }
    Ok(())
}

async fn subscribe(keeper: &Keeper, device: DeviceKey, handle: &Handle) -> Result<(), StoreError> {
    loop {
        let wanted = handle.subscriptions();
        keeper
            .presence
            .subscribe(device, handle.epoch, wanted)
            .await?;
        // It may have changed once more, and been told before this was.
        if handle.subscriptions() == wanted {
            return Ok(());
        }
    }
}

/// The least time that `count` entries take.
fn pace(keeper: &Keeper, count: usize) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    Duration::from_secs(1) * count / keeper.restore_pace
}
