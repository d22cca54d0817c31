//! Decodes topics and their property bags: a bag that was read is written so that it reads the same.
#![no_main]

use downlink_mqtt::identity::ClientIdentity;
use downlink_mqtt::property_bag::PropertyBag;
use downlink_mqtt::topic::DeviceTopic;
use libfuzzer_sys::fuzz_target;

fn check(text: &str) {
    let Ok(bag) = PropertyBag::parse(text) else {
        return;
    };
    assert!(bag.content_bytes() <= text.len(), "decoding makes nothing longer");
    let encoded = bag.encode();
    assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
    // A pair without key and value is written as a lone separator and passed over when read.
    let is_written = |pair: &(&str, Option<&str>)| !pair.0.is_empty() || pair.1.is_some();
    let kept: Vec<_> = bag.iter().filter(is_written).collect();
    let again = PropertyBag::parse(&encoded).expect("what was encoded decodes");
    assert_eq!(again.iter().collect::<Vec<_>>(), kept);
    for (key, _) in bag.iter() {
        assert!(bag.get(key).is_some());
    }
}

fuzz_target!(|input: (&str, bool)| {
    let (text, is_module) = input;
    check(text);
    let identity = if is_module {
        ClientIdentity::module("d", "m")
    } else {
        ClientIdentity::device("d")
    };
    let identity = identity.expect("names that are none too short");
    let prefix = if is_module { "devices/d/modules/m" } else { "devices/d" };
    for topic in [text.to_owned(), format!("{prefix}/messages/events/{text}")] {
        if let Ok(DeviceTopic::Telemetry { bag }) = DeviceTopic::parse(&topic, &identity) {
            assert!(topic.contains(bag), "the bag is a part of the topic");
            check(bag);
        }
    }
});
