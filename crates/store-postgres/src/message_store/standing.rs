//! Where stored messages stand.

use downlink_domain::id::{DeviceId, DeviceKey, GenerationId, HubName, SequenceNumber};
use downlink_domain::message::transition::Standing;
use downlink_domain::message::{AckMode, Lock, MessageState};
use downlink_ports::StoreError;
use sqlx::postgres::PgRow;

use crate::fields::Fields;

/// Primary key of a message.
pub(super) type Place = (DeviceKey, SequenceNumber);

/// A stored message without its payload.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) place: Place,
    pub(super) standing: Standing,
    pub(super) message_id: Option<String>,
    /// Whose it is; `None` when the identity is gone.
    pub(super) owner: Option<Owner>,
}

/// The device as a feedback record names it.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) hub: HubName,
    pub(super) device: DeviceId,
    pub(super) generation: GenerationId,
}

/// Reads the key of a row of `messages`.
pub(super) fn place(row: &Fields<'_>) -> Result<Place, StoreError> {
    let sequence = SequenceNumber(row.number("sequence")?);
    Ok((DeviceKey(row.get("device_key")?), sequence))
}

/// Reads the columns that transitions work on.
pub(super) fn standing(row: &Fields<'_>) -> Result<Standing, StoreError> {
    let token = row.token("lock_token")?;
    let until: Option<i64> = row.get("locked_until")?;
    let state = match (token, until) {
        (None, None) => MessageState::Enqueued,
        (Some(token), Some(until)) => MessageState::Invisible {
            lock: Lock {
                token,
                until: downlink_domain::Timestamp::from_millis(until),
            },
        },
        (Some(_), None) | (None, Some(_)) => return Err(row.corrupt("locked_until")),
    };
    Ok(Standing {
        expiry: row.instant("expiry")?,
        delivery_count: row.number("delivery_count")?,
        ack: row.parse("ack", ack_of)?,
        state,
    })
}

/// Reads a row with the columns of `find_due`.
pub(super) fn stored(row: &PgRow) -> Result<Stored, StoreError> {
    let row = Fields::new(row, "messages", "sequence");
    let hub: Option<String> = row.get("hub")?;
    let owner = match hub {
        None => None,
        Some(_) => Some(Owner {
            hub: row.text("hub")?,
            device: row.text("device_id")?,
            generation: GenerationId(row.number("generation")?),
        }),
    };
    Ok(Stored {
        place: place(&row)?,
        standing: standing(&row)?,
        message_id: row.get("message_id")?,
        owner,
    })
}

/// The token that holds a message.
pub(super) fn token(standing: &Standing) -> Option<downlink_domain::id::LockToken> {
    match standing.state {
        MessageState::Invisible { lock } => Some(lock.token),
        MessageState::Enqueued
        | MessageState::Completed { .. }
        | MessageState::DeadLettered { .. } => None,
    }
}

/// A delivery count as it is stored.
pub(super) fn count_number(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The number under which an ack mode is stored: a bit for each kind of outcome, which statements
/// test.
pub(super) fn ack_number(ack: AckMode) -> i16 {
    match ack {
        AckMode::None => 0,
        AckMode::Positive => HEARS_OF_COMPLETION,
        AckMode::Negative => HEARS_OF_FAILURE,
        AckMode::Full => HEARS_OF_COMPLETION | HEARS_OF_FAILURE,
    }
}

/// The bit of senders that want to hear of completion.
pub(super) const HEARS_OF_COMPLETION: i16 = 1;
/// The bit of senders that want to hear of dead-lettering and purge.
pub(super) const HEARS_OF_FAILURE: i16 = 2;

fn ack_of(number: i16) -> Option<AckMode> {
    match number {
        0 => Some(AckMode::None),
        1 => Some(AckMode::Positive),
        2 => Some(AckMode::Negative),
        3 => Some(AckMode::Full),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use downlink_domain::message::feedback::FeedbackStatus;

    use super::*;

    #[test]
    fn stored_ack_modes_read_back_and_their_bits_say_who_hears_of_what() {
        for ack in [
            AckMode::None,
            AckMode::Positive,
            AckMode::Negative,
            AckMode::Full,
        ] {
            let number = ack_number(ack);
            assert_eq!(ack_of(number), Some(ack));
            for status in [
                FeedbackStatus::Success,
                FeedbackStatus::Expired,
                FeedbackStatus::DeliveryCountExceeded,
                FeedbackStatus::Rejected,
                FeedbackStatus::Purged,
            ] {
                let bit = match status {
                    FeedbackStatus::Success => HEARS_OF_COMPLETION,
                    _ => HEARS_OF_FAILURE,
                };
                assert_eq!(number & bit != 0, status.is_wanted_by(ack));
            }
        }
        assert_eq!(ack_of(4), None);
    }
}
