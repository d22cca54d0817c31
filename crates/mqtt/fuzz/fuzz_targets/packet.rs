//! Decodes one stream at once and in pieces: both agree, and encoding what was decoded keeps its meaning.
#![no_main]

use bytes::BytesMut;
use downlink_mqtt::packet::{ClientPacket, FrameReader, decode};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fn in_pieces(stream: &[u8], size: usize) -> Option<Vec<ClientPacket>> {
    let mut reader = FrameReader::new(LIMIT);
    let mut packets = Vec::new();
    for mut chunk in stream.chunks(size) {
        while let Some(frame) = reader.next(&mut chunk).ok()? {
            packets.push(frame.into_client_packet().ok()?);
        }
        assert!(reader.held_bytes() <= LIMIT, "memory is bounded by the limit");
    }
    Some(packets)
}

fn at_once(stream: &[u8]) -> Option<Vec<ClientPacket>> {
    let mut buffer = BytesMut::from(stream);
    let mut packets = Vec::new();
    while let Some(packet) = decode(&mut buffer, LIMIT).ok()? {
        packets.push(packet);
    }
    Some(packets)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, stream) = input;
    let pieces = in_pieces(stream, usize::from(size).max(1));
    let Some(packets) = at_once(stream) else {
        return;
    };
    assert_eq!(pieces.as_ref(), Some(&packets), "cuts do not matter");
    for packet in packets {
        let mut encoded = BytesMut::new();
        packet.encode(&mut encoded).expect("what was decoded fits");
        assert_eq!(decode(&mut encoded, LIMIT * 2), Ok(Some(packet)), "encoding keeps the meaning");
    }
});
