//! Keeps the stream of one lane alive.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::CallStream;
use super::backoff::Backoff;
use super::lane::Lane;
use crate::carrier::Endpoint;

/// Time to connect and to hear the server's first word.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects, reads replies, and connects again, until `stop`.
pub(crate) async fn keep<S: CallStream>(
    lane: Arc<Lane<S>>,
    endpoint: Endpoint,
    stop: CancellationToken,
) {
    let lane = Kept(lane);
    let stopped = stop
        .run_until_cancelled(reconnect(&lane.0, &endpoint))
        .await;
    debug_assert!(stopped.is_none(), "it ends only when it is stopped");
}

/// However the task ends, nobody waits for a stream that is not coming.
struct Kept<S: CallStream>(Arc<Lane<S>>);

impl<S: CallStream> Drop for Kept<S> {
    fn drop(&mut self) {
        self.0.on_break();
        self.0.on_down();
    }
}

async fn reconnect<S: CallStream>(lane: &Arc<Lane<S>>, endpoint: &Endpoint) {
    let service = S::SERVICE;
    let mut backoff = Backoff::new();
    let mut is_reported = false;
    loop {
        match tokio::time::timeout(OPEN_TIMEOUT, open(lane, endpoint)).await {
            Ok(Ok(inbound)) => {
                lane.on_open();
                debug!(service, "stream opened");
                is_reported = false;
                let has_replied = read(lane, inbound).await;
                lane.on_break();
                info!(service, "stream ended, connecting again");
                if has_replied {
                    // A stream that worked may be tried again at once: its calls wait.
                    backoff.reset();
                    continue;
                }
            }
            Ok(Err(error)) => report(service, &error, &mut is_reported),
            Err(_) => report(service, &Status::unavailable("timeout"), &mut is_reported),
        }
        lane.on_break();
        lane.on_down();
        tokio::time::sleep(backoff.next()).await;
    }
}

async fn open<S: CallStream>(
    lane: &Arc<Lane<S>>,
    endpoint: &Endpoint,
) -> Result<Streaming<S::Replies>, Status> {
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    S::open(channel, lane.begin_stream()).await
}

/// Reads until the stream ends; tells whether a reply came.
async fn read<S: CallStream>(lane: &Lane<S>, mut inbound: Streaming<S::Replies>) -> bool {
    let mut has_replied = false;
    loop {
        match inbound.message().await {
            Ok(Some(replies)) => {
                has_replied = true;
                lane.on_replies(replies);
            }
            Ok(None) => return has_replied,
            Err(error) => {
                debug!(service = S::SERVICE, %error, "stream broke");
                return has_replied;
            }
        }
    }
}

/// Warns of the first failure in a row.
fn report(service: &'static str, error: &Status, is_reported: &mut bool) {
    if !std::mem::replace(is_reported, true) {
        warn!(service, %error, "cannot connect, trying again");
    }
}
