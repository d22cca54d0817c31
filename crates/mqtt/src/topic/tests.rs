use proptest::prelude::*;

use super::*;

const EVERY_CHARACTER: &str = "aZ09-:.+%_#*?!(),=@;$'";

#[track_caller]
fn device(id: &str) -> ClientIdentity {
    ClientIdentity::device(id).unwrap()
}

#[track_caller]
fn bag_of(topic: &str, identity: &ClientIdentity) -> String {
    match DeviceTopic::parse(topic, identity) {
        Ok(DeviceTopic::Telemetry { bag }) => bag.to_owned(),
        other => panic!("{topic}: {other:?}"),
    }
}

#[test]
fn every_telemetry_form_is_read() {
    let identity = device("dev1");
    for (suffix, bag) in [
        ("", ""),
        ("/", ""),
        ("//", ""),
        ("/?", ""),
        ("/?/", ""),
        ("/a=b", "a=b"),
        ("/a=b/", "a=b"),
        ("/?a=b", "a=b"),
        ("/?a=b/", "a=b"),
        ("/%24.mid=1&x", "%24.mid=1&x"),
        ("/$.mid=1&x=/", "$.mid=1&x="),
        ("/%2F=%2F/", "%2F=%2F"),
        ("/a=b?", "a=b?"),
    ] {
        assert_eq!(
            bag_of(&format!("devices/dev1/messages/events{suffix}"), &identity),
            bag
        );
    }
}

#[test]
fn module_telemetry_has_its_own_prefix() {
    let identity = ClientIdentity::module("dev1", "mod1").unwrap();
    assert_eq!(
        bag_of(
            "devices/dev1/modules/mod1/messages/events/%24.on=o/",
            &identity
        ),
        "%24.on=o"
    );
    let foreign = DeviceTopic::parse("devices/dev1/messages/events/", &identity);
    assert_eq!(foreign, Err(Violation::ForeignTopic));
}

#[test]
fn ids_with_every_allowed_character_are_compared_as_plain_text() {
    let topic = format!("devices/{EVERY_CHARACTER}/messages/events/a=b");
    assert_eq!(bag_of(&topic, &device(EVERY_CHARACTER)), "a=b");
    let module = ClientIdentity::module(EVERY_CHARACTER, EVERY_CHARACTER).unwrap();
    let topic = format!("devices/{EVERY_CHARACTER}/modules/{EVERY_CHARACTER}/messages/events");
    assert_eq!(bag_of(&topic, &module), "");
}

#[test]
fn topics_that_are_not_the_devices_own_are_violations() {
    let identity = device("dev1");
    for topic in [
        "devices/dev2/messages/events/",
        "devices/Dev1/messages/events/",
        "Devices/dev1/messages/events/",
        "devices/dev1/messages/Events/",
        "devices/dev11/messages/events/",
        "devices/dev1/messages/eventsx",
        "devices/dev1/messages/events?a=b",
        "devices/dev1/messages/events/a=b/c",
        "devices/dev1/messages/events///",
        "devices/dev1/messages/devicebound/",
        "devices/dev1/modules/mod1/messages/events/",
        "devices/dev1/",
        "devices/dev1",
        "devices//messages/events/",
        "/devices/dev1/messages/events/",
        "$iothub/twin/GET",
        "$iothub/twin/GET/",
        "$iothub/twin/GET/?",
        "$iothub/twin/GET/?$rid=",
        "$iothub/twin/GET/?rid=1",
        "$iothub/twin/get/?$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$rid=1",
        "$iothub/twin/PATCH/properties/reported/?$version=1",
        "$iothub/twin/PATCH/properties/reported?$rid=1",
        "$iothub/methods/POST/reboot/?$rid=1",
        "$iothub/methods/res/200?$rid=1",
        "$iothub/methods/res/ok/?$rid=1",
        "$iothub/methods/res//?$rid=1",
        "$iothub/methods/res/200/",
        "$iothub/",
        "$SYS/uptime",
        "x",
    ] {
        assert_eq!(
            DeviceTopic::parse(topic, &identity),
            Err(Violation::ForeignTopic),
            "{topic}"
        );
    }
}

#[test]
fn wildcards_outside_the_ids_are_violations() {
    let identity = device("dev1");
    for topic in [
        "devices/dev1/messages/events/#",
        "devices/dev1/messages/events/a=1+1",
        "devices/+/messages/events/",
        "$iothub/twin/GET/?$rid=#",
        "#",
    ] {
        assert_eq!(
            DeviceTopic::parse(topic, &identity),
            Err(Violation::WildcardInTopic),
            "{topic}"
        );
    }
}

#[test]
fn method_responses_carry_any_integer_as_status() {
    let identity = device("dev1");
    for (topic, status, rid) in [
        ("$iothub/methods/res/200/?$rid=1", 200, "1"),
        ("$iothub/methods/res/-7/?$rid=ab-1", -7, "ab-1"),
        ("$iothub/methods/res/0/?$rid=x&more=y", 0, "x"),
        ("$iothub/methods/res/2147483647/?a=b&$rid=x", i32::MAX, "x"),
    ] {
        assert_eq!(
            DeviceTopic::parse(topic, &identity),
            Ok(DeviceTopic::MethodResponse { status, rid })
        );
    }
    let too_large = DeviceTopic::parse("$iothub/methods/res/2147483648/?$rid=1", &identity);
    assert_eq!(too_large, Err(Violation::ForeignTopic));
}

#[test]
fn twin_requests_keep_their_request_id_byte_for_byte() {
    let identity = device("dev1");
    let rid = "0fa1%20-ü/:x";
    let topic = format!("$iothub/twin/GET/?$rid={rid}");
    assert_eq!(
        DeviceTopic::parse(&topic, &identity),
        Ok(DeviceTopic::TwinGet { rid })
    );
    assert_eq!(
        twin_response(200, rid, None),
        format!("$iothub/twin/res/200/?$rid={rid}")
    );
}

#[test]
fn reported_patches_may_name_a_version() {
    let identity = device("dev1");
    for (query, version) in [
        ("$rid=7", ExpectedVersion::Any),
        ("$rid=7&$version=12", ExpectedVersion::Exactly(12)),
        ("$version=12&$rid=7", ExpectedVersion::Exactly(12)),
        ("$rid=7&$version=", ExpectedVersion::Unreadable),
        ("$rid=7&$version=-1", ExpectedVersion::Unreadable),
        (
            "$rid=7&$version=99999999999999999999",
            ExpectedVersion::Unreadable,
        ),
    ] {
        let topic = format!("$iothub/twin/PATCH/properties/reported/?{query}");
        assert_eq!(
            DeviceTopic::parse(&topic, &identity),
            Ok(DeviceTopic::TwinPatchReported { rid: "7", version }),
            "{query}"
        );
    }
}

#[test]
fn a_request_id_that_could_overflow_its_answer_is_refused() {
    let identity = device("dev1");
    let topic = |length: usize| format!("$iothub/twin/GET/?$rid={}", "r".repeat(length));
    assert!(DeviceTopic::parse(&topic(MAX_REQUEST_ID_BYTES), &identity).is_ok());
    assert_eq!(
        DeviceTopic::parse(&topic(MAX_REQUEST_ID_BYTES + 1), &identity),
        Err(Violation::ForeignTopic)
    );
}

#[test]
fn topics_to_the_device_have_their_exact_shape() {
    assert_eq!(
        method_call("reboot", "1f"),
        "$iothub/methods/POST/reboot/?$rid=1f"
    );
    assert_eq!(
        method_call("a*b/c#d+e?f%g", "2"),
        "$iothub/methods/POST/a*b%2Fc%23d%2Be%3Ff%25g/?$rid=2"
    );
    assert_eq!(
        twin_response(204, "9", Some(31)),
        "$iothub/twin/res/204/?$rid=9&$version=31"
    );
    assert_eq!(
        twin_response(429, "9", None),
        "$iothub/twin/res/429/?$rid=9"
    );
    assert_eq!(
        desired_patch(5),
        "$iothub/twin/PATCH/properties/desired/?$version=5"
    );
}

proptest! {
    #[test]
    fn no_topic_makes_the_parser_panic(
        head in "(devices/dev1/|\\$iothub/|)(messages/events|twin/GET|methods/res/|)",
        tail in ".{0,32}",
    ) {
        let _ = DeviceTopic::parse(&format!("{head}{tail}"), &device("dev1"));
    }
}
