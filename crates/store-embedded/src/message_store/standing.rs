//! Where stored messages stand.

use downlink_domain::id::{DeviceId, DeviceKey, GenerationId, HubName, SequenceNumber};
use downlink_domain::message::transition::Standing;
use downlink_domain::message::{AckMode, Lock, MessageState};
use downlink_ports::StoreError;
use sqlx::sqlite::SqliteRow;

use crate::fields::Fields;

/// Primary key of a message.
pub(super) type Place = (DeviceKey, SequenceNumber);

/// A stored message without its payload.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) place: Place,
    pub(super) standing: Standing,
    pub(super) message_id: Option<String>,
    /// Whose it is; read only when its sender wants to hear of an outcome.
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

/// Reads a row of `find_standings` and its kin.
pub(super) fn stored(row: &SqliteRow) -> Result<Stored, StoreError> {
    let row = Fields::new(row, "messages", "sequence");
    let standing = standing(&row)?;
    let owner = match standing.ack {
        AckMode::None => None,
        AckMode::Positive | AckMode::Negative | AckMode::Full => Some(Owner {
            hub: row.text("hub")?,
            device: row.text("device_id")?,
            generation: GenerationId(row.number("generation")?),
        }),
    };
    Ok(Stored {
        place: place(&row)?,
        standing,
        message_id: row.get("message_id")?,
        owner,
    })
}

/// The number under which an ack mode is stored.
pub(super) fn ack_number(ack: AckMode) -> i64 {
    match ack {
        AckMode::None => 0,
        AckMode::Positive => 1,
        AckMode::Negative => 2,
        AckMode::Full => 3,
    }
}

fn ack_of(number: i64) -> Option<AckMode> {
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
    use super::*;

    #[test]
    fn stored_numbers_of_ack_modes_read_back() {
        for ack in [
            AckMode::None,
            AckMode::Positive,
            AckMode::Negative,
            AckMode::Full,
        ] {
            assert_eq!(ack_of(ack_number(ack)), Some(ack));
        }
        assert_eq!(ack_of(4), None);
    }
}
