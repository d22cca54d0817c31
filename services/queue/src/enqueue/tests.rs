use std::time::Duration;

use bytes::Bytes;
use downlink_domain::message::AckMode;

use super::*;

const NOW: i64 = 1_767_604_351_412;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

fn message() -> NewMessage {
    NewMessage {
        hub: "hub.example".parse().unwrap(),
        device: "boiler-7".parse().unwrap(),
        properties: Properties::default(),
        ack: AckMode::None,
        expiry: None,
        body: Bytes::from_static(b"open"),
    }
}

fn with(change: impl FnOnce(&mut Properties)) -> NewMessage {
    let mut message = message();
    change(&mut message.properties);
    message
}

#[track_caller]
fn checked(message: NewMessage) -> Result<NewMessage, EnqueueError> {
    check(message, &QueueOptions::default(), now())
}

#[track_caller]
fn assert_invalid_property(message: NewMessage) {
    let refused = checked(message);
    assert!(
        matches!(refused, Err(EnqueueError::InvalidProperty(_))),
        "{refused:?}"
    );
}

#[test]
fn a_message_without_expiry_lives_for_the_default() {
    let expiry = checked(message()).unwrap().expiry;
    assert_eq!(expiry, Some(now() + Duration::from_hours(1)));
}

#[test]
fn an_expiry_must_lie_ahead_but_not_beyond_two_days() {
    let two_days = Duration::from_hours(48);
    let expiring = |expiry| {
        let asked = NewMessage {
            expiry: Some(expiry),
            ..message()
        };
        checked(asked).map(|message| message.expiry.unwrap())
    };
    let soon = now() + Duration::from_millis(1);
    assert_eq!(expiring(soon), Ok(soon));
    assert_eq!(expiring(now()), Err(EnqueueError::InvalidExpiry));
    assert_eq!(
        expiring(now() - Duration::from_hours(1)),
        Err(EnqueueError::InvalidExpiry)
    );
    assert_eq!(expiring(now() + two_days), Ok(now() + two_days));
    let skewed = now() + two_days + CLOCK_SKEW;
    assert_eq!(expiring(skewed), Ok(now() + two_days));
    let too_far = skewed + Duration::from_millis(1);
    assert_eq!(expiring(too_far), Err(EnqueueError::InvalidExpiry));
}

#[test]
fn body_and_properties_count_towards_the_size() {
    let sized = |body: usize| {
        let mut message = with(|properties| {
            properties.application = vec![("name".to_owned(), "value".to_owned())];
            properties.message_id = Some("m-1".to_owned());
        });
        message.body = Bytes::from(vec![0; body]);
        checked(message)
    };
    let properties = 4 + 5 + 3;
    assert!(sized(64 * 1024 - properties).is_ok());
    let refused = sized(64 * 1024 - properties + 1);
    assert_eq!(
        refused,
        Err(EnqueueError::TooLarge {
            bytes: 64 * 1024 + 1,
            max_bytes: 64 * 1024
        })
    );
}

#[test]
fn a_message_id_keeps_its_alphabet_and_length() {
    let with_id = |id: &str| with(|properties| properties.message_id = Some(id.to_owned()));
    let every = "azAZ09-:.+%_#*?!(),=@;$'";
    assert!(checked(with_id(every)).is_ok());
    assert!(checked(with_id(&"x".repeat(128))).is_ok());
    assert_invalid_property(with_id(&"x".repeat(129)));
    assert_invalid_property(with_id("a b"));
    assert_invalid_property(with_id("é"));
}

#[test]
fn an_empty_message_id_stands_for_none() {
    let message = with(|properties| properties.message_id = Some(String::new()));
    assert_eq!(checked(message).unwrap().properties.message_id, None);
}

#[test]
fn property_names_keep_their_alphabet() {
    let named = |name: &str| {
        with(|properties| properties.application = vec![(name.to_owned(), "1".to_owned())])
    };
    assert!(checked(named("a!#$%&'*+-.^_`~|Z9")).is_ok());
    for name in ["", "a b", "a/b", "a=b", "é", "a\n", "$.mid"] {
        assert_invalid_property(named(name));
    }
}

#[test]
fn property_values_are_free_text_without_control_characters() {
    let valued = |value: &str| {
        with(|properties| properties.application = vec![("n".to_owned(), value.to_owned())])
    };
    assert!(checked(valued("{\"a\": [1, 2]} / été")).is_ok());
    assert!(checked(valued("")).is_ok());
    assert_invalid_property(valued("a\r\nb"));
    assert_invalid_property(valued("\0"));
    assert_invalid_property(with(|properties| {
        properties.content_type = Some("text/plain\r\nx: y".to_owned());
    }));
}
