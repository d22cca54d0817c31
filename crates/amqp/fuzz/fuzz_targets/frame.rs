//! Any bytes as a frame, its performative, and its payload as a message.
#![no_main]

use bytes::Bytes;
use downlink_amqp::{
    frame::{FrameType, decode_body, parse_frame},
    message::Message,
    sasl::SaslFrame,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(frame)) = parse_frame(data, 65_536) else { return };
    match frame.frame_type {
        FrameType::Sasl => drop(SaslFrame::decode(frame.body)),
        FrameType::Amqp => {
            if let Ok(Some((performative, payload))) = decode_body(frame.body) {
                performative.encode(&mut Vec::new());
                if let Ok(message) = Message::decode(&Bytes::copy_from_slice(payload)) {
                    message.encode();
                }
            }
        }
    }
});
