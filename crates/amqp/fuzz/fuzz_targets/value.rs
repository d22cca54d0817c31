//! Any bytes as an AMQP value: what is read must come out of its own encoding again.
#![no_main]

use bytes::Bytes;
use downlink_amqp::types::{Decode, Encode, Reader, Value};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let backing = Bytes::copy_from_slice(data);
    let Ok(value) = Value::decode(&mut Reader::over(&backing)) else { return };
    let mut first = Vec::new();
    value.encode(&mut first);
    let again = Value::decode(&mut Reader::new(&first)).expect("own encoding is read");
    let mut second = Vec::new();
    again.encode(&mut second);
    // Bytes are compared, because not-a-number differs from itself.
    assert_eq!(first, second);
});
