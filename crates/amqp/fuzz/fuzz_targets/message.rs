//! Any bytes as the sections of a message.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    downlink_amqp_fuzz::message(data);
});
