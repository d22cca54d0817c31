//! Accepting messages: checks, lanes, one commit for many, then the wake-up.

use std::sync::Arc;

use downlink_domain::Timestamp;
use downlink_domain::id::MessageId;
use downlink_domain::message::{NewMessage, Properties};
use downlink_ports::{EnqueueError, EnqueueRules, Enqueued, PeerError};

use crate::batching::{CallError, Group, GroupAnswer, Lanes, divide, flatten, submit_each};
use crate::config::{CLOCK_SKEW, QueueOptions};
use crate::service::Shared;

#[cfg(test)]
mod tests;

type Outcome = Result<Enqueued, EnqueueError>;

/// Checks messages, has the valid ones committed and answers by position.
pub(crate) async fn accept(
    shared: &Shared,
    lanes: &Lanes<NewMessage, Outcome>,
    messages: Vec<NewMessage>,
) -> Result<Vec<Outcome>, PeerError> {
    let now = shared.deps.clock.now();
    let mut refused: Vec<Option<EnqueueError>> = Vec::with_capacity(messages.len());
    let mut valid = Vec::with_capacity(messages.len());
    for message in messages {
        match check(message, &shared.options, now) {
            Ok(message) => {
                refused.push(None);
                valid.push(message);
            }
            Err(error) => refused.push(Some(error)),
        }
    }
    let committed = submit_each(
        lanes,
        valid,
        |message| (message.hub.clone(), message.device.clone()),
        NewMessage::counted_bytes,
    )
    .await;
    let mut committed = told(shared, committed)?.into_iter();
    let answers: Option<Vec<Outcome>> = refused
        .into_iter()
        .map(|refusal| refusal.map(Err).or_else(|| committed.next()))
        .collect();
    let answers = answers.expect("one answer for each valid message, as `submit` promises");
    shared.metrics.enqueues.count(&answers);
    Ok(answers)
}

/// Turns a failure over some messages into their outcome; a failure over all of them is the call's.
fn told(
    shared: &Shared,
    committed: Vec<Result<Outcome, CallError>>,
) -> Result<Vec<Outcome>, PeerError> {
    let failure = committed.iter().find_map(|one| one.as_ref().err()).cloned();
    if let Some(error) = failure {
        let error = shared.call_failed("enqueue", error);
        if committed.iter().all(Result::is_err) {
            return Err(error);
        }
    }
    let told = |one: Result<Outcome, CallError>| one.unwrap_or(Err(EnqueueError::Unavailable));
    Ok(committed.into_iter().map(told).collect())
}

/// Commits one batch of a lane and asks for its devices to be woken.
pub(crate) async fn commit(
    shared: Arc<Shared>,
    groups: Vec<Group<NewMessage>>,
) -> Vec<GroupAnswer<Outcome>> {
    let (messages, sizes) = flatten(groups);
    let rules = EnqueueRules {
        max_depth: shared.options.max_depth,
    };
    let now = shared.deps.clock.now();
    let timer = shared.metrics.batches.start(messages.len());
    let answer = shared.deps.messages.enqueue(messages, rules, now).await;
    timer.stop();
    if let Ok(outcomes) = &answer {
        let accepted = outcomes.iter().flatten().map(|enqueued| enqueued.device);
        let dropped = shared.wakes.push(accepted);
        shared.metrics.wakes.dropped.add(dropped);
    }
    divide(answer, &sizes)
}

/// Checks one message against c2d.md §2 and §3.1 and settles its expiry.
fn check(
    mut message: NewMessage,
    options: &QueueOptions,
    now: Timestamp,
) -> Result<NewMessage, EnqueueError> {
    let bytes = message.counted_bytes();
    if bytes > options.max_message_bytes {
        return Err(EnqueueError::TooLarge {
            bytes,
            max_bytes: options.max_message_bytes,
        });
    }
    check_properties(&mut message.properties)?;
    let expiry = settle_expiry(message.expiry, options, now)?;
    message.properties.expiry = message.expiry.map(|_| expiry);
    message.expiry = Some(expiry);
    Ok(message)
}

/// The instant at which a message ends: the sender's, or the default life from `now`.
///
/// An instant beyond the longest life by no more than clocks may differ is moved to its end.
fn settle_expiry(
    asked: Option<Timestamp>,
    options: &QueueOptions,
    now: Timestamp,
) -> Result<Timestamp, EnqueueError> {
    let Some(expiry) = asked else {
        return Ok(now + options.default_ttl);
    };
    let latest = now + options.max_ttl;
    if expiry <= now || expiry > latest + CLOCK_SKEW {
        return Err(EnqueueError::InvalidExpiry);
    }
    Ok(expiry.min(latest))
}

fn check_properties(properties: &mut Properties) -> Result<(), EnqueueError> {
    // The Node library's message starts with an empty id, which stands for none.
    properties.message_id = properties.message_id.take().filter(|id| !id.is_empty());
    if let Some(id) = &properties.message_id {
        let invalid = |error| EnqueueError::InvalidProperty(format!("{error}"));
        id.parse::<MessageId>().map_err(invalid)?;
    }
    let system = [
        ("correlation id", &properties.correlation_id),
        ("to", &properties.to),
        ("user id", &properties.user_id),
        ("content type", &properties.content_type),
        ("content encoding", &properties.content_encoding),
    ];
    for (name, value) in system {
        if value.as_deref().is_some_and(has_control_character) {
            let text = format!("{name} holds a control character");
            return Err(EnqueueError::InvalidProperty(text));
        }
    }
    let mut names = properties.application.iter();
    let is_named = names.all(|(name, _)| is_property_name(name));
    if !is_named {
        let text = "an application property has a name outside its alphabet".to_owned();
        return Err(EnqueueError::InvalidProperty(text));
    }
    let mut values = properties.application.iter();
    match values.find(|(_, value)| has_control_character(value)) {
        None => Ok(()),
        Some((name, _)) => Err(EnqueueError::InvalidProperty(format!(
            "application property {name} holds a control character"
        ))),
    }
}

/// Tells whether `name` keeps the alphabet of property names (c2d.md §3.1) and cannot be taken for
/// a system property on the device's side, which a leading `$.` marks (mqtt.md §8).
fn is_property_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`~|".contains(c);
    !name.is_empty() && !name.starts_with("$.") && name.chars().all(is_allowed)
}

fn has_control_character(text: &str) -> bool {
    text.chars().any(char::is_control)
}
