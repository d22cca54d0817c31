//! What the links of back-ends ask of the queue, and what comes back.

use std::sync::Arc;
use std::time::Duration;

use downlink_amqp::engine::{DeliveryId, LinkId};
use downlink_domain::id::{HubName, LockToken};
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_ports::{EnqueueError, PeerError, QueueApi, SettleError};
use tracing::warn;

use super::command::Command;
use crate::amqp::work::{Done, Work};

/// How a call for a back-end ended.
pub(in crate::amqp) enum BackEndDone {
    /// A batch of messages was offered to the queue.
    Enqueued(EnqueuedBatch),
    /// A feedback batch was waited for.
    Received {
        /// The link it is for.
        link: LinkId,
        /// The batch, if one came.
        outcome: Result<Option<FeedbackBatch>, PeerError>,
    },
    /// A feedback batch was settled.
    Settled {
        /// Link and delivery, when the client waits for the answer.
        answer_to: Option<(LinkId, DeliveryId)>,
        /// Whether the hold was still good.
        outcome: Result<Result<(), SettleError>, PeerError>,
    },
    /// The pause after a failed receive is over.
    Rested {
        /// The link that rested.
        link: LinkId,
    },
}

/// A batch that was offered to the queue.
pub(in crate::amqp) struct EnqueuedBatch {
    /// The link its messages came on.
    pub(super) link: LinkId,
    /// About the memory that its messages take.
    pub(super) bytes: usize,
    /// The messages, in order.
    pub(super) deliveries: Vec<DeliveryId>,
    /// What became of them.
    pub(super) outcome: Result<Enqueued, PeerError>,
}

/// Outcome of a batch.
pub(in crate::amqp) struct Enqueued {
    /// By position.
    pub(super) outcomes: Vec<Result<(), EnqueueError>>,
    /// Whether a message found its device by the decoded id only.
    pub(super) is_decoded: bool,
}

/// Which reading of an id that may be percent-encoded is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::amqp) enum IdReading {
    /// As it stands.
    #[default]
    Plain,
    /// Percent-decoded.
    Decoded,
}

/// Offers a batch to the queue.
pub(super) fn enqueue(
    queue: Arc<dyn QueueApi>,
    link: LinkId,
    batch: Vec<(DeliveryId, Command)>,
    reading: IdReading,
) -> Work {
    let bytes = batch.iter().map(|(_, command)| command.cost).sum();
    Box::pin(async move {
        let (deliveries, commands) = batch.into_iter().unzip();
        let outcome = enqueue_commands(&*queue, commands, reading).await;
        Done::BackEnd(BackEndDone::Enqueued(EnqueuedBatch {
            link,
            bytes,
            deliveries,
            outcome,
        }))
    })
}

/// Enqueues in order. Messages whose device is unknown by the first reading of its id go out
/// again with the other, still before anything that came later.
async fn enqueue_commands(
    queue: &dyn QueueApi,
    commands: Vec<Command>,
    reading: IdReading,
) -> Result<Enqueued, PeerError> {
    let mut messages = Vec::with_capacity(commands.len());
    let mut others = Vec::new();
    for (
        index,
        Command {
            mut message,
            other_device,
            ..
        },
    ) in commands.into_iter().enumerate()
    {
        if let Some(other) = other_device {
            let mut second = message.clone();
            match reading {
                IdReading::Plain => second.device = other,
                IdReading::Decoded => message.device = other,
            }
            others.push((index, second));
        }
        messages.push(message);
    }
    let expected = messages.len();
    let mut outcomes = exactly(queue.enqueue(messages).await?, expected)?;
    others.retain(|(index, _)| {
        matches!(
            outcomes.get(*index),
            Some(Err(EnqueueError::DeviceNotFound(_)))
        )
    });
    if others.is_empty() {
        return Ok(Enqueued {
            outcomes,
            is_decoded: reading == IdReading::Decoded,
        });
    }
    let (indexes, messages): (Vec<usize>, Vec<_>) = others.into_iter().unzip();
    let expected = messages.len();
    let second = queue.enqueue(messages).await;
    let second = second
        .and_then(|outcomes| exactly(outcomes, expected))
        .unwrap_or_else(|error| {
            // What the first reading found is stored and must not be told as failed.
            warn!(%error, messages = expected, "messages of a back-end have no answer");
            vec![Err(EnqueueError::Unavailable); expected]
        });
    let mut is_other_reading = false;
    for (index, outcome) in indexes.into_iter().zip(second) {
        // Found by neither reading: the refusal names the id as it was read first.
        if matches!(outcome, Err(EnqueueError::DeviceNotFound(_))) {
            continue;
        }
        is_other_reading |= outcome.is_ok();
        if let Some(place) = outcomes.get_mut(index) {
            *place = outcome;
        }
    }
    Ok(Enqueued {
        outcomes,
        is_decoded: (reading == IdReading::Decoded) != is_other_reading,
    })
}

/// Checks that a service has answered for every message.
fn exactly(
    outcomes: Vec<Result<downlink_ports::Enqueued, EnqueueError>>,
    expected: usize,
) -> Result<Vec<Result<(), EnqueueError>>, PeerError> {
    if outcomes.len() != expected {
        return Err(PeerError::Unavailable { service: "queue" });
    }
    Ok(outcomes
        .into_iter()
        .map(|outcome| outcome.map(|_| ()))
        .collect())
}

/// Waits for the next feedback batch.
///
/// Not to be broken off: a batch may be locked already and on its way back.
pub(super) fn receive(
    queue: Arc<dyn QueueApi>,
    hub: HubName,
    link: LinkId,
    wait: Duration,
) -> Work {
    Box::pin(async move {
        let outcome = queue.receive_feedback(hub, wait).await;
        Done::BackEnd(BackEndDone::Received { link, outcome })
    })
}

/// Settles a feedback batch.
pub(super) fn settle(
    queue: Arc<dyn QueueApi>,
    hub: HubName,
    token: LockToken,
    verdict: Verdict,
    answer_to: Option<(LinkId, DeliveryId)>,
) -> Work {
    Box::pin(async move {
        let outcome = queue.settle_feedback(hub, token, verdict).await;
        Done::BackEnd(BackEndDone::Settled { answer_to, outcome })
    })
}

/// Pauses before a failed receive is made again.
pub(super) fn rest(link: LinkId, pause: Duration) -> Work {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        Done::BackEnd(BackEndDone::Rested { link })
    })
}
