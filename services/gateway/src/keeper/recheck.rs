//! Asking connections to look at their identities once more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Keeper;
use crate::connections::Connections;

/// Connections asked at once.
const PART: usize = 100;
/// Connections asked in a second, at most; each costs twin a look-up.
const PACE: u32 = 2_000;

/// Asks all connections after their entries were lost and written again, not before: an order that
/// comes later finds them, and the look sees what came earlier. Otherwise it asks them slowly,
/// shard by shard, for orders that failed in other ways.
pub(super) async fn run(keeper: Arc<Keeper>, drain: CancellationToken) {
    drain.run_until_cancelled(recheck(&keeper)).await;
}

async fn recheck(keeper: &Keeper) {
    let mut restored = keeper.restored.subscribe();
    let shards = u32::try_from(Connections::SHARDS).unwrap_or(1);
    let pause = keeper.reassert_interval / shards;
    let mut due = Instant::now() + pause;
    for shard in (0..Connections::SHARDS).cycle() {
        while has_come_back(&mut restored, due).await {
            // Entries lost meanwhile have it done once more.
            for shard in 0..Connections::SHARDS {
                recheck_shard(keeper, shard).await;
            }
        }
        due = Instant::now() + pause;
        recheck_shard(keeper, shard).await;
    }
}

/// Waits until lost entries have been written again, at most until `due`; tells whether they have.
async fn has_come_back(restored: &mut watch::Receiver<u64>, due: Instant) -> bool {
    tokio::select! {
        biased;
        changed = restored.changed() => changed.is_ok(),
        () = sleep_until(due) => false,
    }
}

/// Asks the connections of one shard, at the pace.
async fn recheck_shard(keeper: &Keeper, shard: usize) {
    let handles = keeper.connections.of_shard(shard);
    for part in handles.chunks(PART) {
        let due = Instant::now() + pace(part.len());
        for (_, handle) in part {
            handle.mailbox.recheck();
        }
        sleep_until(due).await;
    }
}

/// The least time that `count` connections take.
fn pace(count: usize) -> Duration {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    Duration::from_secs(1) * count / PACE
}
