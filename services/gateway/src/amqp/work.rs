//! What a connection asks of the services, and what comes back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use downlink_amqp::engine::{DeliveryId, LinkId};
use downlink_amqp::message::MessageId;
use downlink_amqp::sasl::PlainCredential;
use downlink_auth::{PlainUser, SasToken};
use downlink_domain::id::{DeviceId, HubName, IdentityName, LockToken};
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_ports::{EnqueueError, PeerError, QueueApi, SettleError};
use tracing::warn;

use super::address::parse_scope;
use super::command::Command;
use super::grants::Grant;
use crate::authenticate::Refusal;
use crate::shared::Shared;

/// A call on its way.
pub(super) type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// How a call ended.
pub(super) enum Done {
    /// A SASL PLAIN credential was checked.
    Plain(Result<Grant, Refusal>),
    /// A token was checked.
    Token {
        /// Link and delivery of the request.
        request: (LinkId, DeliveryId),
        /// Id to repeat in the reply.
        request_id: Option<MessageId>,
        /// What the token stands for.
        outcome: Result<Grant, Refusal>,
    },
    /// A batch of messages was offered to the queue.
    Enqueued {
        /// The link they came on.
        link: LinkId,
        /// The messages, in order.
        deliveries: Vec<DeliveryId>,
        /// What became of them.
        outcome: Result<Enqueued, PeerError>,
    },
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

/// Outcome of a batch.
pub(super) struct Enqueued {
    /// By position.
    pub(super) outcomes: Vec<Result<(), EnqueueError>>,
    /// Whether a message found its device by the decoded id only.
    pub(super) is_decoded: bool,
}

/// Which reading of an id that may be percent-encoded is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdReading {
    /// As it stands.
    Plain,
    /// Percent-decoded.
    Decoded,
}

/// Checks a SASL PLAIN credential (auth.md §4).
pub(super) fn check_plain(shared: Arc<Shared>, credential: PlainCredential) -> Work {
    Box::pin(async move {
        let PlainCredential { authcid, password } = credential;
        let outcome = match PlainUser::parse(&authcid) {
            Some(user) if is_ours(&shared, user) => plain(&shared, user, &password).await,
            _ => Err(Refusal::Unauthorized),
        };
        Done::Plain(outcome)
    })
}

fn is_ours(shared: &Shared, user: PlainUser<'_>) -> bool {
    shared
        .options
        .host_names
        .iter()
        .any(|name| user.is_at(name.as_str()))
}

async fn plain(shared: &Shared, user: PlainUser<'_>, token: &str) -> Result<Grant, Refusal> {
    match user {
        PlainUser::Policy { policy, .. } => {
            let principal = shared.authenticator.service(token).await?;
            if principal.policy() == policy {
                Ok(Grant::Service(principal))
            } else {
                Err(Refusal::Unauthorized)
            }
        }
        PlainUser::Device { device_id, .. } => {
            let device: DeviceId = device_id.parse().map_err(|_| Refusal::Unauthorized)?;
            device_grant(shared, &device.into(), token).await
        }
    }
}

async fn device_grant(shared: &Shared, name: &IdentityName, token: &str) -> Result<Grant, Refusal> {
    let device = shared.authenticator.device(name, token).await?;
    Ok(Grant::Device {
        expires_at: device.expires_at,
    })
}

/// Checks a token put on the `$cbs` link.
///
/// What it grants follows from the token alone; the name the client gives it comes in six forms
/// and counts for nothing (amqp.md §3.2).
pub(super) fn check_token(
    shared: Arc<Shared>,
    request: (LinkId, DeliveryId),
    request_id: Option<MessageId>,
    token: String,
) -> Work {
    Box::pin(async move {
        let outcome = token_grant(&shared, &token).await;
        Done::Token {
            request,
            request_id,
            outcome,
        }
    })
}

async fn token_grant(shared: &Shared, token: &str) -> Result<Grant, Refusal> {
    let Ok(parsed) = SasToken::parse(token) else {
        return Err(Refusal::Unauthorized);
    };
    if parsed.policy().is_some() {
        return shared
            .authenticator
            .service(token)
            .await
            .map(Grant::Service);
    }
    let mut last = Refusal::Unauthorized;
    // Two readings at most: the id as it stands in the scope, and decoded once more.
    for name in parse_scope(parsed.scope()) {
        match device_grant(shared, &name, token).await {
            Ok(grant) => return Ok(grant),
            Err(refusal) => last = refusal,
        }
    }
    Err(last)
}

/// Offers a batch to the queue.
pub(super) fn enqueue(
    queue: Arc<dyn QueueApi>,
    link: LinkId,
    batch: Vec<(DeliveryId, Command)>,
    reading: IdReading,
) -> Work {
    Box::pin(async move {
        let (deliveries, commands) = batch.into_iter().unzip();
        let outcome = enqueue_commands(&*queue, commands, reading).await;
        Done::Enqueued {
            link,
            deliveries,
            outcome,
        }
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
        Done::Received { link, outcome }
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
        Done::Settled { answer_to, outcome }
    })
}

/// Pauses before a failed receive is made again.
pub(super) fn rest(link: LinkId, pause: Duration) -> Work {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        Done::Rested { link }
    })
}
