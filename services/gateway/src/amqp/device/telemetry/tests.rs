use super::*;

const MAX: usize = 256 * 1024;

fn message(body: &'static [u8]) -> Message {
    Message {
        body: Body::Data(Bytes::from_static(body)),
        ..Message::default()
    }
}

fn batch(parts: Vec<Bytes>) -> Bytes {
    Message {
        body: Body::Batch(parts),
        ..Message::default()
    }
    .encode()
}

#[track_caller]
fn one(message: &Message) -> Telemetry {
    let mut read = read(FORMAT_PLAIN, &message.encode(), MAX).unwrap();
    assert_eq!(read.len(), 1);
    read.remove(0)
}

#[track_caller]
fn refused(message: &Message) -> ErrorCode {
    read(FORMAT_PLAIN, &message.encode(), MAX).unwrap_err().code
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    pairs.map(owned).into()
}

#[test]
fn what_node_sends_is_stored_under_the_names_that_mqtt_has() {
    let mut sent = message(b"{}");
    sent.properties = Properties {
        to: Some("/devices/d/messages/events".into()),
        // Node turns texts that look like one into a uuid.
        message_id: Some(MessageId::Uuid([0x11; 16])),
        correlation_id: Some("c".into()),
        user_id: Some("u".into()),
        content_type: Some(Symbol::from_static("application/json")),
        content_encoding: Some(Symbol::from_static("utf-8")),
        absolute_expiry_time: Some(AmqpTimestamp(1_767_614_400_000)),
        ..Properties::default()
    };
    sent.annotations = vec![
        (Symbol::from_static("iothub-interface-id"), Value::from("i")),
        (Symbol::from_static("dt-subject"), Value::from("s")),
        (Symbol::from_static("Diagnostic-Id"), Value::from("di")),
        (
            Symbol::from_static("Correlation-Context"),
            Value::from("dc"),
        ),
    ];
    sent.application_properties = vec![
        ("iothub-outputname".into(), Value::from("out")),
        ("level".into(), Value::from("3")),
    ];
    let expected = pairs([
        ("message-id", "11111111-1111-1111-1111-111111111111"),
        ("correlation-id", "c"),
        ("user-id", "u"),
        ("to", "/devices/d/messages/events"),
        ("absolute-expiry-time", "2026-01-05T12:00:00.0000000Z"),
        ("content-type", "application/json"),
        ("content-encoding", "utf-8"),
        ("iothub-interface-id", "i"),
        ("dt-subject", "s"),
        ("diagnostic-id", "di"),
        ("diagnostic-correlation-context", "dc"),
        ("iothub-outputname", "out"),
        ("level", "3"),
    ]);
    let body = Bytes::from_static(b"{}");
    assert_eq!(
        one(&sent),
        Telemetry {
            properties: expected,
            body
        }
    );
}

#[test]
fn annotations_of_the_hub_are_not_taken_from_a_device() {
    let mut sent = message(b"1");
    let forged = [
        "iothub-connection-device-id",
        "iothub-connection-auth-method",
        "iothub-connection-auth-generation-id",
        "iothub-enqueuedtime",
        "iothub-message-source",
        "x-opt-offset",
    ];
    sent.annotations = forged
        .map(|name| (Symbol::from_static(name), Value::from("forged")))
        .into();
    assert_eq!(one(&sent).properties, []);
}

#[test]
fn application_properties_of_any_scalar_type_become_text() {
    let mut sent = message(b"1");
    sent.application_properties = vec![
        ("number".into(), Value::Int(-1)),
        ("flag".into(), Value::Boolean(true)),
        ("nothing".into(), Value::Null),
    ];
    let expected = pairs([("number", "-1"), ("flag", "true"), ("nothing", "")]);
    assert_eq!(one(&sent).properties, expected);
    sent.application_properties = vec![("list".into(), Value::List(vec![Value::Int(1)]))];
    assert_eq!(refused(&sent), ErrorCode::ArgumentInvalid);
}

#[test]
fn every_message_of_a_batch_is_read_in_order_with_its_own_properties() {
    let mut first = message(b"1");
    first.properties.message_id = Some("m-1".into());
    let parts = vec![first.encode(), message(b"2").encode()];
    let read = super::read(FORMAT_BATCH, &batch(parts), MAX).unwrap();
    let bodies: Vec<_> = read
        .iter()
        .map(|telemetry| telemetry.body.clone())
        .collect();
    assert_eq!(bodies, ["1", "2"]);
    assert_eq!(read[0].properties, pairs([("message-id", "m-1")]));
    assert_eq!(read[1].properties, []);
}

#[test]
fn a_batch_of_one_is_a_batch() {
    let outer = Message {
        body: Body::Data(message(b"1").encode()),
        ..Message::default()
    };
    let read = super::read(FORMAT_BATCH, &outer.encode(), MAX).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].body, "1");
}

#[test]
fn a_batch_with_a_bad_part_is_refused_as_a_whole() {
    let parts = vec![message(b"1").encode(), Bytes::from_static(b"garbage")];
    let refused = super::read(FORMAT_BATCH, &batch(parts), MAX).unwrap_err();
    assert_eq!(refused.code, ErrorCode::GenericBadRequest);
}

#[test]
fn a_batch_has_messages_but_not_too_many() {
    let code = |encoded: &Bytes| super::read(FORMAT_BATCH, encoded, MAX).unwrap_err().code;
    let empty = Message::default().encode();
    assert_eq!(code(&empty), ErrorCode::ArgumentInvalid);
    let crowd = batch(vec![Bytes::new(); MAX_BATCH + 1]);
    assert_eq!(code(&crowd), ErrorCode::MessageTooLarge);
    let full = batch(vec![Bytes::new(); MAX_BATCH]);
    assert_eq!(
        super::read(FORMAT_BATCH, &full, MAX).unwrap().len(),
        MAX_BATCH
    );
}

#[test]
fn the_limit_counts_payload_values_and_names_of_the_application() {
    let mut sent = message(b"12345");
    sent.properties.message_id = Some("678".into());
    sent.application_properties = vec![("9".into(), Value::from("0"))];
    let encoded = sent.encode();
    assert!(super::read(FORMAT_PLAIN, &encoded, 10).is_ok());
    let refused = super::read(FORMAT_PLAIN, &encoded, 9).unwrap_err();
    assert_eq!(refused.code, ErrorCode::MessageTooLarge);
}

#[test]
fn the_limit_holds_for_each_message_of_a_batch() {
    let parts = vec![message(b"1").encode(), message(b"12345").encode()];
    assert!(super::read(FORMAT_BATCH, &batch(parts.clone()), 5).is_ok());
    let refused = super::read(FORMAT_BATCH, &batch(parts), 4).unwrap_err();
    assert_eq!(refused.code, ErrorCode::MessageTooLarge);
}

#[test]
fn the_payload_is_not_copied() {
    let encoded = message(b"payload").encode();
    let read = super::read(FORMAT_PLAIN, &encoded, MAX).unwrap();
    assert!(encoded.as_ptr_range().contains(&read[0].body.as_ptr()));
}

#[test]
fn a_message_without_a_body_has_an_empty_payload_and_text_is_one_too() {
    assert_eq!(one(&Message::default()).body, "");
    let mut text = Vec::new();
    downlink_amqp::types::Encode::encode("text", &mut text);
    let sent = Message {
        body: Body::Value(text.into()),
        ..Message::default()
    };
    assert_eq!(one(&sent).body, "text");
}

#[test]
fn what_is_no_message_or_of_another_format_is_refused() {
    let garbage = Bytes::from_static(b"garbage");
    let code = |format, encoded: &Bytes| super::read(format, encoded, MAX).unwrap_err().code;
    assert_eq!(code(FORMAT_PLAIN, &garbage), ErrorCode::GenericBadRequest);
    let message = message(b"1").encode();
    assert_eq!(code(1, &message), ErrorCode::GenericBadRequest);
}
