//! The topic of a cloud-to-device message: its properties, in the one encoding every SDK reads (mqtt.md §8.1).

use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::limits::MAX_FIELD_BYTES;
use crate::property_bag::push_encoded;

/// Seven fraction digits exactly: one SDK parses no other form and faults the connection (rule 6).
const ROUND_TRIP: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");

/// The properties of a message that a device sees over MQTT; what is not here is not in the bag (rule 9).
#[derive(Debug, Clone, Copy, Default)]
pub struct MessageProperties<'a> {
    /// `$.mid`.
    pub message_id: Option<&'a str>,
    /// `$.cid`.
    pub correlation_id: Option<&'a str>,
    /// `$.uid`.
    pub user_id: Option<&'a str>,
    /// `$.to`; when absent or empty, the device's own address stands in, for the bag is never empty (rules 3, 4).
    pub to: Option<&'a str>,
    /// `$.exp`, in milliseconds since the Unix epoch.
    pub expiry_ms: Option<i64>,
    /// `$.ctime`, in milliseconds since the Unix epoch.
    pub creation_time_ms: Option<i64>,
    /// `$.ct`.
    pub content_type: Option<&'a str>,
    /// `$.ce`.
    pub content_encoding: Option<&'a str>,
    /// `iothub-ack`; none asks for no feedback and is left out (rule 7).
    pub ack: Option<FeedbackRequest>,
}

/// Which ends of a message its sender wants to hear of, as `iothub-ack` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedbackRequest {
    /// `negative`.
    Negative,
    /// `positive`.
    Positive,
    /// `full`.
    Full,
}

impl FeedbackRequest {
    fn word(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Positive => "positive",
            Self::Full => "full",
        }
    }
}

/// A message whose encoded properties do not fit a topic; it cannot be delivered over MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("topic of {bytes} bytes is longer than MQTT allows")]
pub struct TopicTooLong {
    /// The length the topic would have.
    pub bytes: usize,
}

/// Builds `devices/{d}/messages/devicebound/{bag}`.
///
/// System properties come first, as `%24.xxx`, in the order of rule 10; application properties follow in the order
/// given. An application property without a name is left out, and so is one that would read as a system
/// property (`$.…`, `iothub-ack`): a device would take it for the hub's word, and some fault on it.
///
/// # Errors
/// [`TopicTooLong`] when the encoded form is over 65,535 bytes.
pub fn topic<'a>(
    device_id: &str,
    properties: &MessageProperties<'_>,
    application: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<String, TopicTooLong> {
    let mut topic = String::with_capacity(160);
    for part in ["devices/", device_id, "/messages/devicebound/"] {
        topic.push_str(part);
    }
    let mut bag = BagWriter {
        topic,
        is_first: true,
    };
    bag.push_system(device_id, properties);
    for (name, value) in application {
        if !name.is_empty() && !is_reserved(name) {
            bag.push(name, value);
        }
        if bag.topic.len() > MAX_FIELD_BYTES {
            break;
        }
    }
    match bag.topic.len() {
        bytes if bytes > MAX_FIELD_BYTES => Err(TopicTooLong { bytes }),
        _ => Ok(bag.topic),
    }
}

fn is_reserved(name: &str) -> bool {
    name.starts_with("$.") || name == "iothub-ack"
}

/// Formats milliseconds since the Unix epoch with seven fraction digits, or nothing beyond the year 9999.
fn round_trip_text(milliseconds: i64) -> Option<String> {
    let nanoseconds = i128::from(milliseconds).checked_mul(1_000_000)?;
    let instant = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?;
    instant.format(ROUND_TRIP).ok()
}

struct BagWriter {
    topic: String,
    is_first: bool,
}

impl BagWriter {
    fn push_system(&mut self, device_id: &str, properties: &MessageProperties<'_>) {
        self.push_some("$.mid", properties.message_id);
        self.push_some("$.cid", properties.correlation_id);
        self.push_some("$.uid", properties.user_id);
        match properties.to.filter(|to| !to.is_empty()) {
            Some(to) => self.push("$.to", to),
            None => self.push(
                "$.to",
                &format!("/devices/{device_id}/messages/devicebound"),
            ),
        }
        let expiry = properties.expiry_ms.and_then(round_trip_text);
        self.push_some("$.exp", expiry.as_deref());
        let creation_time = properties.creation_time_ms.and_then(round_trip_text);
        self.push_some("$.ctime", creation_time.as_deref());
        self.push_some("$.ct", properties.content_type);
        self.push_some("$.ce", properties.content_encoding);
        self.push_some("iothub-ack", properties.ack.map(FeedbackRequest::word));
    }

    fn push_some(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.push(key, value);
        }
    }

    fn push(&mut self, key: &str, value: &str) {
        if !std::mem::replace(&mut self.is_first, false) {
            self.topic.push('&');
        }
        push_encoded(&mut self.topic, key);
        self.topic.push('=');
        push_encoded(&mut self.topic, value);
    }
}

#[cfg(test)]
mod tests;
