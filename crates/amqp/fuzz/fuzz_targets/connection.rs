//! Any bytes as a whole connection, with a caller that follows a script.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    downlink_amqp_fuzz::connection(data);
});
