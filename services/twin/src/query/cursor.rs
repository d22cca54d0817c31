//! Continuations: where a walk through a result stands.
//!
//! A continuation is bound to its hub and the text of its query by a digest over all three, so that
//! one of another query, or a damaged one, is refused. It holds no secret and opens nothing: what
//! a made-up one leads to are rows that the same caller may ask for without it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use downlink_domain::ErrorCode;
use downlink_domain::id::DeviceKey;
use downlink_domain::job::JobKey;
use downlink_ports::{DeviceJobPlace, PeerError, QueryCall};
use downlink_query::GroupDigest;
use sha2::{Digest, Sha256};

use crate::error::refused;

/// The last row that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A twin.
    Row(DeviceKey),
    /// A group.
    Group(GroupDigest),
    /// A row about a job.
    Job(DeviceJobPlace),
}

/// Where a walk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// `None` at the beginning.
    pub(super) place: Option<Place>,
    /// How many rows TOP still allows; `None` without TOP.
    pub(super) left: Option<u64>,
}

/// Says how a continuation is written.
const FORM: u8 = 1;
/// Length of a place.
const PLACE: usize = 16;
/// Form, kind of place, whether there is TOP, rows left, place.
const BODY: usize = 1 + 1 + 1 + 8 + PLACE;
/// Length of the digest.
const SEAL: usize = 16;

/// The refusal of a continuation.
pub(super) fn unknown() -> PeerError {
    let text = "the continuation is not one of this query";
    refused(ErrorCode::ArgumentInvalid, text)
}

impl Cursor {
    /// The text of a continuation of this call.
    pub(super) fn write(self, call: &QueryCall) -> String {
        let (kind, place) = match self.place {
            None => (0, [0; PLACE]),
            Some(Place::Row(key)) => (1, pair(key.0, 0)),
            Some(Place::Group(digest)) => (2, digest.0),
            Some(Place::Job(place)) => (3, pair(place.job.0, place.device.0)),
        };
        let mut bytes = Vec::with_capacity(BODY + SEAL);
        bytes.extend([FORM, kind, u8::from(self.left.is_some())]);
        bytes.extend(self.left.unwrap_or(0).to_be_bytes());
        bytes.extend(place);
        let seal = seal(&bytes, call);
        bytes.extend(seal);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads what [`Self::write`] wrote for the same hub and text.
    pub(super) fn read(text: &str, call: &QueryCall) -> Result<Self, PeerError> {
        Self::parse(text, call).ok_or_else(unknown)
    }

    fn parse(text: &str, call: &QueryCall) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (body, sealed) = bytes.split_at_checked(BODY)?;
        if seal(body, call) != *sealed {
            return None;
        }
        let (head, rest) = body.split_at_checked(3)?;
        let (left, place) = rest.split_first_chunk()?;
        let place: [u8; PLACE] = place.try_into().ok()?;
        let [FORM, kind, has_left] = *head else {
            return None;
        };
        let place = match kind {
            0 => None,
            1 => Some(Place::Row(DeviceKey(halves(place).0))),
            2 => Some(Place::Group(GroupDigest(place))),
            3 => {
                let (job, device) = halves(place);
                let (job, device) = (JobKey(job), DeviceKey(device));
                Some(Place::Job(DeviceJobPlace { job, device }))
            }
            _ => return None,
        };
        let left = (has_left == 1).then(|| u64::from_be_bytes(*left));
        Some(Self { place, left })
    }
}

fn pair(first: i64, second: i64) -> [u8; PLACE] {
    let both = (u128::from(first.cast_unsigned()) << 64) | u128::from(second.cast_unsigned());
    both.to_be_bytes()
}

#[expect(clippy::cast_possible_truncation, reason = "one half after the other")]
fn halves(place: [u8; PLACE]) -> (i64, i64) {
    let both = u128::from_be_bytes(place);
    let (first, second) = ((both >> 64) as u64, both as u64);
    (first.cast_signed(), second.cast_signed())
}

fn seal(body: &[u8], call: &QueryCall) -> [u8; SEAL] {
    let mut hash = Sha256::new();
    hash.update(body);
    hash.update(call.hub.as_str());
    // No name of a hub holds it, so the two cannot run into each other.
    hash.update([0]);
    hash.update(&call.text);
    let mut seal = [0; SEAL];
    for (to, from) in seal.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    seal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(hub: &str, text: &str) -> QueryCall {
        QueryCall {
            hub: hub.parse().unwrap(),
            text: text.to_owned(),
            page_size: 1,
            continuation: None,
        }
    }

    #[test]
    fn a_continuation_reads_back_for_its_own_query_alone() {
        let own = call("hub", "SELECT * FROM devices");
        for place in [
            Place::Row(DeviceKey(-7)),
            Place::Group(GroupDigest([9; 16])),
            Place::Job(DeviceJobPlace {
                job: JobKey(1),
                device: DeviceKey(i64::MIN),
            }),
        ] {
            for left in [None, Some(0), Some(u64::MAX)] {
                let place = Some(place);
                let cursor = Cursor { place, left };
                let text = cursor.write(&own);
                assert!(text.len() <= downlink_ports::MAX_CONTINUATION);
                assert_eq!(Cursor::read(&text, &own), Ok(cursor));
                for other in [
                    call("hub2", "SELECT * FROM devices"),
                    call("hub", "SELECT * FROM devices "),
                ] {
                    assert_eq!(Cursor::read(&text, &other), Err(unknown()));
                }
                let mut broken = text.clone();
                broken.replace_range(4..5, if &text[4..5] == "A" { "B" } else { "A" });
                assert_eq!(Cursor::read(&broken, &own), Err(unknown()));
                assert_eq!(Cursor::read(&text[1..], &own), Err(unknown()));
            }
        }
    }

    #[test]
    fn what_is_no_continuation_is_refused() {
        let own = call("hub", "SELECT * FROM devices");
        for text in ["", "x", "é", &"A".repeat(58), &"A".repeat(1000)] {
            assert_eq!(Cursor::read(text, &own), Err(unknown()));
        }
    }
}
