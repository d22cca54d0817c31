//! Reads a batch as a hostile device may send it: what is taken keeps the bounds and is never more than was sent.
#![no_main]

use downlink_http_device::batch::{Bounds, read};
use downlink_http_device::property::{Name, counted_bytes};
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds {
    max_messages: 16,
    max_message_bytes: 1024,
};

fuzz_target!(|input: &[u8]| {
    let Ok(messages) = read(input, "/devices/dev-1/messages/events", BOUNDS) else {
        return;
    };
    assert!((1..=BOUNDS.max_messages).contains(&messages.len()));
    let mut total = 0;
    for message in &messages {
        let bytes = counted_bytes(&message.properties, &message.body);
        assert!(bytes <= BOUNDS.max_message_bytes);
        total += bytes;
        for (name, value) in &message.properties {
            assert!(value.is_ascii());
            if let Name::Application(name) = name {
                assert!(!name.is_empty() && name.is_ascii());
            }
        }
    }
    assert!(total <= input.len(), "nothing is made of nothing");
});
