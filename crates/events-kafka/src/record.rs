//! An event as a record of a topic.

use std::borrow::Cow;
use std::fmt::Write;

use downlink_domain::event::{Event, EventKind};
use rdkafka::message::{Header, OwnedHeaders};

use crate::cloud_event;
use crate::options::EventForm;

/// Every kind, in the order of [`Topics`].
pub(crate) const KINDS: [EventKind; 6] = EventKind::ALL;

/// The header that says what the value is.
const CONTENT_TYPE: &str = "content-type";
/// Headers that we write ourselves.
const OWN: [&str; 3] = ["id", "type", "hub"];

/// The names of the topics.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    names: [String; KINDS.len()],
    /// How events are written to them.
    pub(crate) form: EventForm,
}

impl Topics {
    pub(crate) fn new(prefix: &str, form: EventForm) -> Self {
        let names = KINDS.map(|kind| format!("{prefix}.{}", kind.as_str()));
        Self { names, form }
    }

    pub(crate) fn of(&self, kind: EventKind) -> &str {
        &self.names[place(kind)]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (EventKind, &str)> {
        KINDS.into_iter().zip(self.names.iter().map(String::as_str))
    }
}

/// A place for each kind.
pub(crate) const fn place(kind: EventKind) -> usize {
    match kind {
        EventKind::Telemetry => 0,
        EventKind::Feedback => 1,
        EventKind::TwinChange => 2,
        EventKind::DeviceLifecycle => 3,
        EventKind::Connection => 4,
        EventKind::Audit => 5,
    }
}

/// The key: who the event is about, an identity or the hub.
pub(crate) fn key(event: &Event) -> String {
    match (&event.device, &event.module) {
        (None, _) => event.hub.as_str().to_owned(),
        (Some(device), None) => device.as_str().to_owned(),
        (Some(device), Some(module)) => format!("{}/{}", device.as_str(), module.as_str()),
    }
}

/// What the record holds.
pub(crate) fn value(event: &Event, form: EventForm) -> Cow<'_, [u8]> {
    match form {
        EventForm::Plain => Cow::Borrowed(&event.body),
        EventForm::CloudEvents => {
            let text = cloud_event::text(event, &uuid_text(event.id));
            Cow::Owned(text.into_bytes())
        }
    }
}

pub(crate) fn headers(event: &Event, form: EventForm) -> OwnedHeaders {
    let capacity = OWN.len() + event.properties.len();
    let id = uuid_text(event.id);
    let own = [&id, event.kind.as_str(), event.hub.as_str()];
    let mut headers = OwnedHeaders::new_with_capacity(capacity);
    for (key, value) in OWN.into_iter().zip(own) {
        let value = Some(value);
        headers = headers.insert(Header { key, value });
    }
    for (name, value) in &event.properties {
        let is_replaced = form == EventForm::CloudEvents && name == CONTENT_TYPE;
        let value = Some(if is_replaced {
            cloud_event::MEDIA_TYPE
        } else {
            value.as_str()
        });
        headers = if OWN.contains(&name.as_str()) {
            let key = &format!("property.{name}");
            headers.insert(Header { key, value })
        } else {
            headers.insert(Header { key: name, value })
        };
    }
    let is_said = |(name, _): &(String, String)| name == CONTENT_TYPE;
    if form == EventForm::CloudEvents && !event.properties.iter().any(is_said) {
        let (key, value) = (CONTENT_TYPE, Some(cloud_event::MEDIA_TYPE));
        headers = headers.insert(Header { key, value });
    }
    headers
}

/// The id in the usual form of a UUID.
fn uuid_text(id: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in id.into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use downlink_domain::Timestamp;
    use downlink_domain::id::DeviceKey;
    use rdkafka::message::Headers;

    use super::*;

    fn event(properties: &[(&str, &str)]) -> Event {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Event {
            id: std::array::from_fn(|at| u8::try_from(at * 17).unwrap()),
            hub: "hub.example".parse().unwrap(),
            device_key: DeviceKey(1),
            device: Some("dev-1".parse().unwrap()),
            module: None,
            kind: EventKind::TwinChange,
            at: Timestamp::from_millis(0),
            properties: properties.iter().map(owned).collect(),
            body: Bytes::new(),
        }
    }

    #[test]
    fn each_kind_has_its_topic() {
        let topics = Topics::new("downlink", EventForm::Plain);
        for (at, (kind, name)) in topics.all().enumerate() {
            assert_eq!(place(kind), at);
            assert_eq!(topics.of(kind), name);
        }
        assert_eq!(
            topics.of(EventKind::DeviceLifecycle),
            "downlink.device-lifecycle"
        );
    }

    #[test]
    fn a_module_has_a_key_of_its_own() {
        let mut event = event(&[]);
        assert_eq!(key(&event), "dev-1");
        event.module = Some("mod".parse().unwrap());
        assert_eq!(key(&event), "dev-1/mod");
    }

    #[test]
    fn an_event_of_the_hub_has_the_hub_as_its_key() {
        let event = Event {
            device_key: Event::HUB_KEY,
            device: None,
            kind: EventKind::Audit,
            ..event(&[])
        };
        assert_eq!(key(&event), "hub.example");
    }

    #[test]
    fn a_cloud_event_says_that_it_is_one() {
        for properties in [&[("content-type", "application/json")][..], &[]] {
            let event = event(properties);
            let headers = headers(&event, EventForm::CloudEvents);
            let said: Vec<_> = headers
                .iter()
                .filter(|header| header.key == "content-type")
                .map(|header| header.value.unwrap())
                .collect();
            assert_eq!(said, [cloud_event::MEDIA_TYPE.as_bytes()]);
            let value = value(&event, EventForm::CloudEvents);
            let read: serde_json::Value = serde_json::from_slice(&value).unwrap();
            assert_eq!(read["id"], "00112233-4455-6677-8899-aabbccddeeff");
        }
    }

    #[test]
    fn properties_follow_our_headers_and_do_not_hide_them() {
        let event = event(&[("b", "\u{1f321}"), ("id", "mine"), ("", "")]);
        let headers = headers(&event, EventForm::Plain);
        let read: Vec<_> = headers
            .iter()
            .map(|header| (header.key, header.value.unwrap()))
            .collect();
        let expected: [(&str, &[u8]); 6] = [
            ("id", b"00112233-4455-6677-8899-aabbccddeeff"),
            ("type", b"twin-changes"),
            ("hub", b"hub.example"),
            ("b", "\u{1f321}".as_bytes()),
            ("property.id", b"mine"),
            ("", b""),
        ];
        assert_eq!(read, expected);
    }
}
