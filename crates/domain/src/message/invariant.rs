//! What must hold of messages at every instant and over every step, as pure predicates
//! (style.md §2.3).

use std::collections::HashSet;

use crate::message::{Message, MessageState, QueueRules};

/// One holder per lock: no two messages of the slice are held under one token.
pub fn has_one_holder_per_lock(messages: &[Message]) -> bool {
    let mut tokens = HashSet::new();
    messages.iter().all(|message| match message.state {
        MessageState::Invisible { lock } => tokens.insert(lock.token),
        MessageState::Enqueued
        | MessageState::Completed { .. }
        | MessageState::DeadLettered { .. } => true,
    })
}

/// `delivery_count <= max_delivery_count`. Holds while the rules stay as they are; a maximum that
/// is lowered takes effect when the next lock ends.
pub fn is_within_max_deliveries(message: &Message, rules: &QueueRules) -> bool {
    message.delivery_count <= rules.max_delivery_count
}

/// One device's messages, as listed by a queue, are in the order of their sequence numbers and of
/// acceptance.
pub fn is_in_order(messages: &[Message]) -> bool {
    messages.windows(2).all(|pair| match pair {
        [earlier, later] => {
            earlier.device == later.device
                && earlier.sequence < later.sequence
                && earlier.enqueued_at <= later.enqueued_at
        }
        _ => true,
    })
}

/// One step kept what never changes, and left an ended message as it was.
pub fn is_step_lawful(before: &Message, after: &Message) -> bool {
    let is_same_message = before.device == after.device
        && before.sequence == after.sequence
        && before.enqueued_at == after.enqueued_at
        && before.expiry == after.expiry
        && before.ack == after.ack
        && before.properties == after.properties
        && before.body == after.body;
    let stays_ended = !before.state.is_terminal()
        || (before.state == after.state && before.delivery_count == after.delivery_count);
    is_same_message && stays_ended
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::{DeviceKey, LockToken, SequenceNumber};
    use crate::message::{AckMode, DeliveryCounting, Lock, Properties};
    use crate::time::Timestamp;

    fn message(sequence: u64, state: MessageState) -> Message {
        Message {
            device: DeviceKey(1),
            sequence: SequenceNumber(sequence),
            enqueued_at: Timestamp::from_millis(0),
            expiry: Timestamp::from_millis(1000),
            delivery_count: 1,
            ack: AckMode::None,
            properties: Properties::default(),
            body: Bytes::new(),
            state,
        }
    }

    fn held(sequence: u64, token: u8) -> Message {
        let lock = Lock {
            token: LockToken([token; 16]),
            until: Timestamp::from_millis(10),
        };
        message(sequence, MessageState::Invisible { lock })
    }

    #[test]
    fn two_holders_of_one_token_are_found() {
        assert!(has_one_holder_per_lock(&[held(1, 1), held(2, 2)]));
        assert!(!has_one_holder_per_lock(&[held(1, 1), held(2, 1)]));
    }

    #[test]
    fn a_count_above_the_maximum_is_found() {
        let rules = |max_delivery_count| QueueRules {
            counting: DeliveryCounting::Deliveries,
            max_delivery_count,
            feedback_ttl: std::time::Duration::from_mins(1),
        };
        assert!(is_within_max_deliveries(&held(1, 1), &rules(1)));
        assert!(!is_within_max_deliveries(&held(1, 1), &rules(0)));
    }

    #[test]
    fn a_repeated_or_falling_sequence_number_is_found() {
        assert!(is_in_order(&[held(1, 1), held(3, 2)]));
        assert!(!is_in_order(&[held(1, 1), held(1, 2)]));
        assert!(!is_in_order(&[held(2, 1), held(1, 2)]));
    }

    #[test]
    fn leaving_a_terminal_state_is_found() {
        let at = Timestamp::from_millis(5);
        let ended = message(1, MessageState::Completed { at });
        assert!(is_step_lawful(&held(1, 1), &ended));
        assert!(is_step_lawful(&ended, &ended));
        assert!(!is_step_lawful(&ended, &message(1, MessageState::Enqueued)));
        assert!(!is_step_lawful(&held(1, 1), &held(2, 1)));
    }
}
