//! The stored form of a persistent session: its subscriptions (mqtt.md §4.1).
//!
//! One byte of version, then for each subscription one byte of granted quality of service, two bytes of
//! length and the filter's text. The store keeps the bytes without reading them.

use bytes::{BufMut, Bytes, BytesMut};
use downlink_mqtt::packet::Qos;
use downlink_mqtt::session::StoredSubscription;
use thiserror::Error;

const VERSION: u8 = 1;

/// Stored bytes that are no session of this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the stored session cannot be read")]
pub(super) struct UnreadableSession;

/// Writes a session; nothing to store when there is no subscription.
pub(super) fn encode(subscriptions: &[StoredSubscription]) -> Option<Bytes> {
    if subscriptions.is_empty() {
        return None;
    }
    let mut bytes = BytesMut::new();
    bytes.put_u8(VERSION);
    for subscription in subscriptions {
        // A filter came in an MQTT field, which is never longer than two bytes can say.
        let length = u16::try_from(subscription.filter.len()).unwrap_or(u16::MAX);
        bytes.put_u8(subscription.qos.level());
        bytes.put_u16(length);
        bytes.put_slice(subscription.filter.as_bytes());
    }
    Some(bytes.freeze())
}

/// Reads what [`encode`] has written.
///
/// # Errors
/// [`UnreadableSession`] for everything else.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<StoredSubscription>, UnreadableSession> {
    let [VERSION, rest @ ..] = bytes else {
        return Err(UnreadableSession);
    };
    let mut rest = rest;
    let mut subscriptions = Vec::new();
    while let [level, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (filter, next) = tail.split_at_checked(length).ok_or(UnreadableSession)?;
        let filter = std::str::from_utf8(filter)
            .map_err(|_| UnreadableSession)?
            .to_owned();
        let qos = Qos::from_level(*level).ok_or(UnreadableSession)?;
        subscriptions.push(StoredSubscription { filter, qos });
        rest = next;
    }
    if rest.is_empty() {
        Ok(subscriptions)
    } else {
        Err(UnreadableSession)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriptions() -> Vec<StoredSubscription> {
        [
            ("devices/dev-1/messages/devicebound/#", Qos::AtLeastOnce),
            ("$iothub/twin/res/#", Qos::AtMostOnce),
        ]
        .map(|(filter, qos)| StoredSubscription {
            filter: filter.to_owned(),
            qos,
        })
        .to_vec()
    }

    #[test]
    fn a_session_comes_back_as_it_was_stored() {
        let stored = encode(&subscriptions()).unwrap();
        assert_eq!(decode(&stored), Ok(subscriptions()));
    }

    #[test]
    fn the_stored_form_does_not_change() {
        let one = [StoredSubscription {
            filter: "a/#".to_owned(),
            qos: Qos::AtLeastOnce,
        }];
        assert_eq!(encode(&one).unwrap(), &b"\x01\x01\x00\x03a/#"[..]);
    }

    #[test]
    fn nothing_is_stored_without_subscriptions() {
        assert_eq!(encode(&[]), None);
    }

    #[test]
    fn cut_or_foreign_bytes_are_refused() {
        let stored = encode(&subscriptions()).unwrap();
        let whole: Vec<usize> = (0..=stored.len())
            .filter(|cut| decode(&stored[..*cut]).is_ok())
            .collect();
        assert_eq!(
            whole,
            [1, 1 + 3 + 36, stored.len()],
            "only whole subscriptions are read"
        );
        assert_eq!(decode(b"\x02"), Err(UnreadableSession));
        assert_eq!(decode(b"\x01\x03\x00\x01a"), Err(UnreadableSession));
        assert_eq!(decode(b"\x01\x01\x00\x01\xff"), Err(UnreadableSession));
    }
}
