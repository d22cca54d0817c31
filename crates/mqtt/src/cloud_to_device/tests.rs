use super::*;
use crate::property_bag::PropertyBag;

const NOTHING: [(&str, &str); 0] = [];

#[track_caller]
fn bag_of(topic: &str, device_id: &str) -> PropertyBag {
    let prefix = format!("devices/{device_id}/messages/devicebound/");
    PropertyBag::parse(topic.strip_prefix(&prefix).unwrap()).unwrap()
}

#[test]
fn recorded_topics_of_the_service_are_reproduced() {
    let properties = MessageProperties {
        to: Some("/devices/dev1/messages/deviceBound"),
        ..MessageProperties::default()
    };
    assert_eq!(
        topic("dev1", &properties, [("computerId", "111")]).unwrap(),
        "devices/dev1/messages/devicebound/%24.to=%2Fdevices%2Fdev1%2Fmessages%2FdeviceBound\
         &computerId=111"
    );
    let properties = MessageProperties {
        message_id: Some("f618"),
        ..MessageProperties::default()
    };
    assert_eq!(
        topic("dev1", &properties, [("key1", "value1")]).unwrap(),
        "devices/dev1/messages/devicebound/%24.mid=f618\
         &%24.to=%2Fdevices%2Fdev1%2Fmessages%2Fdevicebound&key1=value1"
    );
    let properties = MessageProperties {
        content_type: Some("text/plain; charset=UTF-8"),
        content_encoding: Some("utf-8"),
        ..MessageProperties::default()
    };
    assert_eq!(
        topic("dev1", &properties, [("bbb", "bbbb")]).unwrap(),
        "devices/dev1/messages/devicebound/%24.to=%2Fdevices%2Fdev1%2Fmessages%2Fdevicebound\
         &%24.ct=text%2Fplain%3B%20charset%3DUTF-8&%24.ce=utf-8&bbb=bbbb"
    );
}

#[test]
fn every_property_has_its_place_in_the_order() {
    let properties = MessageProperties {
        message_id: Some("m"),
        correlation_id: Some("c"),
        user_id: Some("u"),
        to: Some("t"),
        expiry_ms: Some(1_704_067_200_000),
        creation_time_ms: Some(1_704_067_199_007),
        content_type: Some("ct"),
        content_encoding: Some("ce"),
        ack: Some(FeedbackRequest::Full),
    };
    assert_eq!(
        topic("d", &properties, [("z", "1"), ("a", "2")]).unwrap(),
        "devices/d/messages/devicebound/%24.mid=m&%24.cid=c&%24.uid=u&%24.to=t\
         &%24.exp=2024-01-01T00%3A00%3A00.0000000Z&%24.ctime=2023-12-31T23%3A59%3A59.0070000Z\
         &%24.ct=ct&%24.ce=ce&iothub-ack=full&z=1&a=2"
    );
}

#[test]
fn a_message_without_properties_still_says_where_it_goes() {
    assert_eq!(
        topic("dev1", &MessageProperties::default(), NOTHING).unwrap(),
        "devices/dev1/messages/devicebound/%24.to=%2Fdevices%2Fdev1%2Fmessages%2Fdevicebound"
    );
    let empty = MessageProperties {
        to: Some(""),
        ..MessageProperties::default()
    };
    assert!(
        topic("dev1", &empty, NOTHING)
            .unwrap()
            .ends_with("%2Fdevicebound")
    );
}

#[test]
fn ids_are_raw_in_the_path_and_encoded_in_the_bag() {
    let id = "aZ09-:.+%_#*?!(),=@;$'";
    assert_eq!(
        topic(id, &MessageProperties::default(), NOTHING).unwrap(),
        format!(
            "devices/{id}/messages/devicebound/%24.to=%2Fdevices%2FaZ09-%3A.%2B%25_%23%2A%3F%21%28%29\
             %2C%3D%40%3B%24%27%2Fmessages%2Fdevicebound"
        )
    );
}

#[test]
fn separators_and_text_beyond_ascii_survive_in_keys_and_values() {
    let hostile = "=&/+% ü\u{1F600}#?";
    let made = topic("dev1", &MessageProperties::default(), [(hostile, hostile)]).unwrap();
    assert_eq!(bag_of(&made, "dev1").get(hostile), Some(hostile));
    assert_eq!(made.matches('/').count(), 4, "only the path has slashes");
    assert!(!made.contains(['+', '#', ' ']));
}

#[test]
fn an_empty_value_is_sent_because_the_sender_set_it() {
    let made = topic("d", &MessageProperties::default(), [("a", ""), ("b", "1")]).unwrap();
    assert!(made.ends_with("&a=&b=1"), "{made}");
}

#[test]
fn application_properties_cannot_pass_for_system_properties() {
    let forged = [
        ("$.exp", "soon"),
        ("iothub-ack", "maybe"),
        ("", "x"),
        ("$x", "1"),
    ];
    let made = topic("d", &MessageProperties::default(), forged).unwrap();
    assert_eq!(
        made,
        "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2Fdevicebound&%24x=1"
    );
}

#[test]
fn times_keep_seven_digits_over_the_whole_range() {
    assert_eq!(round_trip_text(0).unwrap(), "1970-01-01T00:00:00.0000000Z");
    assert_eq!(round_trip_text(1).unwrap(), "1970-01-01T00:00:00.0010000Z");
    assert_eq!(round_trip_text(-1).unwrap(), "1969-12-31T23:59:59.9990000Z");
    assert_eq!(
        round_trip_text(253_402_300_799_999).unwrap(),
        "9999-12-31T23:59:59.9990000Z"
    );
    assert_eq!(round_trip_text(i64::MAX), None);
}

#[test]
fn a_topic_over_mqtts_length_is_an_error() {
    let fitting = "v".repeat(60_000);
    assert!(
        topic(
            "d",
            &MessageProperties::default(),
            [("a", fitting.as_str())]
        )
        .is_ok()
    );
    let growing = "/".repeat(30_000);
    let outcome = topic(
        "d",
        &MessageProperties::default(),
        [("a", growing.as_str())],
    );
    assert!(matches!(outcome, Err(TopicTooLong { bytes }) if bytes > 90_000));
}
