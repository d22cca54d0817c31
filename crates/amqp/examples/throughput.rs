//! How fast the engine is on one core, without a socket: `cargo run --release --example throughput`.
#![expect(
    clippy::print_stdout,
    reason = "figures are for the person who asked for them"
)]

#[path = "../tests/support/line.rs"]
mod line;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use downlink_amqp::{
    engine::{Event, LinkId, Options, SendSettled},
    message::{Body, Message, Properties},
    performative::{DeliveryState, DeliveryTag, Disposition, Role, Transfer},
};
use line::{Line, encode};

/// Bytes read from a socket at a time.
const READ_BYTES: usize = 16_384;
const MESSAGES: u32 = 1_000_000;
const DEVICES: u16 = 1_000;

fn main() {
    println!("one core, payloads of 128 bytes, reads of {READ_BYTES} bytes");
    report("messages taken and settled on one link", MESSAGES, take());
    report("messages sent and settled in ranges", MESSAGES, send(false));
    report("messages sent and settled one by one", MESSAGES, send(true));
    report("receipts that say again what they said", MESSAGES, repeat());
    multiplex();
}

fn report(what: &str, count: u32, took: Duration) {
    let each = took / count;
    let rate = f64::from(count) / took.as_secs_f64();
    println!("{what}: {rate:.0}/s, {each:?} each");
}

fn open() -> Line {
    let mut line = Line::open(&Arc::new(Options::default()), Instant::now());
    line.begin(0);
    line
}

fn message(to: &str) -> Message {
    Message {
        properties: Properties {
            to: Some(to.to_owned()),
            ..Properties::default()
        },
        body: Body::Data(Bytes::from_static(&[b'x'; 128])),
        ..Message::default()
    }
}

/// Takes messages as a back-end pipelines them, decodes and accepts each.
fn take() -> Duration {
    let mut line = open();
    let commands = line.attach(0, 0, Role::Sender, "/messages/devicebound", 1_000);
    let payload = message("/devices/device-1/messages/devicebound").encode();
    let transfers = (0..MESSAGES).map(|delivery| transfer(0, delivery, &payload));
    let input: Vec<u8> = transfers.flatten().collect();
    let began_at = Instant::now();
    let mut count = 0;
    for read in input.chunks(READ_BYTES) {
        for event in line.write_bytes(read) {
            if let Event::MessageReceived(received) = event {
                let decoded = Message::decode(&received.payload);
                assert!(decoded.is_ok_and(|message| message.properties.to.is_some()));
                let accepted = DeliveryState::Accepted;
                line.engine.settle(commands, received.delivery, accepted);
                count += 1;
            }
        }
    }
    assert_eq!(count, MESSAGES);
    began_at.elapsed()
}

fn transfer(handle: u32, delivery: u32, payload: &Bytes) -> Vec<u8> {
    let transfer = Transfer {
        handle,
        delivery_id: Some(delivery),
        delivery_tag: DeliveryTag::new(&delivery.to_be_bytes()),
        message_format: Some(0),
        ..Transfer::default()
    };
    encode(0, &transfer.into(), payload)
}

/// Encodes and sends messages with 4,000 of them unsettled at a time, and takes the receipts.
fn send(is_one_by_one: bool) -> Duration {
    const AT_A_TIME: u32 = 4_000;
    let mut line = open();
    let device = line.attach(
        0,
        0,
        Role::Receiver,
        "/devices/device-1/messages/devicebound",
        1,
    );
    let began_at = Instant::now();
    for first in (0..MESSAGES).step_by(AT_A_TIME as usize) {
        line.give_credit(0, 0, first, AT_A_TIME);
        for number in 0..AT_A_TIME {
            send_one(&mut line, device, first + number);
        }
        let step = if is_one_by_one { 1 } else { AT_A_TIME };
        let mut told = 0;
        // The last comes first, so that no receipt is next to the one before it.
        for part in (0..AT_A_TIME).step_by(step as usize).rev() {
            let events = line.write(0, receipt(first + part, first + part + step - 1));
            told += deliveries_in(&events);
        }
        assert_eq!(told, AT_A_TIME as usize);
    }
    began_at.elapsed()
}

fn send_one(line: &mut Line, device: LinkId, number: u32) {
    let tag = DeliveryTag::new(&u128::from(number).to_be_bytes()).expect("16 bytes of 32");
    let message = message("/devices/device-1/messages/devicebound").into_encoded();
    let sent = line.engine.send(device, tag, message, SendSettled::No);
    assert!(sent.is_ok(), "{sent:?}");
    if line.engine.output().len() > READ_BYTES {
        line.read();
    }
}

fn receipt(first: u32, last: u32) -> Disposition {
    Disposition {
        role: Role::Receiver,
        first,
        last: Some(last),
        settled: true,
        state: Some(DeliveryState::Accepted),
    }
}

fn deliveries_in(events: &[Event]) -> usize {
    let deliveries = events.iter().map(|event| match event {
        Event::DispositionReceived { deliveries, .. } => deliveries.len(),
        _ => 0,
    });
    deliveries.sum()
}

/// Takes the same receipt for 4,000 deliveries over and over, which must not cost 4,000 steps each.
fn repeat() -> Duration {
    const DELIVERIES: u32 = 4_000;
    let mut line = open();
    let device = line.attach(0, 0, Role::Receiver, "/devices/device-1/x", DELIVERIES);
    for number in 0..DELIVERIES {
        send_one(&mut line, device, number);
    }
    let told = Disposition {
        settled: false,
        ..receipt(0, DELIVERIES - 1)
    };
    let count = deliveries_in(&line.write(0, told.clone()));
    assert_eq!(count, DELIVERIES as usize);
    let began_at = Instant::now();
    for _ in 0..MESSAGES {
        let events = line.write(0, told.clone());
        assert!(events.is_empty());
    }
    began_at.elapsed()
}

/// Many devices on one connection, a session each.
fn multiplex() {
    let mut line = open();
    let began_at = Instant::now();
    let mut links = Vec::new();
    for channel in 1..=DEVICES {
        line.begin(channel);
        for handle in 0..4 {
            links.push(line.attach(channel, handle, Role::Receiver, "/devices/d/x", 1_000));
        }
    }
    report(
        "links attached, 4 for each device",
        u32::from(DEVICES) * 4,
        began_at.elapsed(),
    );
    let began_at = Instant::now();
    let mut asked = 0;
    for _ in 0..100 {
        for link in &links {
            assert!(line.engine.sendable(*link) > 0);
            asked += 1;
        }
    }
    report(
        "links asked whether they have room",
        asked,
        began_at.elapsed(),
    );
    let began_at = Instant::now();
    line.engine.abandon();
    let detached = std::iter::from_fn(|| line.engine.poll_event()).count();
    assert_eq!(detached, links.len() + 1);
    report(
        "links that lost their connection",
        u32::from(DEVICES) * 4,
        began_at.elapsed(),
    );
}
