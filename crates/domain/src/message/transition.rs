//! What may happen to a message, as decisions without effects (c2d.md §4, design.md §6).
//!
//! A transition takes where a message stands, a command and `now`, and answers where it stands
//! next and what its sender is told. It works on [`Standing`], the part of a [`Message`] that
//! changes, so that a store decides without loading payloads.
//!
//! Time ends locks and messages by itself: a lock holds only while `now < until`, a message lives
//! only while `now < expiry`. [`due`] is the transition that makes such an end visible.
//!
//! ```
//! use downlink_domain::message::{AckMode, MessageState, transition::{Standing, due}};
//! use downlink_domain::message::{DeliveryCounting, QueueRules};
//! use downlink_domain::time::Timestamp;
//! use std::time::Duration;
//!
//! let rules = QueueRules {
//!     counting: DeliveryCounting::Deliveries,
//!     max_delivery_count: 10,
//!     feedback_ttl: Duration::from_hours(1),
//! };
//! let expiry = Timestamp::from_millis(1_000);
//! let waiting = Standing { expiry, delivery_count: 0, ack: AckMode::Full, state: MessageState::Enqueued };
//! assert!(due(waiting, &rules, Timestamp::from_millis(999)).is_none());
//! assert!(due(waiting, &rules, expiry).is_some());
//! ```

use thiserror::Error;

use crate::id::LockToken;
use crate::message::feedback::FeedbackStatus;
use crate::message::{
    AckMode, DeadLetterReason, DeliveryCounting, Lock, Message, MessageState, QueueRules, Verdict,
};
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// The part of a message that its transitions read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// When it ends by itself.
    pub expiry: Timestamp,
    /// Failed or running deliveries so far, by [`DeliveryCounting`].
    pub delivery_count: u32,
    /// Outcomes the sender wants to hear of.
    pub ack: AckMode,
    /// Where it stands.
    pub state: MessageState,
}

/// Where a message stands next, and what its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    /// The next standing.
    pub next: Standing,
    /// The outcome to report: set when the message ended and its ack mode wants to hear of it.
    pub feedback: Option<FeedbackStatus>,
}

/// The token is not the current lock, the lock or the message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the lock on the message was lost")]
pub struct LockLost;

/// Why a message cannot be handed out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotReceivable {
    /// Another receiver holds it.
    #[error("another receiver holds the message")]
    Held,
    /// Its expiry passed; [`due`] ends it.
    #[error("the message is expired")]
    Expired,
    /// Its last lock lapsed with its deliveries used up; [`due`] ends it.
    #[error("the deliveries of the message are used up")]
    Exhausted,
    /// It is in a terminal state.
    #[error("the message has ended")]
    Ended,
}

impl Message {
    /// The part that transitions read and write.
    pub fn standing(&self) -> Standing {
        Standing {
            expiry: self.expiry,
            delivery_count: self.delivery_count,
            ack: self.ack,
            state: self.state,
        }
    }

    /// The same message at its next standing.
    #[must_use]
    pub fn at(self, next: Standing) -> Self {
        Self {
            expiry: next.expiry,
            delivery_count: next.delivery_count,
            ack: next.ack,
            state: next.state,
            ..self
        }
    }
}

impl MessageState {
    /// Tells whether nothing can happen to the message any more.
    pub const fn is_terminal(&self) -> bool {
        match self {
            Self::Enqueued | Self::Invisible { .. } => false,
            Self::Completed { .. } | Self::DeadLettered { .. } => true,
        }
    }
}

impl Standing {
    /// Tells whether the message waits, held or not: not ended and not expired.
    pub fn is_waiting(&self, now: Timestamp) -> bool {
        !self.state.is_terminal() && now < self.expiry
    }

    /// The number of deliveries that devices are shown: earlier counted ones, 0 at the first
    /// (c2d.md §3.1).
    pub fn seen_delivery_count(&self, counting: DeliveryCounting) -> u32 {
        match (counting, self.state) {
            (DeliveryCounting::Deliveries, MessageState::Invisible { .. }) => {
                self.delivery_count.saturating_sub(1)
            }
            (DeliveryCounting::Deliveries | DeliveryCounting::Abandons, _) => self.delivery_count,
        }
    }

    fn end(self, state: MessageState, status: FeedbackStatus) -> Decision {
        Decision {
            next: Self { state, ..self },
            feedback: status.is_wanted_by(self.ack).then_some(status),
        }
    }

    fn dead_letter(self, reason: DeadLetterReason, at: Timestamp) -> Decision {
        self.end(MessageState::DeadLettered { at, reason }, reason.into())
    }

    fn enqueued(self, delivery_count: u32) -> Decision {
        let next = Self {
            delivery_count,
            state: MessageState::Enqueued,
            ..self
        };
        Decision {
            next,
            feedback: None,
        }
    }

    /// The end of a lock that brought no completion and is no abandon.
    fn give_back(self, rules: &QueueRules, now: Timestamp) -> Decision {
        if self.is_exhausted(rules) {
            self.dead_letter(DeadLetterReason::DeliveryCountExceeded, now)
        } else {
            self.enqueued(self.delivery_count)
        }
    }

    /// Tells whether the running delivery is the last one.
    fn is_exhausted(&self, rules: &QueueRules) -> bool {
        match rules.counting {
            DeliveryCounting::Deliveries => self.delivery_count >= rules.max_delivery_count,
            DeliveryCounting::Abandons => false,
        }
    }

    /// Checks that `token` holds the message at `now`.
    fn check_held(&self, token: LockToken, now: Timestamp) -> Result<(), LockLost> {
        match self.state {
            MessageState::Invisible { lock }
                if lock.token == token && now < lock.until && now < self.expiry =>
            {
                Ok(())
            }
            MessageState::Enqueued
            | MessageState::Invisible { .. }
            | MessageState::Completed { .. }
            | MessageState::DeadLettered { .. } => Err(LockLost),
        }
    }
}

/// Hands a message out under `lock`.
///
/// A lapsed lock does not stand in the way: the message is taken over as if [`due`] had put it
/// back first.
///
/// # Errors
/// [`NotReceivable`] when it is held, expired, exhausted or ended.
pub fn receive(
    message: Standing,
    lock: Lock,
    rules: &QueueRules,
    now: Timestamp,
) -> Result<Decision, NotReceivable> {
    if message.state.is_terminal() {
        return Err(NotReceivable::Ended);
    }
    if message.expiry <= now {
        return Err(NotReceivable::Expired);
    }
    if let MessageState::Invisible { lock: held } = message.state {
        if now < held.until {
            return Err(NotReceivable::Held);
        }
        if message.is_exhausted(rules) {
            return Err(NotReceivable::Exhausted);
        }
    }
    let raised = match rules.counting {
        DeliveryCounting::Deliveries => 1,
        DeliveryCounting::Abandons => 0,
    };
    let next = Standing {
        delivery_count: message.delivery_count.saturating_add(raised),
        state: MessageState::Invisible { lock },
        ..message
    };
    Ok(Decision {
        next,
        feedback: None,
    })
}

/// Settles a held message by `verdict`.
///
/// # Errors
/// [`LockLost`] if `token` is not the current lock, or the lock or the message ended at or before
/// `now`.
pub fn settle(
    message: Standing,
    token: LockToken,
    verdict: Verdict,
    rules: &QueueRules,
    now: Timestamp,
) -> Result<Decision, LockLost> {
    match verdict {
        Verdict::Complete => complete(message, token, now),
        Verdict::Abandon => abandon(message, token, rules, now),
        Verdict::Reject => reject(message, token, now),
        Verdict::ReleaseDelivered => release_delivered(message, token, rules, now),
        Verdict::ReleaseUndelivered => release_undelivered(message, token, rules, now),
    }
}

/// Ends a message with success.
///
/// # Errors
/// [`LockLost`], as [`settle`].
pub fn complete(message: Standing, token: LockToken, now: Timestamp) -> Result<Decision, LockLost> {
    message.check_held(token, now)?;
    Ok(message.end(MessageState::Completed { at: now }, FeedbackStatus::Success))
}

/// Returns a held message to its place, or dead-letters it once its deliveries are used up.
///
/// # Errors
/// [`LockLost`], as [`settle`].
pub fn abandon(
    message: Standing,
    token: LockToken,
    rules: &QueueRules,
    now: Timestamp,
) -> Result<Decision, LockLost> {
    message.check_held(token, now)?;
    Ok(match rules.counting {
        DeliveryCounting::Deliveries => message.give_back(rules, now),
        DeliveryCounting::Abandons if message.delivery_count >= rules.max_delivery_count => {
            message.dead_letter(DeadLetterReason::DeliveryCountExceeded, now)
        }
        DeliveryCounting::Abandons => message.enqueued(message.delivery_count.saturating_add(1)),
    })
}

/// Dead-letters a message that its device never wants again.
///
/// # Errors
/// [`LockLost`], as [`settle`].
pub fn reject(message: Standing, token: LockToken, now: Timestamp) -> Result<Decision, LockLost> {
    message.check_held(token, now)?;
    Ok(message.dead_letter(DeadLetterReason::Rejected, now))
}

/// Ends the lock of a message that went out on a connection that is gone: what a lapse would do,
/// only sooner.
///
/// # Errors
/// [`LockLost`], as [`settle`].
pub fn release_delivered(
    message: Standing,
    token: LockToken,
    rules: &QueueRules,
    now: Timestamp,
) -> Result<Decision, LockLost> {
    message.check_held(token, now)?;
    Ok(message.give_back(rules, now))
}

/// Ends the lock of a message that never left the gateway: as if it had not been received.
///
/// # Errors
/// [`LockLost`], as [`settle`].
pub fn release_undelivered(
    message: Standing,
    token: LockToken,
    rules: &QueueRules,
    now: Timestamp,
) -> Result<Decision, LockLost> {
    message.check_held(token, now)?;
    let restored = match rules.counting {
        DeliveryCounting::Deliveries => message.delivery_count.saturating_sub(1),
        DeliveryCounting::Abandons => message.delivery_count,
    };
    Ok(message.enqueued(restored))
}

/// What time alone has done to a message, `None` when nothing is due: an expiry before a lapse.
pub fn due(message: Standing, rules: &QueueRules, now: Timestamp) -> Option<Decision> {
    expire(message, now).or_else(|| lapse(message, rules, now))
}

/// Dead-letters a message whose expiry passed, held or not; `None` when it is not due.
pub fn expire(message: Standing, now: Timestamp) -> Option<Decision> {
    let is_due = !message.state.is_terminal() && message.expiry <= now;
    is_due.then(|| message.dead_letter(DeadLetterReason::Expired, now))
}

/// Ends a lock whose time is over: the message returns to its place, or is dead-lettered when that
/// was its last delivery; `None` when no lock is due.
pub fn lapse(message: Standing, rules: &QueueRules, now: Timestamp) -> Option<Decision> {
    match message.state {
        MessageState::Invisible { lock } if lock.until <= now => {
            Some(message.give_back(rules, now))
        }
        MessageState::Enqueued
        | MessageState::Invisible { .. }
        | MessageState::Completed { .. }
        | MessageState::DeadLettered { .. } => None,
    }
}

/// Ends a waiting message because its queue is emptied, held or not; `None` when it has ended or
/// its expiry passed (that outcome is final).
pub fn purge(message: Standing, now: Timestamp) -> Option<Decision> {
    message
        .is_waiting(now)
        .then(|| message.dead_letter(DeadLetterReason::Purged, now))
}
