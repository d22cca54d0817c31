//! Any bytes as a SASL frame and as a PLAIN response.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    downlink_amqp_fuzz::sasl(data);
});
