//! Any bytes as the whole input of a connection whose caller grants everything.
#![no_main]

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use downlink_amqp::{
    engine::{Accept, Engine, Event, Options, SendSettled},
    message::Message,
    performative::{DeliveryState, DeliveryTag},
    sasl::SaslCode,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let mut engine = Engine::new(Arc::new(Options::default()), now);
    let tag = DeliveryTag::new(&[7; 16]).expect("16 bytes");
    // The first byte says how the input is cut into reads.
    let Some((step, data)) = data.split_first() else { return };
    for chunk in data.chunks(usize::from(*step).max(1)) {
        engine.receive(chunk, now);
        while let Some(event) = engine.poll_event() {
            match event {
                Event::SaslPlain(_) | Event::SaslExternal => engine.answer_sasl(SaslCode::Ok, now),
                Event::AttachRequested(request) => {
                    let terms = Accept { credit_window: 8, max_message_bytes: 4096 };
                    engine.accept(request.link, terms);
                }
                Event::MessageReceived(message) => {
                    let _ = Message::decode(&message.payload);
                    engine.settle(message.link, message.delivery, DeliveryState::Accepted);
                }
                Event::CreditChanged { link, is_drain, .. } => {
                    let _ = engine.send(link, tag, Bytes::from_static(&[0; 600]), SendSettled::No);
                    if is_drain {
                        engine.drained(link);
                    }
                }
                Event::DispositionReceived { link, deliveries, .. } => {
                    for delivery in deliveries {
                        engine.settle_outgoing(link, delivery.delivery, DeliveryState::Accepted);
                    }
                }
                Event::Opened { .. } => engine.admit(),
                Event::WindowOpened { .. } | Event::Detached { .. } | Event::Closed { .. } => {}
            }
        }
        let written = engine.output().len();
        engine.consume_output(written, now);
    }
});
