//! Any bytes as a request to the `$cbs` node.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    downlink_amqp_fuzz::cbs(data);
});
