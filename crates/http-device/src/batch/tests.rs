use proptest::prelude::*;

use super::*;
use crate::property::{Name, System};

const PATH: &str = "/devices/d/messages/events";
const BOUNDS: Bounds = Bounds {
    max_messages: 3,
    max_message_bytes: 64,
};

fn all(text: &str) -> Result<Vec<Message>, Malformed> {
    read(text.as_bytes(), PATH, BOUNDS)
}

fn message(body: &'static str, properties: &[(Name, &str)]) -> Message {
    let owned = |(name, value): &(Name, &str)| (name.clone(), (*value).to_owned());
    Message {
        properties: properties.iter().map(owned).collect(),
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn application(name: &str) -> Name {
    Name::Application(name.to_owned())
}

#[test]
fn a_batch_of_node_leaves_the_flag_out_and_sends_base64() {
    let text = r#"[{"body":"aGVsbG8=","properties":{"IoTHub-MessageId":"1","iothub-app-tempAlert":"true"}},
        {"body":"d29ybGQ="}]"#;
    let properties = [
        (Name::System(System::MessageId), "1"),
        (application("tempAlert"), "true"),
    ];
    let expected = [message("hello", &properties), message("world", &[])];
    assert_eq!(all(text).unwrap(), expected);
}

#[test]
fn a_batch_of_java_sets_the_flag() {
    let text = r#"[{"body":"aGVsbG8=","base64Encoded":true,
        "properties":{"iothub-app-a":"b","iothub-creation-time-utc":"2026-01-05T09:12:31Z"}}]"#;
    let properties = [
        (application("a"), "b"),
        (Name::System(System::CreationTime), "2026-01-05T09:12:31Z"),
    ];
    assert_eq!(all(text).unwrap(), [message("hello", &properties)]);
}

#[test]
fn a_batch_of_c_has_text_as_it_stands_and_bytes_in_base64() {
    let text = r#"[{"body":"say \"hi\" \u00e9","base64Encoded":false,"properties":{"iothub-app-k":"v"}},
        {"body":"aGVsbG8="}]"#;
    let expected = [
        message("say \"hi\" é", &[(application("k"), "v")]),
        message("hello", &[]),
    ];
    assert_eq!(all(text).unwrap(), expected);
}

#[test]
fn what_repeats_the_path_or_means_nothing_is_passed_over() {
    let text = r#"[{"x":{"y":[1]},"body":"","base64Encoded":null,
        "properties":{"iothub-to":"/devices/d/messages/events","other":"1"}},{"body":"YQ","properties":null}]"#;
    assert_eq!(all(text).unwrap(), [message("", &[]), message("a", &[])]);
}

#[test]
fn one_bad_message_spoils_the_batch() {
    let good = r#"{"body":"aGVsbG8="}"#;
    for bad in [
        "",
        "{}",
        "1",
        "[",
        "[{}]",
        r#"[{"body":1}]"#,
        r#"[{"body":null}]"#,
        r#"[{"body":"a","body":"b"}]"#,
        r#"[{"body":"","base64Encoded":"true"}]"#,
        r#"[{"body":"","properties":[]}]"#,
        r#"[{"body":"","properties":{"iothub-app-a":1}}]"#,
        r#"[{"body":"\ud800","base64Encoded":false}]"#,
        r#"[{"body":""}] x"#,
    ] {
        assert!(matches!(all(bad), Err(Malformed::Batch(_))), "{bad}");
    }
    let with = |second: &str| all(&format!("[{good},{second}]"));
    assert_eq!(with(r#"{"body":"a b"}"#), Err(Malformed::Base64(1)));
    let value = r#"{"body":"","properties":{"iothub-app-a":"b c"}}"#;
    assert_eq!(with(value), Err(Malformed::Value("a".into())));
    let nameless = r#"{"body":"","properties":{"iothub-app-":"b"}}"#;
    assert_eq!(with(nameless), Err(Malformed::Nameless));
    assert_eq!(all("[]"), Err(Malformed::Empty));
    assert!(matches!(
        read(b"[\xff]", PATH, BOUNDS),
        Err(Malformed::Batch(_))
    ));
}

#[test]
fn bounds_hold_for_the_batch_and_for_each_message() {
    let element = r#"{"body":"","base64Encoded":false}"#;
    let of = |count| all(&format!("[{}]", [element].repeat(count).join(",")));
    assert_eq!(of(3).unwrap().len(), 3);
    assert_eq!(of(4), Err(Malformed::TooMany(3)));
    let sized = |size| {
        let body = "x".repeat(size);
        all(&format!(
            r#"[{{"body":"{body}","base64Encoded":false,"properties":{{"iothub-app-ab":"cd"}}}}]"#
        ))
    };
    assert_eq!(sized(60).unwrap().len(), 1);
    assert_eq!(sized(61), Err(Malformed::TooLarge(64)));
    let deep = "[".repeat(100_000);
    assert!(matches!(all(&deep), Err(Malformed::Batch(_))));
    let nested = format!(r#"[{{"body":"","x":{deep}}}]"#);
    assert!(matches!(all(&nested), Err(Malformed::Batch(_))));
}

#[test]
fn the_content_type_matches_without_parameters_and_case() {
    for is in [
        "application/vnd.microsoft.iothub.json",
        "Application/vnd.microsoft.IotHub.json; charset=utf-8",
        " application/vnd.microsoft.iothub.json ;x",
    ] {
        assert!(is_batch(is.as_bytes()), "{is}");
    }
    for is_not in [
        "",
        "application/json",
        "application/vnd.microsoft.iothub.json2",
        "a;application/json",
    ] {
        assert!(!is_batch(is_not.as_bytes()), "{is_not}");
    }
}

proptest! {
    #[test]
    fn what_an_sdk_sends_arrives(
        messages in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..48), "[a-z]{1,4}", "[!-~&&[^\"\\\\(),/:;<=>?@\\[\\]{}]]{0,8}"),
            1..4,
        ),
    ) {
        let element = |(body, name, value): &(Vec<u8>, String, String)| serde_json::json!({
            "body": BASE64.encode(body),
            "properties": { format!("iothub-app-{name}"): value },
        });
        let text = serde_json::Value::Array(messages.iter().map(element).collect()).to_string();
        let read = all(&text).unwrap();
        prop_assert_eq!(read.len(), messages.len());
        for (read, (body, name, value)) in read.iter().zip(&messages) {
            prop_assert_eq!(&read.body[..], &body[..]);
            prop_assert_eq!(&read.properties, &[(application(name), value.clone())]);
        }
    }

    #[test]
    fn no_body_breaks_the_reader(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&body, PATH, BOUNDS);
    }
}
