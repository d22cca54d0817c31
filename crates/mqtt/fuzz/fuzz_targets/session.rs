//! Feeds a whole connection: CONNECT, then whatever comes, with deliveries in between.
#![no_main]

use std::time::Duration;

use downlink_mqtt::limits::{MAX_CONNECT_PACKET_BYTES, MAX_PACKET_BYTES};
use downlink_mqtt::packet::FrameReader;
use downlink_mqtt::session::{AwaitingConnect, Redelivery, Session, SessionOptions};
use libfuzzer_sys::fuzz_target;

fn run(stream: &[u8], size: usize) -> Option<()> {
    let mut frames = FrameReader::new(MAX_CONNECT_PACKET_BYTES);
    let mut session: Option<Session<u64>> = None;
    let mut ticks = 0_u64;
    for mut chunk in stream.chunks(size) {
        while let Some(frame) = frames.next(&mut chunk).ok()? {
            let packet = frame.into_client_packet().ok()?;
            ticks += 1;
            let now = Duration::from_secs(ticks);
            let Some(session) = &mut session else {
                let request = AwaitingConnect.on_packet(packet).ok()?;
                let options = SessionOptions { window: 2, ..SessionOptions::new(request.keep_alive) };
                session = Some(Session::new(request.identity, options, now));
                frames.set_max_packet_bytes(MAX_PACKET_BYTES);
                continue;
            };
            session.on_packet(packet, now).ok()?;
            let _ = session.place_delivery(ticks, ticks, Redelivery::No);
            assert!(session.delivery_credit() <= 2, "the window holds");
            let stored = session.subscriptions().to_stored(session.identity());
            assert!(stored.len() <= 5, "subscriptions are bounded");
            session.restore(&stored).expect("what was granted can be restored");
        }
    }
    Some(())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, stream) = input;
    let _ = run(stream, usize::from(size).max(1));
});
