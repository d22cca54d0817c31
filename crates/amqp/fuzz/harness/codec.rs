//! Decoders: what was read must survive its own encoding, and nothing is made up.

use bytes::Bytes;
use downlink_amqp::{
    cbs::{CbsRequest, encode_reply},
    frame::{FrameType, decode_body, parse_frame, write_frame},
    message::{Body, Message},
    performative::Performative,
    sasl::{SaslChoice, SaslFrame, read_choice},
    types::{Decode, Encode, Reader, Symbol, Value},
};

/// Largest frame taken, in bytes.
const FRAME_LIMIT: u32 = 65_536;

/// Reads one value.
pub fn value(data: &[u8]) -> Option<Value> {
    let backing = Bytes::copy_from_slice(data);
    let mut reader = Reader::over(&backing);
    let value = Value::decode(&mut reader).ok()?;
    let length = data.len() - reader.rest().len();
    let skipped = Reader::new(data)
        .skip()
        .expect("what is read can be skipped");
    assert_eq!(skipped.len(), length, "skipping goes as far as reading");

    let first = encoded(&value);
    assert!(
        first.len() <= widest(length),
        "{length} bytes became {}",
        first.len()
    );
    let again = Value::decode(&mut Reader::new(&first)).expect("own encoding is read");
    // Bytes are compared, because not-a-number differs from itself.
    assert_eq!(first, encoded(&again));
    value.to_scalar_text();
    Some(value)
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes
}

/// How long the encoding of what came in `length` bytes may be: integers other than the unsigned
/// are written in full, five times a small int and nine a small long at the most.
fn widest(length: usize) -> usize {
    length * 9
}

/// Reads frames one after another, with their payloads as messages.
pub fn frames(mut data: &[u8]) -> Vec<Performative> {
    let mut performatives = Vec::new();
    while let Ok(Some(frame)) = parse_frame(data, FRAME_LIMIT) {
        assert!((8..=data.len()).contains(&frame.size));
        match frame.frame_type {
            FrameType::Sasl => drop(sasl(frame.body)),
            FrameType::Amqp => {
                if let Ok(Some((performative, payload))) = decode_body(frame.body) {
                    reencode(frame.channel, &performative, payload);
                    message(payload);
                    performatives.push(performative);
                }
            }
        }
        data = &data[frame.size..];
    }
    performatives
}

fn reencode(channel: u16, performative: &Performative, payload: &[u8]) {
    let first = frame(channel, performative, payload);
    let parsed = parse_frame(&first, u32::MAX)
        .expect("own frame")
        .expect("whole");
    assert_eq!((parsed.size, parsed.channel), (first.len(), channel));
    let (again, rest) = decode_body(parsed.body)
        .expect("own body")
        .expect("not empty");
    assert_eq!(rest, payload);
    assert_eq!(first, frame(channel, &again, rest));
}

fn frame(channel: u16, performative: &Performative, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(&mut bytes, FrameType::Amqp, channel, |out| {
        performative.encode(out);
        out.extend_from_slice(payload);
    });
    bytes
}

/// Reads the body of a SASL frame and what the client chose by it; the same bytes are tried as a
/// PLAIN response too.
pub fn sasl(data: &[u8]) -> Option<SaslChoice> {
    let plain = Symbol::from_static("PLAIN");
    let response = Bytes::copy_from_slice(data);
    check_plain(data, &read_choice(&plain, Some(&response)));

    let frame = SaslFrame::decode(data).ok()?;
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    assert_eq!(SaslFrame::decode(&bytes).as_ref(), Ok(&frame));
    let SaslFrame::Init {
        mechanism,
        initial_response,
    } = frame
    else {
        return None;
    };
    let choice = read_choice(&mechanism, initial_response.as_ref());
    if let Some(response) = &initial_response {
        check_plain(response, &choice);
    }
    Some(choice)
}

/// A credential is what the response says, no more and no less.
fn check_plain(response: &[u8], choice: &SaslChoice) {
    if let SaslChoice::Plain(credential) = choice {
        assert!(!credential.authcid.is_empty());
        let said = format!("\0{}\0{}", credential.authcid, credential.password);
        assert!(response.ends_with(said.as_bytes()));
        assert_eq!(response.split(|byte| *byte == 0).count(), 3);
        assert!(format!("{credential:?}").ends_with("password: \"***\" }"));
    }
}

/// Reads a message by its sections.
pub fn message(data: &[u8]) -> Option<Message> {
    let payload = Bytes::copy_from_slice(data);
    let message = Message::decode(&payload).ok()?;
    for part in parts(&message.body) {
        let is_inside = payload.as_ptr_range().contains(&part.as_ptr());
        assert!(part.is_empty() || is_inside, "bodies are not copied");
    }
    let first = message.encode();
    let again = Message::decode(&first).expect("own encoding is read");
    assert_eq!(first, again.encode());
    assert_eq!(first.len(), message.clone().into_encoded().len());
    Some(message)
}

fn parts(body: &Body) -> &[Bytes] {
    match body {
        Body::Empty => &[],
        Body::Data(part) | Body::Value(part) => std::slice::from_ref(part),
        Body::Batch(parts) | Body::Sequence(parts) => parts,
    }
}

/// Reads a request to the `$cbs` node, and its reply as the client would.
pub fn cbs(data: &[u8]) -> Option<CbsRequest> {
    let request = CbsRequest::decode(&Bytes::copy_from_slice(data)).ok()?;
    let reply = encode_reply(request.message_id.clone(), 200, "OK");
    let reply = Message::decode(&reply).expect("own reply is read");
    assert_eq!(reply.properties.correlation_id, request.message_id);
    assert_eq!(
        reply.application_property("status-code"),
        Some(&Value::Int(200))
    );
    Some(request)
}
