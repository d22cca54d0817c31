//! Any bytes as an AMQP value.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    downlink_amqp_fuzz::value(data);
});
