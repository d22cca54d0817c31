//! Reads headers, a query and a path segment as a hostile device may send them: what is taken is clean and bounded by
//! what was sent.
#![no_main]

use downlink_http_device::lock::LockReference;
use downlink_http_device::property::{Name, counted_bytes, from_headers};
use downlink_http_device::query;
use libfuzzer_sys::fuzz_target;

const PATH: &str = "/devices/dev-1/messages/events";

fuzz_target!(|input: &[u8]| {
    let lines = input.split(|byte| *byte == b'\n');
    let headers: Vec<_> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            Some((std::str::from_utf8(name).ok()?, &value[1..]))
        })
        .collect();
    if let Ok(properties) = from_headers(headers.iter().copied(), PATH) {
        assert!(properties.len() <= headers.len());
        assert!(counted_bytes(&properties, b"") <= input.len());
        for (name, value) in &properties {
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            if let Name::Application(name) = name {
                assert!(!name.is_empty() && name.is_ascii());
            }
        }
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = query::check_version(text);
    let _ = query::is_reject(text);
    if let Ok(Some(lock)) = query::lock_timeout(None, text) {
        assert!((5..=300).contains(&lock.as_secs()));
    }
    assert_eq!(query::lock_timeout(Some(input), "").is_ok(), query::lock_timeout(Some(input), text).is_ok());
    if let Some(reference) = LockReference::parse(text) {
        let again = reference.to_string();
        assert_eq!(LockReference::parse(&again), Some(reference));
    }
});
