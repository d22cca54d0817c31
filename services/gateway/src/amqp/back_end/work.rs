//! What the links of back-ends ask of the queue, and what comes back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use downlink_amqp::engine::{DeliveryId, LinkId};
use downlink_domain::ErrorCode;
use downlink_domain::access::Action;
use downlink_domain::id::{HubName, LockToken};
use downlink_domain::limits::HubOperation;
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_ports::{EnqueueError, PeerError, QueueApi, SettleError};
use tracing::warn;

use super::command::Command;
use crate::amqp::grants::DEVICEBOUND;
use crate::amqp::work::{Done, Work};
use crate::audit::Origin;
use crate::authenticate::{Denied, Principal};
use crate::limits::Throttled;
use crate::shared::Shared;

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
    pub(super) outcomes: Vec<Result<(), NotSent>>,
    /// Whether a message found its device by the decoded id only.
    pub(super) is_decoded: bool,
}

/// Why a message was not accepted.
#[derive(Clone, Debug)]
pub(in crate::amqp) struct NotSent {
    pub(super) code: ErrorCode,
    pub(super) text: String,
}

impl From<EnqueueError> for NotSent {
    fn from(error: EnqueueError) -> Self {
        Self {
            code: error.code(),
            text: error.to_string(),
        }
    }
}

impl From<Denied> for NotSent {
    fn from(denied: Denied) -> Self {
        Self {
            code: denied.code(),
            text: denied.to_string(),
        }
    }
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

/// Offers a batch to the queue: what `senders` may send, or all of it when they are none.
pub(super) fn enqueue(
    shared: Arc<Shared>,
    link: LinkId,
    batch: Vec<(DeliveryId, Command)>,
    reading: IdReading,
    (origin, senders): (Origin, Option<Vec<Principal>>),
) -> Work {
    let bytes = batch.iter().map(|(_, command)| command.cost).sum();
    Box::pin(async move {
        let (deliveries, mut commands): (Vec<_>, Vec<Command>) = batch.into_iter().unzip();
        let queue = &*shared.peers.queue;
        let cost = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        let admitted = shared.limits.admit(HubOperation::C2dSend, cost).await;
        let outcome = match (admitted, senders) {
            (Err(error), _) => Ok(throttled(commands.len(), &error, reading)),
            (Ok(()), None) => enqueue_commands(queue, commands, reading).await,
            (Ok(()), Some(senders)) => {
                let verdicts = authorize(&shared, origin, &senders, &mut commands).await;
                enqueue_allowed(queue, commands, verdicts, reading).await
            }
        };
        Done::BackEnd(BackEndDone::Enqueued(EnqueuedBatch {
            link,
            bytes,
            deliveries,
            outcome,
        }))
    })
}

/// What comes faster than it may, refused one by one, so that its sender sends it again.
fn throttled(count: usize, throttled: &Throttled, reading: IdReading) -> Enqueued {
    let not_sent = NotSent {
        code: throttled.code(),
        text: throttled.to_string(),
    };
    Enqueued {
        outcomes: vec![Err(not_sent); count],
        is_decoded: reading == IdReading::Decoded,
    }
}

/// Judges each message by its device; a reading of an id that is not allowed is dropped if the other is.
async fn authorize(
    shared: &Shared,
    origin: Origin,
    senders: &[Principal],
    commands: &mut [Command],
) -> Vec<Option<Denied>> {
    let mut devices = HashSet::new();
    for command in &*commands {
        devices.insert(command.message.device.clone());
        devices.extend(command.other_device.clone());
    }
    let authenticator = &shared.authenticator;
    let denied = authenticator.denied_devices(senders, devices, &DEVICEBOUND);
    let denied = denied.await;
    if let Some(sender) = senders.first() {
        for (device, denied) in &denied {
            let path = ["devices", device.as_str()];
            let audit = &shared.audit;
            audit.denied(origin, sender, Action::SendMessage, &path, denied);
        }
    }
    let judged = commands.iter_mut().map(|command| {
        let other = command.other_device.take();
        command.other_device = other.filter(|other| !denied.contains_key(other));
        let verdict = denied.get(&command.message.device)?;
        match command.other_device.take() {
            None => Some(verdict.clone()),
            Some(other) => {
                command.message.device = other;
                None
            }
        }
    });
    judged.collect()
}

/// Enqueues what is allowed, and answers for the rest.
async fn enqueue_allowed(
    queue: &dyn QueueApi,
    commands: Vec<Command>,
    verdicts: Vec<Option<Denied>>,
    reading: IdReading,
) -> Result<Enqueued, PeerError> {
    let allowed = commands.into_iter().zip(&verdicts);
    let allowed: Vec<Command> = allowed
        .filter(|(_, denied)| denied.is_none())
        .map(|(command, _)| command)
        .collect();
    let (mut outcomes, mut is_decoded) = (Vec::new().into_iter(), reading == IdReading::Decoded);
    if !allowed.is_empty() {
        let enqueued = enqueue_commands(queue, allowed, reading).await?;
        is_decoded = enqueued.is_decoded;
        outcomes = enqueued.outcomes.into_iter();
    }
    let lost = || Err(EnqueueError::Unavailable.into());
    let outcomes = verdicts.into_iter().map(|denied| match denied {
        Some(denied) => Err(denied.into()),
        None => outcomes.next().unwrap_or_else(lost),
    });
    Ok(Enqueued {
        outcomes: outcomes.collect(),
        is_decoded,
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
            outcomes: to_not_sent(outcomes),
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
        outcomes: to_not_sent(outcomes),
        is_decoded: (reading == IdReading::Decoded) != is_other_reading,
    })
}

fn to_not_sent(outcomes: Vec<Result<(), EnqueueError>>) -> Vec<Result<(), NotSent>> {
    let outcomes = outcomes.into_iter();
    outcomes
        .map(|outcome| outcome.map_err(NotSent::from))
        .collect()
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
