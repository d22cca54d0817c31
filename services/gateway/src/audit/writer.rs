//! The task that hands records to the queue service.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::event::Event;
use downlink_ports::PeerError;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Audit, records};

/// What comes within it is told together, and one batch is written in it.
const GATHERING: Duration = Duration::from_secs(1);
/// Longest time for one batch.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// What writing has left once the gateway ends.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Writes records until `drain`, then what is left.
///
/// Three inputs: news in the ledger, its clock, the drain. A batch that was not taken is offered again under the same
/// ids, and the ledger, which is bounded, counts on meanwhile.
pub(super) async fn run(audit: Arc<Audit>, drain: CancellationToken) {
    let mut unwritten = Vec::new();
    while drain.run_until_cancelled(wait(&audit)).await.is_some() {
        let writing = async {
            unwritten = audit.take();
            while !audit.write(&mut unwritten, WRITE_DEADLINE).await {
                sleep(GATHERING).await;
            }
        };
        if drain.run_until_cancelled(writing).await.is_none() {
            break;
        }
    }
    let deadline = Instant::now() + LAST_WRITES;
    audit.ledger.lock().close(Instant::now());
    let rest = async {
        loop {
            if unwritten.is_empty() {
                unwritten = audit.take();
            }
            if unwritten.is_empty() {
                return;
            }
            if !audit.write(&mut unwritten, LAST_WRITES).await {
                sleep(Duration::from_millis(200)).await;
            }
        }
    };
    if timeout_at(deadline, rest).await.is_err() {
        let lost = unwritten.len() + audit.count_rest();
        audit.metrics.lost.add(lost as u64);
        warn!(records = lost, "audit records of refusals are lost");
    }
}

/// Waits until there is something to take, and for what comes with it.
async fn wait(audit: &Audit) {
    let due = audit.ledger.lock().next_due();
    let clock = async {
        match due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = audit.news.notified() => {}
        () = clock => {}
    }
    sleep(GATHERING).await;
}

impl Audit {
    fn take(&self) -> Vec<Event> {
        let lines = self.ledger.lock().take(Instant::now());
        let now = self.now();
        let event = |line| records::event(line, &self.hub, &*self.ids, now);
        lines.into_iter().map(event).collect()
    }

    /// Writes a batch; tells whether nothing of it is left to do.
    async fn write(&self, events: &mut Vec<Event>, within: Duration) -> bool {
        if events.is_empty() {
            return true;
        }
        let writing = timeout(within, self.queue.record_events(events.clone())).await;
        let count = events.len() as u64;
        match writing {
            Ok(Ok(())) => self.metrics.written.add(count),
            Ok(Err(PeerError::Refused { code, message })) => {
                warn!(code = code.name(), message, "audit records are refused");
                self.metrics.lost.add(count);
            }
            Ok(Err(error)) => {
                debug!(%error, "audit records wait");
                self.metrics.failed.add(count);
                return false;
            }
            Err(_) => {
                debug!("audit records wait");
                self.metrics.failed.add(count);
                return false;
            }
        }
        events.clear();
        true
    }

    /// How many lines are left.
    fn count_rest(&self) -> usize {
        let mut ledger = self.ledger.lock();
        let lines = std::iter::from_fn(|| Some(ledger.take(Instant::now())));
        lines
            .map(|lines| lines.len())
            .take_while(|count| *count > 0)
            .sum()
    }
}
