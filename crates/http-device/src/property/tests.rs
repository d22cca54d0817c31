use proptest::prelude::*;

use super::*;

const PATH: &str = "/devices/Dev 1/messages/events";

fn read(headers: &[(&str, &str)]) -> Result<Vec<(Name, String)>, Malformed> {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    from_headers(headers, PATH)
}

fn application(name: &str, value: &str) -> (Name, String) {
    (Name::Application(name.to_owned()), value.to_owned())
}

fn system(name: System, value: &str) -> (Name, String) {
    (Name::System(name), value.to_owned())
}

#[test]
fn headers_of_node_are_read() {
    let headers = [
        ("Authorization", "SharedAccessSignature sr=a&sig=b&se=1"),
        ("iothub-to", "/devices/Dev%201/messages/events"),
        (
            "User-Agent",
            "azure-iot-device/1.18.4 (node v20; linux; x64)",
        ),
        ("iothub-app-temperatureAlert", "true"),
        ("IoTHub-MessageId", "m-1"),
        ("IoTHub-CorrelationId", "c-1"),
        ("IoTHub-UserId", "u-1"),
        ("IoTHub-To", "somewhere/else"),
        ("IoTHub-Expiry", "2026-01-05T09:12:31.412Z"),
        ("IoTHub-Ack", "full"),
        ("iothub-contenttype", "application/json"),
        ("iothub-contentencoding", "utf-8"),
        ("dt-subject", "thermostat"),
        ("Host", "hub.test"),
    ];
    let expected = [
        application("temperatureAlert", "true"),
        system(System::MessageId, "m-1"),
        system(System::CorrelationId, "c-1"),
        system(System::UserId, "u-1"),
        system(System::To, "somewhere/else"),
        system(System::Expiry, "2026-01-05T09:12:31.412Z"),
        system(System::Ack, "full"),
        system(System::ContentType, "application/json"),
        system(System::ContentEncoding, "utf-8"),
        system(System::Subject, "thermostat"),
    ];
    assert_eq!(read(&headers).unwrap(), expected);
}

#[test]
fn headers_of_java_csharp_and_c_are_read_and_both_creation_times_are_one() {
    let java = [
        ("content-type", "binary/octet-stream"),
        ("iothub-creation-time-utc", "2026-01-05T09:12:31Z"),
        ("iothub-interface-id", "urn:i"),
        ("iothub-messageid", "m"),
    ];
    let csharp = [
        ("iothub-creationtimeutc", "2026-01-05T09:12:31Z"),
        ("iothub-interface-id", "urn:i"),
        ("iothub-operation", "d2c"),
        ("iothub-messageid", "m"),
    ];
    let expected = [
        system(System::CreationTime, "2026-01-05T09:12:31Z"),
        system(System::InterfaceId, "urn:i"),
        system(System::MessageId, "m"),
    ];
    assert_eq!(read(&java).unwrap(), expected);
    assert_eq!(read(&csharp).unwrap(), expected);
    let both = [
        ("iothub-creationtimeutc", "1"),
        ("iothub-creation-time-utc", "2"),
        ("iothub-messageschema", "s"),
    ];
    let expected = [
        system(System::CreationTime, "1"),
        system(System::MessageSchema, "s"),
    ];
    assert_eq!(read(&both).unwrap(), expected);
    let c = [
        ("iothub-app-a", "1"),
        ("iothub-to", "/devices/Dev 1/messages/events"),
        ("Content-Type", "application/octet-stream"),
    ];
    assert_eq!(read(&c).unwrap(), [application("a", "1")]);
}

#[test]
fn the_path_is_no_address_of_the_message_however_it_is_written() {
    for to in [
        "/devices/Dev 1/messages/events",
        "/devices/Dev%201/messages/events",
        "/devices/dev%201/messages/Events/",
        "/devices/Dev%201/messages/events?api-version=2021-04-12",
    ] {
        assert_eq!(read(&[("iothub-to", to)]).unwrap(), [], "{to}");
    }
    let other = "/devices/Dev%202/messages/events";
    let expected = [system(System::To, other)];
    assert_eq!(read(&[("iothub-to", other)]).unwrap(), expected);
}

#[test]
fn characters_outside_the_contract_are_refused() {
    let allowed = "azAZ09!#$%&'*+-.^_`|~";
    let expected = [application(allowed, allowed)];
    let header = format!("iothub-app-{allowed}");
    assert_eq!(read(&[(&header, allowed)]).unwrap(), expected);
    let empty = [application("a", "")];
    assert_eq!(read(&[("iothub-app-a", "")]).unwrap(), empty);
    for value in ["a b", "a/b", "a=b", "a:b", "grüezi", "a\tb", "\""] {
        let refused = read(&[("iothub-app-Color", value)]);
        assert_eq!(refused, Err(Malformed::Value("Color".into())), "{value}");
    }
    for name in ["iothub-app-a b", "iothub-app-a/b", "iothub-app-é"] {
        let refused = read(&[(name, "1")]);
        assert_eq!(refused, Err(Malformed::Name(name.into())));
    }
    assert_eq!(read(&[("iothub-app-", "1")]), Err(Malformed::Nameless));
    let refused = read(&[("iothub-messageid", "m\u{e9}")]);
    assert_eq!(refused, Err(Malformed::Value("iothub-messageid".into())));
    let bytes = from_headers([("iothub-app-a", &b"\xff"[..])], PATH);
    assert_eq!(bytes, Err(Malformed::Value("iothub-app-a".into())));
}

#[test]
fn payload_names_and_values_count_and_names_of_the_contract_do_not() {
    let properties = [application("ab", "cde"), system(System::MessageId, "1234")];
    assert_eq!(counted_bytes(&properties, b"12345"), 14);
    assert_eq!(counted_bytes(&[], b""), 0);
}

proptest! {
    #[test]
    fn an_application_property_arrives_as_it_was_sent(
        name in "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,40}",
        value in "[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,40}",
        prefix in prop::sample::select(vec!["iothub-app-", "IoTHub-App-", "IOTHUB-APP-"]),
    ) {
        let header = format!("{prefix}{name}");
        prop_assert_eq!(read(&[(&header, &value)]).unwrap(), [application(&name, &value)]);
    }

    #[test]
    fn no_header_breaks_the_reader_and_what_it_takes_is_clean(
        headers in prop::collection::vec(("(iothub-(app-)?)?\\PC{0,12}", prop::collection::vec(any::<u8>(), 0..12)), 0..8),
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        if let Ok(properties) = from_headers(headers.iter().copied(), PATH) {
            prop_assert!(properties.len() <= headers.len());
            for (name, value) in properties {
                prop_assert!(value.is_ascii());
                if let Name::Application(name) = name {
                    prop_assert!(!name.is_empty() && name.bytes().chain(value.bytes()).all(is_token));
                }
            }
        }
    }
}
