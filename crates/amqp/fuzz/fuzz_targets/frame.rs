//! Any bytes as frames, their performatives, and their payloads as messages.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    downlink_amqp_fuzz::frames(data);
});
