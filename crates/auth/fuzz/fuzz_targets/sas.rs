//! Reads any text as a token, and changes a good one anywhere: only tokens that were signed open anything.
#![no_main]

use downlink_auth::{Resource, SasToken, sign};
use libfuzzer_sys::fuzz_target;

const NOW: i64 = 1_893_450_000;
const HOST: &str = "hub.example.net";

fn opens(text: &str) -> bool {
    let resource = Resource::Device { device_id: "dev+1@x" };
    let keys: [&[u8]; 2] = [&[7; 32], &[9; 32]];
    SasToken::parse(text).is_ok_and(|token| token.verify(&[HOST], &resource, &keys, NOW).is_ok())
}

fuzz_target!(|input: (u16, u8, &str)| {
    let (at, byte, text) = input;
    // The keys are unknown to the fuzzer.
    assert!(!opens(text), "{text}");
    let resource = Resource::Device { device_id: "dev+1@x" };
    let good = sign(&resource.uri(HOST), &[7; 32], 1_893_456_000, None);
    assert!(opens(&good));
    let mut bent = good.clone().into_bytes();
    let at = usize::from(at) % bent.len();
    bent[at] = byte;
    let Ok(bent) = String::from_utf8(bent) else {
        return;
    };
    // Names of fields have no case, hexadecimal digits of the signature neither, and a plus sign that became a space
    // on its way is healed; all else is signed.
    if opens(&bent) {
        assert!(bent.replace("%20", "%2B").eq_ignore_ascii_case(&good), "{bent}");
    }
    // Another identity is never opened.
    let other = Resource::Device { device_id: "dev+1@y" };
    let token = SasToken::parse(&good).expect("it was made as one");
    assert!(token.verify(&[HOST], &other, &[&[7; 32]], NOW).is_err());
});
